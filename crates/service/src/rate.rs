//! Limits the beats of each key, so that one runaway loop does not take the capacity of all.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{KeyId, Timestamp};
use lru::LruCache;

/// Most keys with a bucket; an evicted key starts again with a full one.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// A token bucket per key, with the capacity of one second.
pub struct RateLimit {
    /// Beats a second; `None` means no limit.
    per_second: Option<NonZeroU32>,
    /// Thousandths of a beat left, and at what time.
    left: Mutex<LruCache<KeyId, (u64, Timestamp)>>,
}

impl RateLimit {
    /// Allows each key `per_second` beats a second, or any number.
    #[must_use]
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        Self {
            per_second,
            left: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Takes one beat of `key` at `now`; the error is the time to wait.
    pub fn take(&self, key: &KeyId, now: Timestamp) -> Result<(), Duration> {
        let Some(per_second) = self.per_second.map(|n| u64::from(n.get())) else {
            return Ok(());
        };
        let full = per_second * 1_000;
        let mut buckets = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = buckets.get_or_insert_mut_ref(key, || (full, now));
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
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis).unwrap()
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let (limit, [a, b]) = (
            RateLimit::new(NonZeroU32::new(2)),
            [1, 2].map(|i| KeyId::from_random([i; 7])),
        );
        assert_eq!(
            [limit.take(&a, at(0)), limit.take(&a, at(0))],
            [Ok(()), Ok(())]
        );
        assert_eq!(limit.take(&a, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(limit.take(&b, at(0)), Ok(()));
        assert_eq!(limit.take(&a, at(499)), Err(Duration::from_millis(1)));
        assert_eq!(limit.take(&a, at(500)), Ok(()));
        assert_eq!(
            limit.take(&a, at(400)),
            Err(Duration::from_millis(500)),
            "a clock set back adds nothing"
        );
        assert_eq!([0; 2].map(|_| limit.take(&a, at(60_000))), [Ok(()), Ok(())]);
        assert!(
            limit.take(&a, at(60_000)).is_err(),
            "a bucket holds at most one second"
        );
    }

    #[test]
    fn without_a_limit_every_beat_passes() {
        let (limit, key) = (RateLimit::new(None), KeyId::from_random([1; 7]));
        assert!((0..1_000).all(|_| limit.take(&key, at(0)).is_ok()));
    }
}
