//! Diagnoses a service: findings, each with its cause and the next step.
//!
//! Reads through the ports and changes nothing. What only an adapter can know (a disk, a table's index, a policy) is
//! found by that adapter, in the same form.

mod rules;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hb_domain::{CanaryPolicy, Region, Timestamp};
use serde::Serialize;

use crate::SweepSettings;
use crate::canary::Receivers;
use crate::ports::every_page;
use crate::ports::{PortResult, Ports, Segment, Stored};

pub use rules::{clock_skew, programs};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, but something will go wrong, or should be improved.
    Warning,
    /// Beats, deadlines or notices are lost or late, or soon will be.
    Problem,
}

impl Verdict {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// The state of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub verdict: Verdict,
    /// The thing, such as `sweep` or `table hb-prod-ledger`.
    pub thing: String,
    /// Its state, or what is wrong with it.
    pub cause: String,
    /// What to do about it; `None` when nothing is wrong.
    pub next_step: Option<String>,
}

impl Finding {
    pub fn ok(thing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            thing: thing.into(),
            cause: cause.into(),
            next_step: None,
        }
    }

    pub fn warning(
        thing: impl Into<String>,
        cause: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        let next_step = Some(next_step.into());
        Self {
            verdict: Verdict::Warning,
            thing: thing.into(),
            cause: cause.into(),
            next_step,
        }
    }

    pub fn problem(
        thing: impl Into<String>,
        cause: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(thing, cause, next_step)
        }
    }
}

/// What is normal for a service.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// The region of the sweeps and canaries.
    pub region: Region,
    /// When its receiver counts as down.
    pub canaries: CanaryPolicy,
    /// When the last sweep is older, the next one is late.
    pub sweep_late: Duration,
    /// When the last sweep is older, no further one is expected.
    pub sweep_gone: Duration,
    /// What to do when no sweep runs.
    pub revive: &'static str,
}

impl Expectations {
    /// Of `hb serve`, which sweeps every 20 s by default, and at least once an hour.
    #[must_use]
    pub fn local() -> Self {
        let SweepSettings {
            region, canaries, ..
        } = SweepSettings::local();
        Self {
            region,
            canaries,
            sweep_late: Duration::from_mins(5),
            sweep_gone: Duration::from_mins(65),
            revive: "check that `hb serve` runs on this data folder, and read its log",
        }
    }

    /// Of a deployed stage in `region`, which sweeps once a minute.
    #[must_use]
    pub fn deployed(region: Region) -> Self {
        let SweepSettings {
            canaries, region, ..
        } = SweepSettings::distributed(region, Duration::ZERO);
        Self {
            region,
            canaries,
            sweep_late: Duration::from_mins(3),
            sweep_gone: Duration::from_mins(10),
            revive: "read the log of the function sweep, and check that its schedule is enabled",
        }
    }
}

pub struct Doctor {
    pub ports: Ports,
    pub expectations: Expectations,
}

impl Doctor {
    /// All findings at `now`. What cannot be read is a finding as well.
    pub async fn examine(&self, now: Timestamp) -> Vec<Finding> {
        let found = [
            ("sweep", self.sweep(now).await),
            ("canaries", self.canaries(now).await),
            ("notices", self.notices(now).await),
            ("subscriptions", self.subscriptions(now).await),
            ("keys", self.keys(now).await),
        ];
        let findings = found.into_iter().map(|(thing, found)| {
            found.unwrap_or_else(|error| {
                vec![Finding::problem(
                    thing,
                    error.to_string(),
                    "fix this first: nothing is known of it until then",
                )]
            })
        });
        findings.flatten().collect()
    }

    async fn sweep(&self, now: Timestamp) -> PortResult<Vec<Finding>> {
        let last = self
            .ports
            .system
            .last_sweep(&self.expectations.region)
            .await?;
        Ok(vec![rules::sweep(last.as_ref(), &self.expectations, now)])
    }

    async fn canaries(&self, now: Timestamp) -> PortResult<Vec<Finding>> {
        let receivers = Receivers::load(&self.ports).await?;
        let mut findings = rules::unreadable("receivers", &receivers.unreadable);
        let region = &self.expectations.region;
        if !receivers.is_unreadable(region) {
            let receiver = receivers.of(region);
            findings.extend(rules::receiver(receiver, &self.expectations, now));
        }
        Ok(findings)
    }

    async fn notices(&self, now: Timestamp) -> PortResult<Vec<Finding>> {
        let (open, unreadable) =
            every_page(|after| self.ports.ledger.open(Segment::WHOLE, after)).await?;
        let open: Vec<_> = open
            .into_iter()
            .map(|Stored { record: entry, .. }| entry)
            .collect();
        let fleets = &self.ports.fleets;
        let (fleets, unreadable_fleets) =
            every_page(|after| fleets.open(Segment::WHOLE, after)).await?;
        let fleets = fleets.into_iter().map(|stored| stored.record);
        let settings = fleets.map(|fleet| (fleet.fleet, fleet.settings)).collect();
        let revive = self.expectations.revive;
        Ok([
            vec![rules::notices(&open, &settings, revive, now)],
            rules::clock(&open).into_iter().collect(),
            rules::unreadable("ledger", &unreadable),
            rules::unreadable("fleets", &unreadable_fleets),
        ]
        .concat())
    }

    async fn subscriptions(&self, now: Timestamp) -> PortResult<Vec<Finding>> {
        let (subscriptions, unreadable) =
            every_page(|after| self.ports.subscriptions.list(after)).await?;
        let tally = match &self.ports.deliveries {
            Some(deliveries) => Some(deliveries.tally().await?),
            None => None,
        };
        let mut findings = rules::subscriptions(
            &subscriptions,
            &self.ports.subscriptions.states().await?,
            tally.as_ref(),
            now,
        );
        findings.extend(rules::unreadable("subscriptions", &unreadable));
        Ok(findings)
    }

    async fn keys(&self, now: Timestamp) -> PortResult<Vec<Finding>> {
        let (keys, unreadable) = every_page(|after| self.ports.keys.list(after)).await?;
        Ok([
            rules::keys(&keys, now),
            rules::unreadable("keys", &unreadable),
        ]
        .concat())
    }
}
