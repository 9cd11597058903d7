//! When notices of silence are held back, because the service may be at fault.

use crate::coverage::ReceiverHealth;
use crate::limits;
use crate::time::Timestamp;

/// What to do about hosts of a fleet that seem silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Notify.
    Closed,
    /// Hold the notices: the receiver may be at fault.
    Hold,
    /// Notify with a caveat: the notices were held long enough.
    Marked,
}

/// The hosts of a fleet that seem silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SilentHosts {
    /// How many would become missing in this sweep.
    pub now: u64,
    /// How many became missing in the [`limits::HOLD`] before, so that a fleet that falls silent bit by bit counts as
    /// well.
    pub before: u64,
    /// How many hosts the fleet has.
    pub hosts: u64,
}

impl SilentHosts {
    fn are_many(self) -> bool {
        let silent = self.now.saturating_add(self.before);
        silent >= limits::BREAKER_HOSTS
            && silent.saturating_mul(100) > self.hosts.saturating_mul(limits::BREAKER_PERCENT)
    }
}

impl Breaker {
    /// The rule for the `silent` hosts of a fleet. `unheard`: several hosts fell silent, and since then no host was
    /// heard, on a machine whose canaries do not leave it. `held` is since when notices of the fleet are held, if they
    /// are.
    #[must_use]
    pub fn of(
        silent: SilentHosts,
        health: ReceiverHealth,
        unheard: bool,
        held: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let doubtful = match health {
            // While a canary is late, silence counts up to the last one, so these hosts are silent all the same.
            ReceiverHealth::Healthy | ReceiverHealth::Stale(Some(_)) => unheard,
            ReceiverHealth::Stale(None) => silent.are_many(),
            ReceiverHealth::Down(_) => true,
        };
        if silent.now == 0 || !doubtful {
            Self::Closed
        } else if held.is_some_and(|since| now.since(since) >= limits::HOLD) {
            Self::Marked
        } else {
            Self::Hold
        }
    }
}

/// Whether beats reach a machine whose canaries do not leave it: as far as the beats of its hosts show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The newest beat of any host.
    pub newest: Timestamp,
    /// The latest of the deadlines that hosts missed.
    missed: [Timestamp; limits::NETWORK_HOSTS],
}

impl Network {
    /// Adds a host with its last beat at `last`.
    pub fn add_beat(&mut self, last: Timestamp) {
        self.newest = self.newest.max(last);
    }

    /// Adds a host that seems missing since `deadline`.
    pub fn add_missing(&mut self, deadline: Timestamp) {
        if let Some(earliest) = self.missed.iter_mut().min() {
            *earliest = deadline.max(*earliest);
        }
    }

    /// What both know.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.add_beat(other.newest);
        for deadline in other.missed {
            self.add_missing(deadline);
        }
        self
    }

    /// Whether [`limits::NETWORK_HOSTS`] or more missed their deadlines, and no host was heard since the first of these.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        let unheard = |missed: &Timestamp| *missed > Timestamp::MIN && *missed >= self.newest;
        self.missed.iter().all(unheard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + minutes * 60_000).unwrap()
    }

    #[test]
    fn notices_are_held_only_while_the_receiver_may_be_at_fault() {
        use Breaker::{Closed, Hold, Marked};
        let down = ReceiverHealth::Down(at(0));
        let (healthy, none) = (ReceiverHealth::Healthy, ReceiverHealth::Stale(None));
        let late = ReceiverHealth::Stale(Some(at(19)));
        let cases = [
            (49, 49, none, false, None, Closed),
            (50, 250, none, false, None, Closed),
            (51, 250, none, false, None, Hold),
            (900, 900, healthy, false, None, Closed),
            (900, 900, healthy, false, Some(0), Closed),
            (900, 900, none, false, Some(6), Hold),
            (900, 900, none, false, Some(5), Marked),
            (900, 900, late, false, None, Closed),
            (0, 900, down, false, Some(0), Closed),
            (1, 900, down, false, None, Hold),
            (1, 900, down, false, Some(5), Marked),
            (3, 3, healthy, true, None, Hold),
            (3, 3, late, true, Some(6), Hold),
            (3, 3, healthy, true, Some(5), Marked),
            (0, 3, healthy, true, Some(5), Closed),
        ];
        for (now, hosts, health, unheard, held, expected) in cases {
            let silent = SilentHosts {
                now,
                before: 0,
                hosts,
            };
            let verdict = Breaker::of(silent, health, unheard, held.map(at), at(20));
            assert_eq!(
                verdict, expected,
                "{silent:?}, {health:?}, held since {held:?}"
            );
        }
    }

    #[test]
    fn three_hosts_silent_since_the_newest_beat_of_any_host_are_unheard() {
        let network = |newest: i64, missed: &[i64]| {
            let mut network = Network::default();
            network.add_beat(at(newest));
            for minute in missed {
                network.add_missing(at(*minute));
            }
            network
        };
        let cases = [
            (5, &[5, 6, 7][..], true),
            (5, &[1, 6, 2, 5, 7], true),
            (5, &[6, 7], false),
            (5, &[4, 6, 7], false),
            (5, &[], false),
        ];
        for (newest, missed, expected) in cases {
            let whole = network(newest, missed);
            assert_eq!(whole.is_unheard(), expected, "{missed:?}");
            let (one, other) = missed.split_at(missed.len() / 2);
            let parts = network(0, one).merge(network(newest, other));
            assert_eq!(parts.is_unheard(), expected, "{missed:?} in two parts");
        }
    }

    #[test]
    fn a_fleet_that_falls_silent_bit_by_bit_reaches_the_threshold() {
        let verdict = |now, before| {
            let silent = SilentHosts {
                now,
                before,
                hosts: 500,
            };
            Breaker::of(silent, ReceiverHealth::Stale(None), false, None, at(0))
        };
        // A tenth of the fleet a minute.
        assert_eq!(verdict(50, 0), Breaker::Closed);
        assert_eq!(verdict(50, 50), Breaker::Closed);
        assert_eq!(verdict(50, 100), Breaker::Hold);
        assert_eq!(verdict(0, 150), Breaker::Closed, "nothing to hold");
    }
}
