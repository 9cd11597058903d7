//! Makes, rotates and revokes API keys.

use std::time::Duration;

use hb_domain::{Fleet, HostPrefix, Key, KeyId, KeyName, Scope, Secret, Token, limits};

use crate::ports::{PortError, Ports};

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

/// A key that took the place of another.
#[derive(Debug)]
pub struct Rotated {
    /// The new one.
    pub created: Created,
    /// The old one, which expires soon.
    pub old: Key,
}

/// Why a key was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too many host prefixes.
    #[error("a key has at most {max} host prefixes, not {0}", max = limits::KEY_HOST_PREFIXES)]
    TooManyPrefixes(usize),
    /// No such key.
    #[error("there is no key {0}")]
    NoSuchKey(KeyId),
    /// It cannot take part in anything any more.
    #[error("key {0} has expired or was revoked, and needs no successor")]
    Dead(KeyId),
    /// Every id was taken.
    #[error("{TRIES} random ids in a row were taken: the source of randomness is broken")]
    NotRandom,
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Manages keys.
pub struct KeyAdmin {
    /// The ports of the store.
    pub ports: Ports,
}

impl KeyAdmin {
    /// A new key that is not stored yet.
    pub fn draw_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        if request.host_prefixes.len() > limits::KEY_HOST_PREFIXES {
            return Err(KeyError::TooManyPrefixes(request.host_prefixes.len()));
        }
        let (now, bytes) = (self.ports.clock.now(), self.ports.ids.random());
        let id = KeyId::from_random(std::array::from_fn(|i| bytes[i]));
        let token = Token::new(id.clone(), Secret::from_random(self.ports.ids.random()));
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
            used: None,
        };
        Ok(Created { key, token })
    }

    /// Makes a key and stores it.
    pub async fn create_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        for _ in 0..TRIES {
            let created = self.draw_key(request.clone())?;
            if self.ports.keys.create(&created.key).await? {
                return Ok(created);
            }
        }
        Err(KeyError::NotRandom)
    }

    /// Makes a key like `id`, which then expires after `overlap`, so that machines can be moved over. What expires
    /// by itself keeps doing so: the new one lives as long as the old one was meant to.
    ///
    /// The new key comes first: a crash between leaves both alive.
    pub async fn rotate_key(&self, id: &KeyId, overlap: Duration) -> Result<Rotated, KeyError> {
        let missing = || KeyError::NoSuchKey(id.clone());
        let old = self.ports.keys.load(id).await?.ok_or_else(missing)?;
        if !old.is_live(self.ports.clock.now()) {
            return Err(KeyError::Dead(id.clone()));
        }
        let created = self
            .create_key(KeyRequest {
                name: old.name.clone(),
                scope: old.scope,
                fleet: old.fleet.clone(),
                host_prefixes: old.host_prefixes.clone(),
                expires_in: old.expires.map(|expires| expires.since(old.created)),
            })
            .await?;
        let at = created.key.created.plus(overlap);
        let old = self.ports.keys.expire(id, at).await?.ok_or_else(missing)?;
        Ok(Rotated { created, old })
    }

    /// Revokes a key; one that is revoked stays so, as of its first time.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<Key, KeyError> {
        let key = self.ports.keys.revoke(id, self.ports.clock.now()).await?;
        key.ok_or_else(|| KeyError::NoSuchKey(id.clone()))
    }
}
