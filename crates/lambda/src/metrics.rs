//! Metrics as lines of log: CloudWatch makes metrics of lines in its embedded metric format, so that nothing is sent
//! and nobody waits.
//!
//! The format: Amazon CloudWatch user guide, "Specification: Embedded metric format".

use std::time::Duration;

use hb_aws::Usage;
use hb_domain::Timestamp;
use hb_service::SweepReport;
use serde_json::{Map, Value, json};

/// Where CloudWatch lists the metrics.
const NAMESPACE: &str = "Heartbeat";
/// The dimensions, spelt as CloudWatch shows them.
const STAGE: &str = "Stage";
const REASON: &str = "Reason";

/// What the adapters were charged between two looks at their meter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Capacity {
    /// Read units.
    pub(crate) read: f64,
    /// Write units.
    pub(crate) write: f64,
}

impl Capacity {
    /// What `after` has more than `before`.
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
    /// It was refused, for this reason: the `code` of the answer.
    Refused(String),
    /// It was no beat, such as a look at `/v1/status`.
    Other,
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
    match outcome {
        RequestOutcome::Beat => line.counts([("Beats", 1.0)]),
        RequestOutcome::Refused(reason) => {
            line.text(REASON, reason);
            // In sum, and for each reason.
            line.directive(
                &[&[STAGE], &[STAGE, REASON]],
                [("RefusedBeats", "Count", 1.0)],
            );
        }
        RequestOutcome::Other => {}
    }
    line.capacity(capacity);
    line.end()
}

/// The line of one pass of the sweep, however it ended.
#[must_use]
pub(crate) fn of_pass(
    stage: &str,
    report: &SweepReport,
    completed: bool,
    capacity: Capacity,
) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let number = |count: u64| count as f64;
    let mut line = Line::new(stage, report.ended);
    line.counts([
        ("SweepCompleted", f64::from(u8::from(completed))),
        ("HostsScanned", number(report.hosts)),
        ("Claims", number(report.decided.total())),
        ("NoticesAccepted", number(report.accepted)),
        ("NoticesRefused", number(report.refused)),
        ("NoticesUnknown", number(report.unknown)),
        ("NoticesEchoed", number(report.echoed)),
        ("NoticesBatched", number(report.batched)),
        ("SecondCopies", number(report.second_copies)),
        ("HostsHeld", number(report.held)),
        ("HostsMissing", number(report.counts.missing)),
        ("HostsFailing", number(report.counts.failing)),
        ("HostsPaused", number(report.counts.paused)),
        ("RegionsUnheard", number(report.regions_unheard)),
        ("UnreadableItems", number(report.unreadable)),
    ]);
    let seconds = report.ended.since(report.began).as_secs_f64();
    line.directive(&[&[STAGE]], [("SweepSeconds", "Seconds", seconds)]);
    line.capacity(capacity);
    line.end()
}

/// The line of a canary; `deaf` is how long nobody could be heard before it.
#[must_use]
pub(crate) fn of_canary(
    stage: &str,
    at: Timestamp,
    heard: bool,
    deaf: Option<Duration>,
) -> Option<String> {
    let mut line = Line::new(stage, at);
    line.counts([("CanaryAccepted", f64::from(u8::from(heard)))]);
    if let Some(deaf) = deaf {
        line.directive(
            &[&[STAGE]],
            [("BlackoutSeconds", "Seconds", deaf.as_secs_f64())],
        );
    }
    line.end()
}

/// A line that grows.
struct Line {
    at: Timestamp,
    directives: Vec<Value>,
    members: Map<String, Value>,
}

impl Line {
    fn new(stage: &str, at: Timestamp) -> Self {
        let mut line = Self {
            at,
            directives: Vec::new(),
            members: Map::new(),
        };
        line.text(STAGE, stage);
        line
    }

    /// The value of a dimension.
    fn text(&mut self, name: &str, value: &str) {
        self.members.insert(name.to_owned(), value.into());
    }

    /// Metrics of the stage that count something.
    fn counts(&mut self, counts: impl IntoIterator<Item = (&'static str, f64)>) {
        self.directive(
            &[&[STAGE]],
            counts
                .into_iter()
                .map(|(name, value)| (name, "Count", value)),
        );
    }

    /// Metrics with unit and value, each once under every set of `dimensions`. Each is paid for by itself.
    fn directive(
        &mut self,
        dimensions: &[&[&str]],
        metrics: impl IntoIterator<Item = (&'static str, &'static str, f64)>,
    ) {
        let mut named = Vec::new();
        for (name, unit, value) in metrics {
            named.push(json!({"Name": name, "Unit": unit}));
            self.members.insert(name.to_owned(), value.into());
        }
        if !named.is_empty() {
            let directive =
                json!({"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": named});
            self.directives.push(directive);
        }
    }

    fn capacity(&mut self, Capacity { read, write }: Capacity) {
        let units = [("ReadUnits", read), ("WriteUnits", write)];
        self.counts(units.into_iter().filter(|(_, units)| *units > 0.0));
    }

    fn end(mut self) -> Option<String> {
        if self.directives.is_empty() {
            return None;
        }
        let root = json!({"Timestamp": self.at.as_millis(), "CloudWatchMetrics": self.directives});
        self.members.insert("_aws".to_owned(), root);
        Some(Value::Object(self.members).to_string())
    }
}

#[cfg(test)]
mod tests {
    use hb_domain::Kind;
    use insta::assert_snapshot;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
    }

    fn request(outcome: &RequestOutcome, capacity: Capacity) -> String {
        of_request("dev", at(0), outcome, capacity).unwrap_or_default()
    }

