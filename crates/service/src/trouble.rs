//! Logs failures once per cause, not once per beat, and each recovery once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Timestamp, human_duration};

/// Most causes kept for one activity, so that an error text that differs each time does not fill the memory.
const CAUSES: usize = 16;

struct Ongoing {
    since: Timestamp,
    failures: u64,
    causes: Vec<String>,
}

/// The current failures of a process, by activity, such as `recording beats`.
#[derive(Default)]
pub struct Troubles {
    ongoing: Mutex<BTreeMap<&'static str, Ongoing>>,
    /// How many there are, so that a beat takes no lock while all works.
    count: AtomicUsize,
}

impl Troubles {
    /// `activity` failed at `now`. Logs it unless this cause is known; returns whether it was logged.
    pub fn failed(&self, activity: &'static str, cause: &dyn Display, now: Timestamp) -> bool {
        let mut ongoing = self.ongoing.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = ongoing.entry(activity).or_insert(Ongoing {
            since: now,
            failures: 0,
            causes: Vec::new(),
        });
        trouble.failures += 1;
        let cause = cause.to_string();
        let is_new = trouble.causes.len() < CAUSES && !trouble.causes.contains(&cause);
        if is_new {
            tracing::error!("{activity} failed: {cause} (logged once per cause)");
            trouble.causes.push(cause);
        }
        self.count.store(ongoing.len(), Ordering::Release);
        is_new
    }

    /// `activity` worked at `now`. Logs a recovery if it failed before.
    pub fn worked(&self, activity: &'static str, now: Timestamp) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut ongoing = self.ongoing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ongoing {
            since, failures, ..
        }) = ongoing.remove(activity)
        {
            tracing::info!(
                "{activity} works again after {} (failures: {failures})",
                human_duration(now.since(since))
            );
        }
        self.count.store(ongoing.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_each_cause_once_until_recovery() {
        let (troubles, now) = (Troubles::default(), Timestamp::MIN);
        assert!(troubles.failed("recording beats", &"disk full", now));
        assert!(!troubles.failed("recording beats", &"disk full", now));
        assert!(troubles.failed("recording beats", &"read-only", now));
        assert!(troubles.failed("sweeping", &"disk full", now));
        troubles.worked("recording beats", now);
        assert!(troubles.failed("recording beats", &"disk full", now));
        assert!(!troubles.failed("sweeping", &"disk full", now));
    }

    #[test]
    fn the_number_of_kept_causes_is_bounded() {
        let troubles = Troubles::default();
        let logged = (0..100)
            .filter(|i| troubles.failed("sweeping", i, Timestamp::MIN))
            .count();
        assert_eq!(logged, CAUSES);
    }
}
