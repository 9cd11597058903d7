//! Limits how often something may happen for each key or address, so that one runaway loop does not take the capacity of
//! all.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hb_domain::Timestamp;
use lru::LruCache;

/// Most keys with a bucket, 20 MB at most; an evicted key starts again with a full one. More than the keys of a fleet.
const REMEMBERED: usize = 200_000;

/// A token bucket per key.
pub struct RateLimit<K> {
    /// Events a second; `None` means no limit.
    per_second: Option<NonZeroU32>,
    /// How many seconds of events may come at once.
    seconds: u32,
    /// Thousandths of an event left, and at what time.
    left: Mutex<LruCache<K, (u64, Timestamp)>>,
}

impl<K: Copy + Eq + Hash> RateLimit<K> {
    /// Allows each key `per_second` events a second, or any number, and at once as many as in `seconds`.
    #[must_use]
    pub fn new(per_second: Option<NonZeroU32>, seconds: u32) -> Self {
        Self {
            per_second,
            seconds,
            // Not `new`, which allocates for all of them at once.
            left: Mutex::new(LruCache::unbounded()),
        }
    }

    /// Takes one event of `key` at `now`; the error is the time to wait.
    pub fn take(&self, key: K, now: Timestamp) -> Result<(), Duration> {
        let Some(per_second) = self.per_second.map(|n| u64::from(n.get())) else {
            return Ok(());
        };
        let full = per_second * u64::from(self.seconds) * 1_000;
        let mut buckets = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains(&key) {
            buckets.pop_lru();
        }
        let (left, at) = buckets.get_or_insert_mut(key, || (full, now));
        let elapsed = u64::try_from(now.since(*at).as_millis()).unwrap_or(u64::MAX);
        *left = left
            .saturating_add(elapsed.saturating_mul(per_second))
            .min(full);
        *at = now.max(at.as_of(now));
        match left.checked_sub(1_000) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => Err(Duration::from_millis((1_000 - *left).div_ceil(per_second))),
        }
    }
}

#[cfg(test)]
mod tests {
    use hb_domain::KeyId;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis).unwrap()
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let (limit, [a, b]) = (
            RateLimit::new(NonZeroU32::new(2), 1),
            [1, 2].map(|i| KeyId::from_random([i; 7])),
        );
        assert_eq!(
            [limit.take(a, at(0)), limit.take(a, at(0))],
            [Ok(()), Ok(())]
        );
        assert_eq!(limit.take(a, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(limit.take(b, at(0)), Ok(()));
        assert_eq!(limit.take(a, at(499)), Err(Duration::from_millis(1)));
        assert_eq!(limit.take(a, at(500)), Ok(()));
        assert_eq!(
            limit.take(a, at(400)),
            Err(Duration::from_millis(500)),
            "a clock set back adds nothing"
        );
        assert_eq!([0; 2].map(|_| limit.take(a, at(60_000))), [Ok(()), Ok(())]);
        assert!(
            limit.take(a, at(60_000)).is_err(),
            "a bucket of one second holds no more"
        );
    }

    #[test]
    fn a_bucket_holds_its_seconds() {
        let (limit, key) = (
            RateLimit::new(NonZeroU32::new(2), 3),
            KeyId::from_random([1; 7]),
        );
        assert!((0..6).all(|_| limit.take(key, at(0)).is_ok()));
        assert_eq!(limit.take(key, at(0)), Err(Duration::from_millis(500)));
    }

    #[test]
    fn without_a_limit_every_beat_passes() {
        let (limit, key) = (RateLimit::new(None, 1), KeyId::from_random([1; 7]));
        assert!((0..1_000).all(|_| limit.take(key, at(0)).is_ok()));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let limit = RateLimit::new(NonZeroU32::new(2), 1);
        for key in 0..REMEMBERED + 10 {
            limit.take(key, at(0)).unwrap();
        }
        assert_eq!(limit.left.lock().unwrap().len(), REMEMBERED);
    }
}
