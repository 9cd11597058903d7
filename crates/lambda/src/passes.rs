//! One invocation of the sweep: the passes of a minute, each ending before the function runs out of time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hb_aws::Meter;
use hb_domain::{Kind, Timestamp};
use hb_service::ports::{Clock, Ids};
use hb_service::{Sweep, SweepError, SweepReport, SweepSettings};
use serde::Serialize;

use crate::function::Function;
use crate::metrics::{self, Capacity, Pass, Print};
use crate::settings::SweepFunctionSettings;

/// The time that the passes of an invocation share: the schedule's period.
pub const MINUTE: Duration = Duration::from_mins(1);
/// Nothing is started in this last part of the function's time. It covers one host being claimed and its notice
/// published: a publish (times out after 8 s) and the writes around it, with time to retry one of them (times out
/// after 5 s).
pub const MARGIN: Duration = Duration::from_secs(20);
/// A lease exceeds the function's remaining time by this much, because clocks differ.
pub const SLACK: Duration = Duration::from_secs(10);

pub(crate) struct Passes {
    /// The lease is set anew for each invocation.
    sweep: Sweep,
    every: Duration,
    stage: String,
    meter: Arc<Meter>,
    print: Print,
}

/// What an invocation did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Minute {
    /// The passes that completed, in order.
    passes: Vec<SweepReport>,
    /// How many passes did not complete.
    failed: usize,
    /// How many passes were not started for lack of time.
    skipped: usize,
}

/// At least one pass did not complete. The others ran all the same, and the schedule tries again in a minute.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{failed} of {begun} passes failed, the last one because: {cause}")]
pub(crate) struct PassesFailed {
    failed: usize,
    begun: usize,
    cause: String,
}

impl Passes {
    pub(crate) fn new(
        settings: &SweepFunctionSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        print: Print,
    ) -> Self {
        let clients = Function::Sweep.clients(&settings.shared.clients);
        let stage = &settings.shared.stage;
        let mut rules = SweepSettings::distributed(settings.shared.region.clone(), SLACK);
        hb_version::PROGRAM.clone_into(&mut rules.program);
        rules.hb = format!("hb --stage {stage}");
        rules.segments = settings.segments.unwrap_or(rules.segments);
        rules.concurrency = settings.concurrency.unwrap_or(rules.concurrency);
        let sweep = Sweep::new(hb_aws::ports(&clients, stage, clock, ids), rules);
        Self {
            sweep,
            every: settings.every,
            stage: stage.to_string(),
            meter: clients.meter().clone(),
            print,
        }
    }

    /// How long the receiver counts as healthy after a canary.
    pub(crate) fn fresh(&self) -> Duration {
        self.sweep.settings.canaries.fresh
    }

    /// Sweeps now and then once per period, for a minute or until shortly before `deadline`, when the function ends.
    pub(crate) async fn run(&self, deadline: Timestamp) -> Result<Minute, PassesFailed> {
        let began = self.sweep.ports.clock.now();
        let until = deadline.minus(MARGIN);
        let sweep = self.with_lease_until(deadline, began);
        let mut minute = Minute {
            passes: Vec::new(),
            failed: 0,
            skipped: 0,
        };
        let mut cause = String::new();
        let mut place = Some(0);
        while let Some(now) = place {
            let at = began.plus(self.every * now);
            // The first one always runs, if only to report that there is no time.
            if now > 0 && at >= until {
                minute.skipped += 1;
            } else {
                tokio::time::sleep(at.since(self.sweep.ports.clock.now())).await;
                match self.pass(&sweep, until).await {
                    Ok(report) => minute.passes.push(report),
                    Err(error) => {
                        minute.failed += 1;
                        cause = error;
                    }
                }
            }
            place = self.next(now, self.sweep.ports.clock.now().since(began));
        }
        if minute.skipped > 0 {
            tracing::warn!(
                "{} passes did not fit into the function's timeout; set it to at least {} s",
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

    /// The place of the pass after place `now`, if the minute has one more. Of several late passes, only one runs.
    fn next(&self, now: u32, elapsed: Duration) -> Option<u32> {
        let late = elapsed.as_millis() / self.every.as_millis();
        let next = u32::try_from(late).unwrap_or(u32::MAX).max(now + 1);
        (self.every.saturating_mul(next) < MINUTE).then_some(next)
    }

    /// The sweep of an invocation from `began` to `deadline`. Its leases outlive the function, whatever the clocks.
    fn with_lease_until(&self, deadline: Timestamp, began: Timestamp) -> Sweep {
        let mut settings = self.sweep.settings.clone();
        settings.delivery.lease = deadline.since(began) + SLACK;
        self.sweep.clone().with_settings(settings)
    }

    /// Sweeps once, logs and counts the result. The error is the reason why it did not complete.
    async fn pass(&self, sweep: &Sweep, until: Timestamp) -> Result<SweepReport, String> {
        let began = sweep.ports.clock.now();
        let before = self.meter.usage();
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
                let cause = "the code panicked; the log has the location";
                (report, Some(cause.to_owned()))
            }
        };
        let capacity = Capacity::between(&before, &self.meter.usage());
        let pass = Pass {
            report,
            completed: cause.is_none(),
        };
        if let Some(line) = metrics::of_pass(&self.stage, &pass, capacity) {
            (self.print)(&line);
        }
        log(&pass.report, cause.as_deref());
        cause.map_or(Ok(pass.report), Err)
    }
}

fn log(report: &SweepReport, cause: Option<&str>) {
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
    // The log writes wider integers as text.
    let millis = u64::try_from(ended.since(*began).as_millis()).unwrap_or(u64::MAX);
    if let Some(cause) = cause {
        tracing::error!(
            hosts,
            missing = decided[Kind::Missing],
            failing = decided[Kind::Failing],
            recovered = decided[Kind::Recovered],
            slowed = decided[Kind::Slowed],
            accepted,
            millis,
            "the sweep failed: {cause}"
        );
    } else if decided.total() + accepted + held > 0 {
        tracing::info!(
            hosts,
            registered = decided[Kind::Registered],
            missing = decided[Kind::Missing],
            failing = decided[Kind::Failing],
            recovered = decided[Kind::Recovered],
            slowed = decided[Kind::Slowed],
            accepted,
            held,
            millis,
            "sweep completed"
        );
    } else {
        tracing::debug!(hosts, millis, "sweep completed");
    }
}

#[cfg(test)]
mod tests;
