//! Makes and revokes API keys, adds and removes subscriptions.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{
    Endpoint, Filter, Fleet, HostPrefix, Key, KeyId, KeyName, Scope, Secret, Subscription, SubscriptionId,
    Token, limits,
};

use crate::ports::{Clock, Ids, Keys, PortError, PortResult, Subscriptions};

/// Ids are random; a taken one means broken randomness long before the third.
const TRIES: u32 = 3;

/// The key an admin asks for.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// For people.
    pub name: KeyName,
    /// What it is for.
    pub scope: Scope,
    /// The only fleet it acts in.
    pub fleet: Fleet,
    /// The hosts it may beat for; empty means all.
    pub host_prefixes: Vec<HostPrefix>,
    /// How long it is good for; `None` means until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A key that was just made, with the token that nobody will see again.
#[derive(Debug)]
pub struct Created {
    /// As it is stored.
    pub key: Key,
    /// To be shown once.
    pub token: Token,
}

/// Why a key was not made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too many host prefixes.
    #[error("a key has at most {max} host prefixes, not {0}", max = limits::KEY_HOST_PREFIXES)]
    TooManyPrefixes(usize),
    /// No such key.
    #[error("there is no key {0}")]
    NoSuchKey(KeyId),
    /// Every id was taken.
    #[error("{TRIES} random ids in a row were taken: the source of randomness is broken")]
    NotRandom,
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Manages keys and subscriptions.
pub struct Manager {
    /// The keys.
    pub keys: Arc<dyn Keys>,
    /// Who listens.
    pub subscriptions: Arc<dyn Subscriptions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids and secrets.
    pub ids: Arc<dyn Ids>,
}

impl Manager {
    /// A new key that is not stored yet.
    pub fn draw_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        if request.host_prefixes.len() > limits::KEY_HOST_PREFIXES {
            return Err(KeyError::TooManyPrefixes(request.host_prefixes.len()));
        }
        let (now, bytes) = (self.clock.now(), self.ids.random());
        let id = KeyId::from_random(std::array::from_fn(|i| bytes[i]));
        let token = Token::new(id.clone(), Secret::from_random(self.ids.random()));
        let key = Key {
            id,
            name: request.name,
            hash: token.secret().hash(),
            fleet: request.fleet,
            scope: request.scope,
            host_prefixes: request.host_prefixes,
            created: now,
            expires: request.expires_in.map(|lasts| now.plus(lasts)),
            revoked: None,
        };
        Ok(Created { key, token })
    }

    /// Makes a key and stores it.
    pub async fn create_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        for _ in 0..TRIES {
            let created = self.draw_key(request.clone())?;
            if self.keys.create(&created.key).await? {
                return Ok(created);
            }
        }
        Err(KeyError::NotRandom)
    }

    /// Revokes a key; one that is revoked stays so, as of its first time.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<Key, KeyError> {
        let key = self.keys.revoke(id, self.clock.now()).await?;
        key.ok_or_else(|| KeyError::NoSuchKey(id.clone()))
    }

    /// Adds a subscription.
    pub async fn subscribe(&self, endpoint: Endpoint, filter: Filter) -> PortResult<Subscription> {
        for _ in 0..TRIES {
            let bytes = self.ids.random();
            let subscription = Subscription {
                id: SubscriptionId::from_random(std::array::from_fn(|i| bytes[i])),
                endpoint: endpoint.clone(),
                filter: filter.clone(),
                created: self.clock.now(),
            };
            if self.subscriptions.add(&subscription).await? {
                return Ok(subscription);
            }
        }
        Err(PortError::unavailable("randomness", KeyError::NotRandom))
    }
}
