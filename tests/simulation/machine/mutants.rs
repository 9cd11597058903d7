//! The service of one machine, and broken variants of it. Each wraps the production code with one fault.

use std::time::Duration;

use hb_domain::{Timestamp, limits};
use hb_service::ports::DeliveryOutcome;

use super::deliveries as machine;
use super::troubles::{Chances, Trouble};
use crate::invariants;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Sound,
    /// What was delivered is not stored.
    ForgetsDelivered,
    /// A delivery is stored as delivered before it is sent.
    RecordsFirst,
    /// Later notices pass one that was refused once.
    OvertakesAtOnce,
    /// A delivery with a final answer is tried for ever, and those behind it wait.
    NeverGivesUp,
    /// A delivery that fails never lets later ones pass.
    NeverYields,
    /// The time in which the process did not run counts as silence.
    StopIsSilence,
}

impl Variant {
    /// The broken variants, each with the invariant that it violates.
    pub(crate) const MUTANTS: [(Self, &str); 6] = [
        (Self::ForgetsDelivered, machine::ONE_COPY),
        (Self::RecordsFirst, machine::DELIVERED),
        (Self::OvertakesAtOnce, machine::DELIVERED_IN_ORDER),
        (Self::NeverGivesUp, machine::GIVEN_UP),
        (Self::NeverYields, machine::NOT_HELD),
        (Self::StopIsSilence, invariants::NO_FALSE_ALARM),
    ];

    /// The troubles under which it fails, besides those drawn.
    pub(crate) fn chances(self, chances: Chances) -> Chances {
        match self {
            Self::Sound | Self::ForgetsDelivered => chances,
            Self::RecordsFirst => chances.with(Trouble::Unavailable, 150),
            Self::OvertakesAtOnce => chances.with(Trouble::DislikesForNow, 200),
            Self::NeverGivesUp => chances.with(Trouble::DislikesFinally, 300),
            Self::NeverYields => chances
                .with(Trouble::DislikesForNow, 300)
                .with(Trouble::HostFails, 60)
                .with(Trouble::ClockStep, 0),
            Self::StopIsSilence => chances
                .with(Trouble::Restart, 100)
                .with(Trouble::ClockStep, 0),
        }
    }

    /// What is stored instead of an outcome.
    pub(crate) fn outcome(self, outcome: DeliveryOutcome, now: Timestamp) -> DeliveryOutcome {
        match (self, outcome) {
            (
                Self::OvertakesAtOnce,
                DeliveryOutcome::Retry {
                    due,
                    refused,
                    error,
                    ..
                },
            ) => DeliveryOutcome::Retry {
                due,
                refused,
                yields: true,
                error,
            },
            (
                Self::NeverYields,
                DeliveryOutcome::Retry {
                    due,
                    refused,
                    error,
                    ..
                },
            ) => DeliveryOutcome::Retry {
                due,
                refused,
                yields: false,
                error,
            },
            (Self::NeverGivesUp, DeliveryOutcome::Dead { error }) => DeliveryOutcome::Retry {
                due: now.plus(limits::FINAL_PAUSE),
                refused: true,
                yields: false,
                error,
            },
            (_, outcome) => outcome,
        }
    }

    /// How late the first canary of a process may be.
    pub(crate) fn fresh(self, fresh: Duration) -> Duration {
        if self == Self::StopIsSilence {
            Duration::from_hours(9)
        } else {
            fresh
        }
    }
}
