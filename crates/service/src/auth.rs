//! Authenticates API keys, with a bounded cache in front of the database.

use std::mem::size_of;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{Key, KeyId, Secret, Timestamp, credential, limits};
use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::ports::Keys;
use crate::trouble::Troubles;

/// Most refused tokens that are remembered: a megabyte, whatever is sent.
const REFUSED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

const ACTIVITY: &str = "reading API keys";

const NOTING: &str = "recording the use of API keys";

/// How long an answer of the database is valid.
#[derive(Clone, Copy, Debug)]
pub struct CachePolicy {
    /// For a key that was found.
    pub positive: Duration,
    /// For a token that was refused.
    pub negative: Duration,
    /// For a key that was found, while the database fails.
    pub stale: Duration,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            positive: Duration::from_mins(1),
            negative: Duration::from_secs(10),
            stale: Duration::from_mins(5),
        }
    }
}

/// Why a request was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The sender's fault. The sender must not learn the reason.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The database failed; the log has the cause.
    #[error("API keys are unavailable")]
    Unavailable,
}

/// Why a token was refused. For logs and counters, never for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no key")]
    Absent,
    /// Its form or its checksum is wrong.
    #[error("malformed key")]
    Malformed,
    /// There is no key of its id, or the secret differs.
    #[error("unknown key {0}")]
    Unknown(KeyId),
    #[error("expired or revoked key {0}")]
    Dead(KeyId),
    /// It is valid, and sends more beats than it may.
    #[error("too many beats of key {0}")]
    TooMany(KeyId),
}

type Digest32 = [u8; 32];

#[derive(Clone)]
struct Found {
    key: Arc<Key>,
    /// When the database was asked for it.
    read: Timestamp,
    /// The day for which its use was last recorded, or tried to be.
    noted: Option<Timestamp>,
}

/// Keys that were found, the least recently used ones first to go when they take more than
/// [`limits::KEY_CACHE_BYTES`].
struct Cache {
    /// By the hash of the whole token: an id alone finds nothing.
    keys: LruCache<Digest32, Found>,
    bytes: usize,
}

impl Cache {
    fn put(&mut self, digest: Digest32, found: Found) {
        self.bytes += bytes(&found.key);
        let replaced = self.keys.put(digest, found);
        self.bytes -= replaced.map_or(0, |old| bytes(&old.key));
        while self.bytes > limits::KEY_CACHE_BYTES {
            let Some((_, old)) = self.keys.pop_lru() else {
                return;
            };
            self.bytes -= bytes(&old.key);
        }
    }

    fn pop(&mut self, digest: &Digest32) {
        let old = self.keys.pop(digest);
        self.bytes -= old.map_or(0, |old| bytes(&old.key));
    }
}

/// About what an entry of the cache takes: the key, its texts with what an allocation adds, and its place in the map.
fn bytes(key: &Key) -> usize {
    const ALLOCATED: usize = 16;
    let prefixes = key.host_prefixes.iter();
    let prefixes = prefixes.map(|prefix| prefix.as_str().len() + size_of::<String>() + ALLOCATED);
    let texts = key.name.as_str().len() + key.fleet.as_str().len() + 2 * ALLOCATED;
    let entry = size_of::<Key>() + size_of::<Found>() + size_of::<Digest32>() + 4 * ALLOCATED;
    entry + texts + prefixes.sum::<usize>()
}

pub struct Authenticator {
    keys: Arc<dyn Keys>,
    policy: CachePolicy,
    troubles: Arc<Troubles>,
    found: Mutex<Cache>,
    /// Separate from `found`, so that guessing cannot evict valid keys.
    refused: Mutex<LruCache<Digest32, Timestamp>>,
}

impl Authenticator {
    /// Authenticates against `keys`. When they cannot be read, `troubles` logs it, even while the cache still serves.
    #[must_use]
    pub fn new(keys: Arc<dyn Keys>, policy: CachePolicy, troubles: Arc<Troubles>) -> Self {
        Self {
            keys,
            policy,
            troubles,
            found: Mutex::new(Cache {
                keys: LruCache::unbounded(),
                bytes: 0,
            }),
            refused: Mutex::new(LruCache::new(REFUSED)),
        }
    }

