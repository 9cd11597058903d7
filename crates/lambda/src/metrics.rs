//! Metrics as log lines: CloudWatch reads metrics from lines in its embedded metric format, so no request is sent.
//!
//! Every metric is one row of a table: name, unit, dimensions and value. A line holds what its tables yield.
//!
//! The format: Amazon CloudWatch user guide, "Specification: Embedded metric format".

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use hb_aws::Usage;
use hb_domain::Timestamp;
use hb_service::SweepReport;
use serde_json::{Map, Value, json};

/// Where CloudWatch lists the metrics.
pub const NAMESPACE: &str = "Heartbeat";
/// The dimensions, spelt as CloudWatch shows them.
const STAGE: &str = "Stage";
const REASON: &str = "Reason";

/// Sets of dimensions; a metric appears once under each, and each costs.
type Dimensions = &'static [&'static [&'static str]];
const BY_STAGE: Dimensions = &[&[STAGE]];
const BY_STAGE_AND_REASON: Dimensions = &[&[STAGE], &[STAGE, REASON]];

/// Where lines of metrics go.
pub(crate) type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// Standard output, which CloudWatch reads as it reads the log. A line that cannot be written is dropped.
pub(crate) fn stdout() -> Print {
    Arc::new(|line| {
        let _ = writeln!(io::stdout().lock(), "{line}");
    })
}

/// A metric of `S`; without a value it is left out.
struct Metric<S> {
    name: &'static str,
    unit: &'static str,
    dimensions: Dimensions,
    value: fn(&S) -> Option<f64>,
}

const fn count<S>(name: &'static str, value: fn(&S) -> Option<f64>) -> Metric<S> {
    Metric {
        name,
        unit: "Count",
        dimensions: BY_STAGE,
        value,
    }
}

const fn seconds<S>(name: &'static str, value: fn(&S) -> Option<f64>) -> Metric<S> {
    Metric {
        unit: "Seconds",
        ..count(name, value)
    }
}

const REQUEST: [Metric<RequestOutcome>; 2] = [
    count("Beats", |outcome| {
        matches!(outcome, RequestOutcome::Beat).then_some(1.0)
    }),
    Metric {
        dimensions: BY_STAGE_AND_REASON,
        ..count("RefusedBeats", |outcome| {
            let RequestOutcome::Refused { count, .. } = outcome else {
                return None;
            };
            number(*count)
        })
    },
];

const PASS: [Metric<Pass>; 16] = [
    count("SweepCompleted", |pass| number(pass.completed.into())),
    count("HostsScanned", |pass| number(pass.report.hosts)),
    count("Claims", |Pass { report, .. }| {
        number(report.decided.total())
    }),
    count("NoticesAccepted", |pass| number(pass.report.accepted)),
    count("NoticesRefused", |pass| number(pass.report.refused)),
    count("NoticesUnknown", |pass| number(pass.report.unknown)),
    count("NoticesEchoed", |pass| number(pass.report.echoed)),
    count("NoticesBatched", |pass| number(pass.report.batched)),
    count("SecondCopies", |pass| number(pass.report.second_copies)),
    count("HostsHeld", |pass| number(pass.report.held)),
    count("HostsMissing", |pass| number(pass.report.counts.missing)),
    count("HostsFailing", |pass| number(pass.report.counts.failing)),
    count("HostsPaused", |pass| number(pass.report.counts.paused)),
    count("RegionsUnheard", |pass| number(pass.report.regions_unheard)),
    count("UnreadableItems", |pass| number(pass.report.unreadable)),
    seconds("SweepSeconds", |Pass { report, .. }| {
        Some(report.ended.since(report.began).as_secs_f64())
    }),
];

const CANARY: [Metric<Canary>; 2] = [
    count("CanaryAccepted", |canary| {
        number(canary.acknowledged.into())
    }),
    seconds("BlackoutSeconds", |canary| {
        canary.blackout.map(|blackout| blackout.as_secs_f64())
    }),
];

const CAPACITY: [Metric<Capacity>; 2] = [
    count("ReadUnits", |units| Some(units.read).filter(|n| *n > 0.0)),
    count("WriteUnits", |units| Some(units.write).filter(|n| *n > 0.0)),
];

/// All metrics with their units and dimensions.
#[must_use]
pub fn emitted() -> Vec<(&'static str, &'static str, Dimensions)> {
    fn rows<S>(metrics: &[Metric<S>]) -> Vec<(&'static str, &'static str, Dimensions)> {
        let row = |metric: &Metric<S>| (metric.name, metric.unit, metric.dimensions);
        metrics.iter().map(row).collect()
    }
    [rows(&REQUEST), rows(&PASS), rows(&CANARY), rows(&CAPACITY)].concat()
}

#[expect(
    clippy::cast_precision_loss,
    clippy::unnecessary_wraps,
    reason = "exact up to 2^53; the type of a metric's value"
)]
fn number(count: u64) -> Option<f64> {
    Some(count as f64)
}

