//! Says in the log that something fails: once per cause, not once per beat, and once when it works again.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Timestamp, human_duration};

/// Causes remembered for one activity: an error text that differs each time must not fill the memory.
const CAUSES: usize = 16;

struct Ongoing {
    since: Timestamp,
    failures: u64,
    causes: Vec<String>,
}

/// The troubles of a process, by the activity that they hit, such as `recording beats`.
#[derive(Default)]
pub struct Troubles {
    ongoing: Mutex<BTreeMap<&'static str, Ongoing>>,
    /// How many there are: the way of a beat that works costs no lock.
    count: AtomicUsize,
}

impl Troubles {
    /// `activity` failed at `now`: logged unless this cause is known. Gives whether it was logged.
    pub fn failed(&self, activity: &'static str, cause: &dyn Display, now: Timestamp) -> bool {
        let mut ongoing = self.ongoing.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = ongoing.entry(activity).or_insert(Ongoing {
            since: now,
            failures: 0,
            causes: Vec::new(),
        });
        trouble.failures += 1;
        let cause = cause.to_string();
        let news = trouble.causes.len() < CAUSES && !trouble.causes.contains(&cause);
        if news {
            tracing::error!("{activity} fails, said once per cause: {cause}");
            trouble.causes.push(cause);
        }
        self.count.store(ongoing.len(), Ordering::Release);
        news
    }

    /// `activity` worked at `now`: the end of its trouble is logged, if there was any.
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
    fn a_cause_is_said_once_until_it_is_over() {
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
    fn ever_new_causes_are_not_remembered_for_ever() {
        let troubles = Troubles::default();
        let said = (0..100)
            .filter(|i| troubles.failed("sweeping", i, Timestamp::MIN))
            .count();
        assert_eq!(said, CAUSES);
    }
}
