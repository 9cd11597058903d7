//! Who sends this? Authenticates API keys, with a bounded cache before the database.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{Key, Timestamp, Token};
use lru::LruCache;
use sha2::{Digest, Sha256};

use crate::ports::Keys;
use crate::trouble::Troubles;

/// Keys kept in memory: 10,000 of each sort are a few megabytes, whatever is sent.
const CACHED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// As the log calls it.
const ACTIVITY: &str = "reading API keys";

/// Likewise.
const NOTING: &str = "noting the use of API keys";

/// How long an answer of the database is good for.
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

/// Why nobody was authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The sender is at fault. All reasons look the same to it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The keys cannot be read now; the log has the cause.
    #[error("the keys cannot be read now")]
    Unavailable,
}

/// Why a token was refused: for logs and counters, never for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There was none.
    #[error("no key")]
    Absent,
    /// It does not look like one, or its checksum differs.
    #[error("malformed key")]
    Malformed,
    /// Nobody knows its id, or its secret is another.
    #[error("unknown key")]
    Unknown,
    /// It has expired or was revoked.
    #[error("expired or revoked key")]
    Dead,
}

type Digest32 = [u8; 32];

/// A key that was found.
#[derive(Clone)]
struct Found {
    key: Arc<Key>,
    /// When it was read.
    read: Timestamp,
    /// The day on which its use was last noted, or tried to be.
    noted: Option<Timestamp>,
}

/// Authenticates tokens.
pub struct Authenticator {
    keys: Arc<dyn Keys>,
    policy: CachePolicy,
    troubles: Arc<Troubles>,
    /// By the hash of the whole token: whoever has the id alone finds nothing.
    found: Mutex<LruCache<Digest32, Found>>,
    /// Apart from `found`, so that guessing cannot push good keys out.
    refused: Mutex<LruCache<Digest32, Timestamp>>,
}

impl Authenticator {
    /// Authenticates against `keys`; when they cannot be read, `troubles` says so in the log, also while the cache
    /// still serves.
    #[must_use]
    pub fn new(keys: Arc<dyn Keys>, policy: CachePolicy, troubles: Arc<Troubles>) -> Self {
        let (found, refused) = (
            Mutex::new(LruCache::new(CACHED)),
            Mutex::new(LruCache::new(CACHED)),
        );
        Self {
            keys,
            policy,
            troubles,
            found,
            refused,
        }
    }

    /// The key that `presented` proves, alive at `now`.
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
            Some(Found { key, read, .. }) if now.since(read) < self.policy.positive => key,
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
        if refused.is_some_and(|read| now.since(read) < self.policy.negative) {
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
                    Some(Found { key, read, .. }) if now.since(read) < self.policy.stale => Ok(key),
                    _ => Err(AuthError::Unavailable),
                }
            }
        }
    }

    /// Has the day of the key's use written down, once a day and process, well or not: an admin's wish to know must
    /// not cost beats. It is done before the answer, since a function stands still after it.
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

/// A cache stays good when somebody panicked beside it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