    #[test]
    fn a_beat_is_a_short_line() {
        let line = request(
            &RequestOutcome::Beat,
            Capacity {
                read: 0.0,
                write: 1.0,
            },
        );
        assert_snapshot!(line, @r#"{"Beats":1.0,"Stage":"dev","WriteUnits":1.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"Beats","Unit":"Count"}],"Namespace":"Heartbeat"},{"Dimensions":[["Stage"]],"Metrics":[{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
    }

    #[test]
    fn a_refused_beat_counts_by_its_reason_and_in_sum() {
        let outcome = RequestOutcome::Refused("unauthenticated".to_owned());
        let line = request(
            &outcome,
            Capacity {
                read: 0.5,
                write: 0.0,
            },
        );
        assert_snapshot!(line, @r#"{"ReadUnits":0.5,"Reason":"unauthenticated","RefusedBeats":1.0,"Stage":"dev","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"],["Stage","Reason"]],"Metrics":[{"Name":"RefusedBeats","Unit":"Count"}],"Namespace":"Heartbeat"},{"Dimensions":[["Stage"]],"Metrics":[{"Name":"ReadUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
    }

    #[test]
    fn what_is_no_beat_costs_a_line_only_when_it_costs_units() {
        assert_eq!(
            of_request("dev", at(0), &RequestOutcome::Other, Capacity::default()),
            None
        );
        let line = request(
            &RequestOutcome::Other,
            Capacity {
                read: 0.0,
                write: 1.0,
            },
        );
        assert_snapshot!(line, @r#"{"Stage":"dev","WriteUnits":1.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
    }

    #[test]
    fn a_sweep_counts_as_completed_only_when_it_was() {
        let report = SweepReport {
            began: at(0),
            ended: at(2),
            hosts: 100_000,
            decided: [(Kind::Missing, 3), (Kind::Recovered, 1)].into(),
            accepted: 2,
            unknown: 1,
            refused: 1,
            unreadable: 1,
            ..SweepReport::default()
        };
        let line = |completed| {
            of_pass(
                "prod",
                &report,
                completed,
                Capacity {
                    read: 1_562.5,
                    write: 12.0,
                },
            )
            .unwrap()
        };
        assert_snapshot!(line(true), @r#"{"Claims":4.0,"HostsFailing":0.0,"HostsHeld":0.0,"HostsMissing":0.0,"HostsPaused":0.0,"HostsScanned":100000.0,"NoticesAccepted":2.0,"NoticesBatched":0.0,"NoticesEchoed":0.0,"NoticesRefused":1.0,"NoticesUnknown":1.0,"ReadUnits":1562.5,"RegionsUnheard":0.0,"SecondCopies":0.0,"Stage":"prod","SweepCompleted":1.0,"SweepSeconds":2.0,"UnreadableItems":1.0,"WriteUnits":12.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"SweepCompleted","Unit":"Count"},{"Name":"HostsScanned","Unit":"Count"},{"Name":"Claims","Unit":"Count"},{"Name":"NoticesAccepted","Unit":"Count"},{"Name":"NoticesRefused","Unit":"Count"},{"Name":"NoticesUnknown","Unit":"Count"},{"Name":"NoticesEchoed","Unit":"Count"},{"Name":"NoticesBatched","Unit":"Count"},{"Name":"SecondCopies","Unit":"Count"},{"Name":"HostsHeld","Unit":"Count"},{"Name":"HostsMissing","Unit":"Count"},{"Name":"HostsFailing","Unit":"Count"},{"Name":"HostsPaused","Unit":"Count"},{"Name":"RegionsUnheard","Unit":"Count"},{"Name":"UnreadableItems","Unit":"Count"}],"Namespace":"Heartbeat"},{"Dimensions":[["Stage"]],"Metrics":[{"Name":"SweepSeconds","Unit":"Seconds"}],"Namespace":"Heartbeat"},{"Dimensions":[["Stage"]],"Metrics":[{"Name":"ReadUnits","Unit":"Count"},{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000002000}}"#);
        let line: Value = serde_json::from_str(&line(false)).unwrap();
        assert_eq!(line["SweepCompleted"], 0.0);
    }

    /// What the format demands: each metric and each dimension is a member, metrics are numbers, dimensions text.
    #[test]
    fn lines_keep_to_the_format() {
        let lines = [
            request(
                &RequestOutcome::Refused("x".to_owned()),
                Capacity {
                    read: 1.0,
                    write: 1.0,
                },
            ),
            of_pass(
                "prod",
                &SweepReport::default(),
                true,
                Capacity {
                    read: 1.0,
                    write: 1.0,
                },
            )
            .unwrap(),
        ];
        for line in lines {
            assert!(!line.contains('\n'));
            let line: Value = serde_json::from_str(&line).unwrap();
            assert!(line["_aws"]["Timestamp"].is_u64());
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                for set in directive["Dimensions"].as_array().unwrap() {
                    let names = set.as_array().unwrap();
                    assert!(
                        names
                            .iter()
                            .all(|name| line[name.as_str().unwrap()].is_string())
                    );
                }
                let metrics = directive["Metrics"].as_array().unwrap();
                assert!((1..=100).contains(&metrics.len()));
                assert!(
                    metrics
                        .iter()
                        .all(|metric| line[metric["Name"].as_str().unwrap()].is_number())
                );
            }
        }
    }

    #[test]
    fn capacity_is_what_came_to_it() {
        let usage = |read_millis, write_millis| Usage {
            read_millis,
            write_millis,
            ..Usage::default()
        };
        let capacity = Capacity::between(&usage(500, 1_000), &usage(2_000, 4_500));
        assert_eq!(
            capacity,
            Capacity {
                read: 1.5,
                write: 3.5
            }
        );
    }
}
