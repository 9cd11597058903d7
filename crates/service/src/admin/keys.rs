//! Creates, rotates and revokes API keys.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{
    ActKind, Fleet, HostPrefix, Key, KeyId, KeyLimits, KeyName, Scope, Secret, Token, limits,
};
use serde_json::{Value, json};

use super::audit::Auditor;
use crate::ports::{PortError, PortResult, Ports};

/// Ids are random: that three in a row are taken means broken randomness.
const TRIES: u32 = 3;

/// A key to create.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    pub name: KeyName,
    pub scope: Scope,
    pub fleet: Fleet,
    /// The hosts it may send beats for; empty means all.
    pub host_prefixes: Vec<HostPrefix>,
    /// How long it is valid; `None` means until it is revoked.
    pub expires_in: Option<Duration>,
    pub limits: KeyLimits,
}

/// A new key with its token, which cannot be shown again.
#[derive(Debug)]
pub struct Created {
    pub key: Key,
    pub token: Token,
}

/// A key that replaces another.
#[derive(Debug)]
pub struct Rotated {
    pub created: Created,
    /// The replaced key, which expires soon.
    pub old: Key,
}

/// The end of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// How many keys were stored.
    pub created: usize,
    /// How many were stored already.
    pub existing: usize,
    /// How many have the id of another key.
    pub taken: usize,
    /// The names of the first keys that were stored.
    pub names: Vec<KeyName>,
}

/// Why a key was not created or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("a key has at most {max} host prefixes, not {0}", max = limits::KEY_HOST_PREFIXES)]
    TooManyPrefixes(usize),
    #[error(
        "a key is for at least {min} hosts, not {0}; for fewer, give their names as --host-prefix",
        min = limits::KEY_HOSTS_MIN
    )]
    TooFewHosts(u32),
    #[error("there is no key {0}")]
    NoSuchKey(KeyId),
    /// It has ended already.
    #[error("key {0} has expired or was revoked, and cannot be rotated")]
    Dead(KeyId),
    #[error("{TRIES} random ids in a row were taken: the source of randomness is broken")]
    NotRandom,
    #[error(transparent)]
    Port(#[from] PortError),
}

pub struct KeyAdmin {
    pub ports: Ports,
    pub auditor: Arc<Auditor>,
}

impl KeyAdmin {
    /// Generates a key without storing it.
    pub fn draw_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        if request.host_prefixes.len() > limits::KEY_HOST_PREFIXES {
            return Err(KeyError::TooManyPrefixes(request.host_prefixes.len()));
        }
        check(&request.limits)?;
        let now = self.ports.clock.now();
        let bytes = self.ports.ids.random();
        let id = KeyId::from_random(std::array::from_fn(|i| bytes[i]));
        let token = Token::new(id, Secret::from_random(self.ports.ids.random()));
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
            limits: request.limits,
            hosts: 0,
        };
        Ok(Created { key, token })
    }

    /// Generates a key and stores it.
    pub async fn create_key(&self, request: KeyRequest) -> Result<Created, KeyError> {
        for _ in 0..TRIES {
            let created = self.draw_key(request.clone())?;
            if self.store(&created.key).await? {
                return Ok(created);
            }
        }
        Err(KeyError::NotRandom)
    }

    /// Stores a generated key; `false` when its id is taken.
    pub async fn store(&self, key: &Key) -> PortResult<bool> {
        let stored = self.ports.keys.create(key).await?;
        if stored {
            self.stored(key).await;
        }
        Ok(stored)
    }

    /// Records a key that was just stored.
    pub async fn stored(&self, key: &Key) {
        let (id, new) = (key.id.as_str(), Some(facts(key)));
        let record = self.auditor.record(ActKind::KeyCreate, id, None, new);
        record.await;
    }

    /// Records an import from `file`, also one that was stopped.
    pub async fn imported(&self, file: &str, imported: &Imported) {
        let Imported {
            created,
            existing,
            taken,
            names,
        } = imported;
        let names = names.iter().take(limits::AUDIT_NAMES).collect::<Vec<_>>();
        let new = json!({"created": created, "existing": existing, "taken": taken, "names": names});
        let record = self
            .auditor
            .record(ActKind::KeyImport, file, None, Some(new));
        record.await;
    }

    /// Creates a key like `id`, which then expires after `overlap`, so that machines can change over. If the old key
    /// had an expiry, the new one gets the same lifetime.
    ///
    /// The new key is stored first: a crash in between leaves both active.
    pub async fn rotate_key(&self, id: &KeyId, overlap: Duration) -> Result<Rotated, KeyError> {
        let missing = || KeyError::NoSuchKey(*id);
        let old = self.ports.keys.load(id).await?.ok_or_else(missing)?;
        if !old.is_live(self.ports.clock.now()) {
            return Err(KeyError::Dead(*id));
        }
        let created = self
            .create_key(KeyRequest {
                name: old.name.clone(),
                scope: old.scope,
                fleet: old.fleet.clone(),
                host_prefixes: old.host_prefixes.clone(),
                expires_in: old.expires.map(|expires| expires.since(old.created)),
                limits: old.limits,
            })
            .await?;
        let at = created.key.created.plus(overlap);
        let before = facts(&old);
        let old = self.ports.keys.expire(id, at).await?.ok_or_else(missing)?;
        let mut after = facts(&old);
        after["replacedBy"] = json!(created.key.id);
        let (id, kind) = (id.as_str(), ActKind::KeyRotate);
        let record = self.auditor.record(kind, id, Some(before), Some(after));
        record.await;
        Ok(Rotated { created, old })
    }

    /// Changes what a key is limited to.
    pub async fn limit_key(
        &self,
        id: &KeyId,
        change: impl FnOnce(&mut KeyLimits),
    ) -> Result<Key, KeyError> {
        let missing = || KeyError::NoSuchKey(*id);
        let old = self.ports.keys.load(id).await?.ok_or_else(missing)?;
        let mut limits = old.limits;
        change(&mut limits);
        check(&limits)?;
        let key = self.ports.keys.limit(id, &limits).await?;
        let key = key.ok_or_else(missing)?;
        let (old, new) = (Some(facts(&old)), Some(facts(&key)));
        let record = self
            .auditor
            .record(ActKind::KeyLimit, id.as_str(), old, new);
        record.await;
        Ok(key)
    }

    /// Revokes a key. A revoked key keeps the time of its first revocation.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<Key, KeyError> {
        let missing = || KeyError::NoSuchKey(*id);
        let old = self.ports.keys.load(id).await?.ok_or_else(missing)?;
        let key = self.ports.keys.revoke(id, self.ports.clock.now()).await?;
        let key = key.ok_or_else(missing)?;
        let (old, new) = (Some(facts(&old)), Some(facts(&key)));
        let record = self
            .auditor
            .record(ActKind::KeyRevoke, id.as_str(), old, new);
        record.await;
        Ok(key)
    }
}

/// What the audit shows of a key: nothing of its secret.
fn facts(key: &Key) -> Value {
    json!({
        "name": key.name,
        "fleet": key.fleet,
        "scope": key.scope,
        "hostPrefixes": key.host_prefixes,
        "maxHosts": key.limits.hosts,
        "maxInterval": key.limits.interval,
        "expires": key.expires.map(|expires| expires.to_string()),
        "revoked": key.revoked.map(|revoked| revoked.to_string()),
    })
}

fn check(asked: &KeyLimits) -> Result<(), KeyError> {
    match asked.hosts {
        Some(hosts) if hosts < limits::KEY_HOSTS_MIN => Err(KeyError::TooFewHosts(hosts)),
        _ => Ok(()),
    }
}
