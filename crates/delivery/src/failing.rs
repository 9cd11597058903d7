//! Logs which subscriptions fail, why, and when they work again: a line a cause and ten minutes, not a line a try.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{SubscriptionId, Timestamp, human_duration};

/// How long a cause that was logged is only counted.
const QUIET: Duration = Duration::from_mins(10);

/// Causes that are told apart of one subscription: some receivers put a different number into each answer.
const CAUSES: usize = 4;

/// What all further causes are counted as.
const OTHER: &str = "";

/// How long a subscription is remembered after its last failure.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// The subscriptions that fail, or failed lately.
#[derive(Default)]
pub(crate) struct Failing(Mutex<BTreeMap<SubscriptionId, State>>);

struct State {
    /// Since when, how often, and whether a line said so; `None` when the last try succeeded.
    now: Option<Spell>,
    last: Timestamp,
    causes: BTreeMap<String, Cause>,
}

struct Spell {
    since: Timestamp,
    tries: u64,
    is_logged: bool,
}

struct Cause {
    logged: Timestamp,
    /// Tries that failed so since then.
    uncounted: u64,
}

impl Failing {
    /// A try failed at `now`. Returns the line to log, if it is time for one.
    pub(crate) fn failed(
        &self,
        id: &SubscriptionId,
        cause: &str,
        now: Timestamp,
    ) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, state| now.since(state.last) < KEEP);
        let state = all.entry(id.clone()).or_insert_with(|| State {
            now: None,
            last: now,
            causes: BTreeMap::new(),
        });
        state.last = now;
        let spell = state.now.get_or_insert(Spell {
            since: now,
            tries: 0,
            is_logged: false,
        });
        spell.tries += 1;
        let is_kept = state.causes.len() < CAUSES || state.causes.contains_key(cause);
        let key = if is_kept { cause } else { OTHER };
        let known = state.causes.get_mut(key);
        let again = match known {
            // The clock may have been set back since.
            Some(known) if now.since(known.logged) < QUIET && !known.logged.is_ahead(now) => {
                known.uncounted += 1;
                return None;
            }
            Some(known) => format!(
                " ({} more tries failed since the last line)",
                known.uncounted
            ),
            None => String::new(),
        };
        let logged = Cause {
            logged: now,
            uncounted: 0,
        };
        state.causes.insert(key.to_owned(), logged);
        spell.is_logged = true;
        Some(format!("delivery to {id} fails{again}: {cause}"))
    }

    /// A try succeeded at `now`. Returns the line to log, if one said that it fails.
    pub(crate) fn worked(&self, id: &SubscriptionId, now: Timestamp) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spell = all.get_mut(id)?.now.take()?;
        spell.is_logged.then(|| {
            let lasted = human_duration(Duration::from_secs(now.since(spell.since).as_secs()));
            let tries = spell.tries;
            format!("delivery to {id} works again after {lasted} (tries that failed: {tries})")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000)
            .unwrap()
            .plus(Duration::from_secs(seconds))
    }

    fn hook() -> SubscriptionId {
        "hook".parse().unwrap()
    }

    #[test]
    fn a_cause_is_logged_once_in_ten_minutes_with_the_tries_in_between() {
        let failing = Failing::default();
        let failed = |cause, seconds| failing.failed(&hook(), cause, at(seconds));
        assert_eq!(failed("500", 0).unwrap(), "delivery to hook fails: 500");
        assert_eq!(failed("500", 2), None);
        assert_eq!(failed("503", 6).unwrap(), "delivery to hook fails: 503");
        assert_eq!(failed("500", 599), None);
        let again = "delivery to hook fails (2 more tries failed since the last line): 500";
        assert_eq!(failed("500", 600).unwrap(), again);
        assert_eq!(failed("500", 601), None);
        let other = "other".parse().unwrap();
        assert!(failing.failed(&other, "500", at(601)).is_some());
        let back = failing.failed(&hook(), "500", at(0).minus(QUIET));
        assert!(back.is_some(), "the clock was set back");
    }

    #[test]
    fn a_recovery_is_logged_once_if_the_failure_was() {
        let failing = Failing::default();
        assert_eq!(failing.worked(&hook(), at(0)), None);
        for seconds in [0, 30, 60] {
            failing.failed(&hook(), "500", at(seconds));
        }
        assert_eq!(
            failing.worked(&hook(), at(90)).unwrap(),
            "delivery to hook works again after 1 min 30 s (tries that failed: 3)"
        );
        assert_eq!(failing.worked(&hook(), at(91)), None);
        assert_eq!(failing.failed(&hook(), "500", at(100)), None);
        assert_eq!(
            failing.worked(&hook(), at(101)),
            None,
            "the flapping is quiet"
        );
        assert!(failing.failed(&hook(), "500", at(700)).is_some());
        assert!(failing.worked(&hook(), at(701)).is_some());
    }

    #[test]
    fn causes_that_differ_each_time_are_logged_five_times_and_subscriptions_are_forgotten() {
        let failing = Failing::default();
        let lines = (0..100).filter_map(|n| failing.failed(&hook(), &format!("id {n}"), at(n)));
        assert_eq!(lines.count(), CAUSES + 1);
        failing.failed(&"other".parse().unwrap(), "500", at(99).plus(KEEP));
        assert_eq!(failing.0.lock().unwrap().len(), 1);
    }
}
