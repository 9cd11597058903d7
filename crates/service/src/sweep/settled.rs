//! Which hosts that seem to have news a process has looked at lately, so that each is looked at once and not in every
//! sweep for as long as its beats alone seem to be news.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Heartbeat, HostKey, Timestamp, limits};

/// Hosts that seem to have news and were settled, by a hash of the host, its first beat, its last failure and its interval
/// if it was raised. Two generations: what is not looked for again is forgotten after [`limits::NEWS_MARGIN`] twice to four times.
#[derive(Default)]
pub(super) struct Settled {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    began: Timestamp,
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Settled {
    /// Forgets what is too old at `now`.
    pub(super) fn age(&self, now: Timestamp) {
        let mut generations = self.lock();
        let began = generations.began;
        if now < began
            || now.since(began) >= limits::NEWS_MARGIN * 2
            || generations.young.len() >= limits::SETTLED_HOSTS
        {
            generations.began = now;
            generations.old = std::mem::take(&mut generations.young);
        }
    }

    /// What stands for a host with these beats.
    pub(super) fn mark(&self, key: &HostKey, beats: Option<&Heartbeat>) -> u64 {
        let first = beats.map(|beats| beats.first);
        let failure = beats.and_then(|beats| beats.failure.as_ref());
        let failed = failure.map(|failure| failure.at);
        let raised = beats.filter(|beats| {
            beats
                .first_interval
                .is_some_and(|first| beats.has_raised(first))
        });
        let interval = raised.map(|beats| beats.interval);
        self.hasher.hash_one((key, first, failed, interval))
    }

    /// Whether it was settled, which is then remembered on.
    pub(super) fn contains(&self, mark: u64) -> bool {
        let mut generations = self.lock();
        let found = generations.young.contains(&mark) || generations.old.contains(&mark);
        if found {
            generations.young.insert(mark);
        }
        found
    }

    pub(super) fn insert(&self, mark: u64) {
        self.lock().young.insert(mark);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