    /// The key of the token `presented`, if it is active at `now`.
    pub async fn authenticate(
        &self,
        presented: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<Key>, AuthError> {
        let presented = presented.filter(|presented| !presented.is_empty());
        let presented = presented.ok_or(AuthError::Refused(Refusal::Absent))?;
        let (id, secret) =
            credential(presented).map_err(|_| AuthError::Refused(Refusal::Malformed))?;
        let digest: Digest32 = Sha256::digest(presented).into();
        let cached = lock(&self.found).keys.get(&digest).cloned();
        let key = match cached {
            Some(Found { key, read, .. }) if is_valid(read, self.policy.positive, now) => key,
            cached => self.look_up(id, &secret, digest, cached, now).await?,
        };
        if key.is_live(now) {
            Ok(key)
        } else {
            Err(AuthError::Refused(Refusal::Dead(key.id)))
        }
    }

    async fn look_up(
        &self,
        id: KeyId,
        secret: &Secret,
        digest: Digest32,
        cached: Option<Found>,
        now: Timestamp,
    ) -> Result<Arc<Key>, AuthError> {
        let refused = lock(&self.refused).get(&digest).copied();
        if refused.is_some_and(|read| is_valid(read, self.policy.negative, now)) {
            return Err(AuthError::Refused(Refusal::Unknown(id)));
        }
        let loaded = self.keys.load(&id).await;
        if loaded.is_ok() {
            self.troubles.worked(ACTIVITY, now);
        }
        match loaded {
            Ok(Some(key)) if key.hash.fits(secret) => {
                let noted = self
                    .note_use(&key, cached.and_then(|cached| cached.noted), now)
                    .await;
                let key = Arc::new(key);
                lock(&self.found).put(
                    digest,
                    Found {
                        key: key.clone(),
                        read: now,
                        noted,
                    },
                );
                Ok(key)
            }
            Ok(_) => {
                lock(&self.found).pop(&digest);
                lock(&self.refused).put(digest, now);
                Err(AuthError::Refused(Refusal::Unknown(id)))
            }
            Err(error) => {
                self.troubles.failed(ACTIVITY, &error, now);
                match cached {
                    Some(Found { key, read, .. }) if is_valid(read, self.policy.stale, now) => {
                        Ok(key)
                    }
                    _ => Err(AuthError::Unavailable),
                }
            }
        }
    }

    /// Records the day of the key's use, once a day and process, whether that succeeds or not: it must not cost beats.
    /// It happens before the answer, since a Lambda function is frozen after it.
    async fn note_use(
        &self,
        key: &Key,
        noted: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if !key.is_news(now) || !key.is_live(now) || noted == Some(now.day()) {
            return noted;
        }
        match self.keys.note_use(&key.id, now).await {
            Ok(()) => self.troubles.worked(NOTING, now),
            Err(error) => {
                self.troubles.failed(NOTING, &error, now);
            }
        }
        Some(now.day())
    }
}

/// Whether an answer that was `read` then is valid at `now`. One that was read under a wrong clock is not.
fn is_valid(read: Timestamp, lasts: Duration, now: Timestamp) -> bool {
    !read.is_ahead(now) && now.since(read) < lasts
}

/// A cache remains valid after a panic in another thread.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hb_domain::{Fleet, KeyLimits, Scope, Secret};

    use super::*;

    fn found(prefixes: usize) -> Found {
        let key = Key {
            id: KeyId::from_random([1; 7]),
            name: "web fleet of the north".parse().unwrap(),
            hash: Secret::from_random([2; 32]).hash(),
            fleet: Fleet::main(),
            scope: Scope::Ingest,
            host_prefixes: vec!["web-north-".parse().unwrap(); prefixes],
            created: Timestamp::MIN,
            expires: None,
            revoked: None,
            used: None,
            limits: KeyLimits::default(),
            hosts: 0,
        };
        Found {
            key: Arc::new(key),
            read: Timestamp::MIN,
            noted: None,
        }
    }

    #[test]
    fn the_cache_holds_more_keys_than_a_large_fleet_has_and_no_more_bytes_than_it_may() {
        let mut cache = Cache {
            keys: LruCache::unbounded(),
            bytes: 0,
        };
        let digest = |n: u32| Digest32::from(Sha256::digest(n.to_be_bytes()));
        for n in 0..100_000 {
            cache.put(digest(n), found(1));
        }
        assert_eq!(cache.keys.len(), 100_000);
        for n in 0..100_000 {
            cache.put(digest(n), found(20));
        }
        assert!(cache.keys.len() < 100_000 && cache.bytes <= limits::KEY_CACHE_BYTES);
        assert!(!cache.keys.contains(&digest(0)) && cache.keys.contains(&digest(99_999)));
        while let Some((digest, _)) = cache.keys.peek_lru() {
            let digest = *digest;
            cache.pop(&digest);
        }
        assert_eq!(cache.bytes, 0);
    }
}