/// What DynamoDB charged between two readings of the meter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Capacity {
    pub(crate) read: f64,
    pub(crate) write: f64,
}

impl Capacity {
    #[must_use]
    pub(crate) fn between(before: &Usage, after: &Usage) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact up to 2^53 thousandths of a unit"
        )]
        let units = |before: u64, after: u64| after.saturating_sub(before) as f64 / 1_000.0;
        Self {
            read: units(before.read_millis, after.read_millis),
            write: units(before.write_millis, after.write_millis),
        }
    }
}

/// What became of an HTTP request, as far as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// A beat was recorded.
    Beat,
    /// It was refused, for this reason: the `code` of the answer. Several can be counted together.
    Refused { reason: String, count: u64 },
    /// It was not a beat, such as a request for `/v1/status`.
    Other,
}

/// One pass of the sweep, whether it completed or not.
pub(crate) struct Pass {
    pub(crate) report: SweepReport,
    pub(crate) completed: bool,
}

/// One canary.
pub(crate) struct Canary {
    pub(crate) acknowledged: bool,
    /// The time before it in which no beat could be received.
    pub(crate) blackout: Option<Duration>,
}

/// The line of one HTTP request; `None` when there is nothing to count.
#[must_use]
pub(crate) fn of_request(
    stage: &str,
    at: Timestamp,
    outcome: &RequestOutcome,
    capacity: Capacity,
) -> Option<String> {
    let mut line = Line::new(stage, at);
    if let RequestOutcome::Refused { reason, .. } = outcome {
        line.dimension(REASON, reason);
    }
    line.add(&REQUEST, outcome);
    line.add(&CAPACITY, &capacity);
    line.end()
}

/// The line of one pass of the sweep.
#[must_use]
pub(crate) fn of_pass(stage: &str, pass: &Pass, capacity: Capacity) -> Option<String> {
    let mut line = Line::new(stage, pass.report.ended);
    line.add(&PASS, pass);
    line.add(&CAPACITY, &capacity);
    line.end()
}

/// The line of a canary.
#[must_use]
pub(crate) fn of_canary(stage: &str, at: Timestamp, canary: &Canary) -> Option<String> {
    let mut line = Line::new(stage, at);
    line.add(&CANARY, canary);
    line.end()
}

struct Line {
    at: Timestamp,
    /// The metrics of each set of dimensions.
    directives: Vec<(Dimensions, Vec<Value>)>,
    members: Map<String, Value>,
}

impl Line {
    fn new(stage: &str, at: Timestamp) -> Self {
        let mut line = Self {
            at,
            directives: Vec::new(),
            members: Map::new(),
        };
        line.dimension(STAGE, stage);
        line
    }

    fn dimension(&mut self, name: &str, value: &str) {
        self.members.insert(name.to_owned(), value.into());
    }

    fn add<S>(&mut self, metrics: &[Metric<S>], of: &S) {
        for metric in metrics {
            let Some(value) = (metric.value)(of) else {
                continue;
            };
            self.members.insert(metric.name.to_owned(), value.into());
            let named = json!({"Name": metric.name, "Unit": metric.unit});
            match self.directives.last_mut() {
                Some((dimensions, group)) if *dimensions == metric.dimensions => group.push(named),
                _ => self.directives.push((metric.dimensions, vec![named])),
            }
        }
    }

    fn end(mut self) -> Option<String> {
        if self.directives.is_empty() {
            return None;
        }
        let directives: Vec<_> = self
            .directives
            .iter()
            .map(|(dimensions, group)| {
                json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": group})
            })
            .collect();
        let root = json!({"Timestamp": self.at.as_millis(), "CloudWatchMetrics": directives});
        self.members.insert("_aws".to_owned(), root);
        Some(Value::Object(self.members).to_string())
    }
}

#[cfg(test)]
mod tests;
