//! Which new hosts a process has looked at lately, so that each is looked at once and not in every sweep until it is no
//! longer new.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Heartbeat, HostKey, Timestamp, limits};

/// New hosts that were settled, by a hash of the host, its first beat and its last failure. Two generations: what is not
/// settled again is forgotten after [`limits::NEWS_MARGIN`] twice to four times.
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
        self.hasher.hash_one((key, first, failed))
    }

    pub(super) fn contains(&self, mark: u64) -> bool {
        let generations = self.lock();
        generations.young.contains(&mark) || generations.old.contains(&mark)
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
