//! One invocation of the sweep: the passes of a minute, each until the function's time is nearly over.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hb_aws::Meter;
use hb_domain::{Kind, Timestamp};
use hb_service::ports::{Clock, Ids};
use hb_service::{Sweep, SweepError, SweepReport, SweepSettings};
use serde::Serialize;

use crate::metrics::{self, Capacity};
use crate::run::Print;
use crate::settings::SweepFunctionSettings;

/// The time that the passes of an invocation share: the schedule's period.
const MINUTE: Duration = Duration::from_mins(1);
/// Nothing is begun in this last part of the function's time. What may be under way then is a host that is being
/// claimed and told: a publish (given up after 8 s) and the writes around it, with time for one of them to be tried
/// again (given up after 5 s).
const MARGIN: Duration = Duration::from_secs(20);
/// How much longer than the function can live a lease is, since clocks differ.
const SLACK: Duration = Duration::from_secs(10);

/// Sweeps several times an invocation.
pub(crate) struct Passes {
    /// Its lease is that of an invocation that just began.
    sweep: Sweep,
    every: Duration,
    stage: String,
    meter: Arc<Meter>,
    print: Print,
}

/// What an invocation did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Minute {
    /// Each pass that completed, in order.
    passes: Vec<SweepReport>,
    /// How many did not.
    failed: usize,
    /// How many had no time left to begin.
    skipped: usize,
}

/// At least one pass did not complete. The others had their chance; the schedule tries again in a minute.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{failed} of {begun} passes did not complete, the last one because: {cause}")]
pub(crate) struct PassesFailed {
    failed: usize,
    begun: usize,
    cause: String,
}

impl Passes {
    /// The sweep of a stage.
    pub(crate) fn new(
        settings: &SweepFunctionSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        print: Print,
    ) -> Self {
        let (clients, stage) = (&settings.shared.clients, &settings.shared.stage);
        let mut rules = SweepSettings::distributed(settings.shared.region.clone(), SLACK);
        rules.segments = settings.segments.unwrap_or(rules.segments);
        rules.concurrency = settings.concurrency.unwrap_or(rules.concurrency);
        let sweep = Sweep {
            ports: hb_aws::ports(clients, stage, clock, ids),
            settings: rules,
        };
        let (stage, meter) = (stage.to_string(), clients.meter().clone());
        Self {
            sweep,
            every: settings.every,
            stage,
            meter,
            print,
        }
    }

    /// How long a canary shows that the receiver hears.
    pub(crate) fn fresh(&self) -> Duration {
        self.sweep.settings.canaries.fresh
    }

    /// Sweeps at once and then every period, for a minute or until shortly before `deadline`, when the function ends.
    pub(crate) async fn run(&self, deadline: Timestamp) -> Result<Minute, PassesFailed> {
        let began = self.sweep.ports.clock.now();
        let until = deadline.minus(MARGIN);
        let sweep = self.until(deadline, began);
        let mut minute = Minute {
            passes: Vec::new(),
            failed: 0,
            skipped: 0,
        };
        let mut cause = String::new();
        let mut place = Some(0);
        while let Some(now) = place {
            let at = began.plus(self.every * now);
            // The first one always begins, if only to say that there is no time.
            if now > 0 && at >= until {
                minute.skipped += 1;
            } else {
                tokio::time::sleep(at.since(self.sweep.ports.clock.now())).await;
                match self.pass(&sweep, until).await {
                    Ok(report) => minute.passes.push(report),
                    Err(words) => {
                        minute.failed += 1;
                        cause = words;
                    }
                }
            }
            place = self.next(now, self.sweep.ports.clock.now().since(began));
        }
        if minute.skipped > 0 {
            tracing::warn!(
                "{} passes did not fit into the function's time: give it at least {} s",
                minute.skipped,
                (MINUTE + MARGIN).as_secs(),
            );
        }
        let Minute { passes, failed, .. } = &minute;
        if *failed == 0 {
            Ok(minute)
        } else {
            Err(PassesFailed {
                failed: *failed,
                begun: failed + passes.len(),
                cause,
            })
        }
    }

    /// The place of the pass after that of place `now`, if the minute has one more. Of several that are late, one.
    fn next(&self, now: u32, elapsed: Duration) -> Option<u32> {
        let late = elapsed.as_millis() / self.every.as_millis();
        let next = u32::try_from(late).unwrap_or(u32::MAX).max(now + 1);
        (self.every.saturating_mul(next) < MINUTE).then_some(next)
    }

    /// The sweep of an invocation that has from `began` to `deadline`: no lease of it ends before it is surely gone.
    fn until(&self, deadline: Timestamp, began: Timestamp) -> Sweep {
        let mut settings = self.sweep.settings.clone();
        settings.delivery.lease = deadline.since(began) + SLACK;
        Sweep {
            settings,
            ..self.sweep.clone()
        }
    }

    /// Sweeps once; logs and counts what came of it. An error is why it did not complete.
    async fn pass(&self, sweep: &Sweep, until: Timestamp) -> Result<SweepReport, String> {
        let (began, before) = (sweep.ports.clock.now(), self.meter.usage());
        let result = AssertUnwindSafe(sweep.run_until(until))
            .catch_unwind()
            .await;
        let (report, cause) = match result {
            Ok(Ok(report)) => (report, None),
            Ok(Err(SweepError { report, source })) => (*report, Some(source.to_string())),
            Err(_) => {
                let report = SweepReport {
                    began,
                    ended: sweep.ports.clock.now(),
                    ..SweepReport::default()
                };
                (
                    report,
                    Some("the code panicked; the log says where".to_owned()),
                )
            }
        };
        let capacity = Capacity::between(&before, &self.meter.usage());
        if let Some(line) = metrics::of_pass(&self.stage, &report, cause.is_none(), capacity) {
            (self.print)(&line);
        }
        tell(&report, cause.as_deref());
        cause.map_or(Ok(report), Err)
    }
}

/// Logs a pass.
fn tell(report: &SweepReport, cause: Option<&str>) {
    for trouble in &report.troubles {
        tracing::warn!("{trouble}");
    }
    let SweepReport {
        began,
        ended,
        hosts,
        decided,
        accepted,
        held,
        ..
    } = report;
    // The log writes longer numbers as text.
    let millis = u64::try_from(ended.since(*began).as_millis()).unwrap_or(u64::MAX);
    if let Some(cause) = cause {
        tracing::error!(
            hosts,
            missing = decided[Kind::Missing],
            failing = decided[Kind::Failing],
            recovered = decided[Kind::Recovered],
            accepted,
            millis,
            "a sweep did not complete: {cause}"
        );
    } else if decided.total() + accepted + held > 0 {
        tracing::info!(
            hosts,
            registered = decided[Kind::Registered],
            missing = decided[Kind::Missing],
            failing = decided[Kind::Failing],
            recovered = decided[Kind::Recovered],
            accepted,
            held,
            millis,
            "swept"
        );
    } else {
        tracing::debug!(hosts, millis, "swept");
    }
}

#[cfg(test)]
mod tests;
