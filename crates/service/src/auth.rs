//! Authenticates API keys, with a bounded cache in front of the database.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{Key, Timestamp, Token};
use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::ports::Keys;
use crate::trouble::Troubles;

/// Most entries of each cache: 10,000 are a few megabytes, whatever is sent.
const CACHED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

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
    #[error("unknown key")]
    Unknown,
    #[error("expired or revoked key")]
    Dead,
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

pub struct Authenticator {
    keys: Arc<dyn Keys>,
    policy: CachePolicy,
    troubles: Arc<Troubles>,
    /// By the hash of the whole token: an id alone finds nothing.
    found: Mutex<LruCache<Digest32, Found>>,
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
            found: Mutex::new(LruCache::new(CACHED)),
            refused: Mutex::new(LruCache::new(CACHED)),
        }
    }

    /// The key of the token `presented`, if it is active at `now`.
    pub async fn authenticate(
        &self,
        presented: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<Key>, AuthError> {
        let presented = presented.ok_or(AuthError::Refused(Refusal::Absent))?;
        let token: Token = presented
            .parse()
            .map_err(|_| AuthError::Refused(Refusal::Malformed))?;
        let digest: Digest32 = Sha256::digest(presented).into();
        let cached = lock(&self.found).get(&digest).cloned();
        let key = match cached {
            Some(Found { key, read, .. }) if is_valid(read, self.policy.positive, now) => key,
            cached => self.look_up(&token, digest, cached, now).await?,
        };
        if key.is_live(now) {
            Ok(key)
        } else {
            Err(AuthError::Refused(Refusal::Dead))
        }
    }

    async fn look_up(
        &self,
        token: &Token,
        digest: Digest32,
        cached: Option<Found>,
        now: Timestamp,
    ) -> Result<Arc<Key>, AuthError> {
        let refused = lock(&self.refused).get(&digest).copied();
        if refused.is_some_and(|read| is_valid(read, self.policy.negative, now)) {
            return Err(AuthError::Refused(Refusal::Unknown));
        }
        let loaded = self.keys.load(token.id()).await;
        if loaded.is_ok() {
            self.troubles.worked(ACTIVITY, now);
        }
        match loaded {
            Ok(Some(key)) if key.hash.fits(token.secret()) => {
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
                Err(AuthError::Refused(Refusal::Unknown))
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
