//! What is wrong with a service, as an admin asks: findings, each with its cause and the next step.
//!
//! Looks through the ports and changes nothing. What only an adapter can know (a disk, a table's index, a policy) that
//! adapter finds itself, in the same form.

mod rules;

#[cfg(test)]
mod tests;

use std::time::Duration;

use hb_domain::{CanaryPolicy, Region, Timestamp};
use serde::Serialize;

use crate::SweepSettings;
use crate::canary::Receivers;
use crate::ports::every_page;
use crate::ports::{PortResult, Ports, Stored};

pub use rules::clock_skew;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something will go wrong, or is not as one would want it.
    Warning,
    /// Beats, deadlines or notices are lost or late, or soon will be.
    Problem,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// The thing, such as `sweep` or `table hb-prod-ledger`.
    pub thing: String,
    /// How it stands, or why it is not well.
    pub cause: String,
    /// What to do about it; `None` when all is well.
    pub next_step: Option<String>,
}

impl Finding {
    /// All is well with `thing`.
    pub fn ok(thing: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            thing: thing.into(),
            cause: cause.into(),
            next_step: None,
        }
    }

    /// Something will go wrong with `thing`.
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

    /// Something is wrong with `thing`.
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

/// What is usual for a service.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Whose sweeps and canaries.
    pub region: Region,
    /// When its receiver counts as deaf.
    pub canaries: CanaryPolicy,
    /// A sweep that completed longer ago is late.
    pub sweep_late: Duration,
    /// A sweep that completed longer ago will not come.
    pub sweep_gone: Duration,
    /// What to do when nothing sweeps.
    pub revive: &'static str,
}

impl Expectations {
    /// Of `hb serve`, which sweeps every 20 s unless it was told otherwise, and at least once an hour.
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
            revive: "see whether `hb serve` runs on this data folder, and what it logs",
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
            revive: "see the log of the function sweep, and whether its schedule is enabled",
        }
    }
}

/// What is looked through.
pub struct Doctor {
    /// The ports of the store.
    pub ports: Ports,
    /// What is usual.
    pub expectations: Expectations,
}

impl Doctor {
    /// Everything that can be found at `now`. What cannot be read is a finding, too.
    pub async fn examine(&self, now: Timestamp) -> Vec<Finding> {
        let found = [
            ("sweep", self.sweep(now).await),
            ("canaries", self.canaries(now).await),
            ("notices", self.notices(now).await),
            ("subscriptions", self.subscriptions().await),
            ("keys", self.keys(now).await),
        ];
        let findings = found.into_iter().map(|(thing, found)| {
            found.unwrap_or_else(|error| {
                vec![Finding::problem(
                    thing,
                    error.to_string(),
                    "mend that first; the rest follows from it",
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
        let (open, unreadable) = every_page(|after| self.ports.ledger.open(after)).await?;
        let open: Vec<_> = open
            .into_iter()
            .map(|Stored { record: entry, .. }| entry)
            .collect();
        Ok([
            vec![rules::notices(&open, self.expectations.revive, now)],
            rules::unreadable("ledger", &unreadable),
        ]
        .concat())
    }

    async fn subscriptions(&self) -> PortResult<Vec<Finding>> {
        let (subscriptions, unreadable) =
            every_page(|after| self.ports.subscriptions.list(after)).await?;
        let tally = match &self.ports.deliveries {
            Some(deliveries) => deliveries.tally().await?,
            None => std::collections::BTreeMap::new(),
        };
        let mut findings = rules::subscriptions(
            &subscriptions,
            &self.ports.subscriptions.states().await?,
            &tally,
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
