//! `hb key`.

use hb_domain::{Key, Scope, Timestamp};
use hb_service::manage::{Created, KeyRequest, every_page};
use serde::Serialize;

use super::tell_unreadable;
use crate::args::{Format, KeyCommand, ScopeArg};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Row, or_dash};

/// A key as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyRow {
    id: String,
    name: String,
    fleet: String,
    scope: Scope,
    host_prefixes: Vec<String>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    live: bool,
}

impl KeyRow {
    pub(crate) fn new(key: &Key, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            fleet: key.fleet.to_string(),
            scope: key.scope,
            host_prefixes: key.host_prefixes.iter().map(ToString::to_string).collect(),
            created: key.created.to_string(),
            expires: key.expires.map(|expires| expires.to_string()),
            revoked: key.revoked.map(|revoked| revoked.to_string()),
            live: key.is_live(now),
        }
    }
}

impl Row for KeyRow {
    const HEAD: &'static [&'static str] =
        &["ID", "NAME", "FLEET", "SCOPE", "HOSTS", "CREATED", "EXPIRES", "STATE"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let hosts =
            if self.host_prefixes.is_empty() { "all".to_owned() } else { self.host_prefixes.join(" ") };
        let state = match (self.live, &self.revoked) {
            (true, _) => "live".to_owned(),
            (false, Some(revoked)) => format!("revoked {revoked}"),
            (false, None) => "expired".to_owned(),
        };
        let (fleet, scope) = (self.fleet.clone(), self.scope.to_string());
        let (created, expires) = (self.created.clone(), or_dash(self.expires.clone()));
        vec![self.id.clone(), self.name.clone(), fleet, scope, hosts, created, expires, state]
    }
}

/// A key with its token, for the one time that it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewKey {
    /// The secret.
    pub(crate) key: String,
    #[serde(flatten)]
    row: KeyRow,
}

impl NewKey {
    pub(crate) fn new(created: &Created) -> Self {
        Self { key: created.token.reveal(), row: KeyRow::new(&created.key, created.key.created) }
    }
}

pub(crate) async fn run(backend: &Backend, format: Format, command: KeyCommand) -> Result<(), Failure> {
    let now = backend.manager.clock.now();
    match command {
        KeyCommand::Create { name, scope, fleet, host_prefixes, expires } => {
            let scope = match scope {
                ScopeArg::Ingest => Scope::Ingest,
                ScopeArg::Read => Scope::Read,
                ScopeArg::Canary => Scope::Canary,
            };
            let request = KeyRequest { name, scope, fleet, host_prefixes, expires_in: expires };
            let created = backend.manager.create_key(request).await?;
            let new = NewKey::new(&created);
            output::one(format, &new.key, &new)?;
            let key = &created.key;
            let told = format!("key {} ({}), fleet {}, scope {}", key.id, key.name, key.fleet, key.scope);
            output::remark(&format!("{told}: store it now, it is not shown again"));
        }
        KeyCommand::List => {
            let (keys, unreadable) = every_page(|after| backend.manager.keys.list(after)).await?;
            tell_unreadable("key", &unreadable);
            let rows: Vec<_> = keys.iter().map(|key| KeyRow::new(key, now)).collect();
            output::rows(format, &rows, now)?;
        }
        KeyCommand::Revoke { id } => {
            let key = backend.manager.revoke_key(&id).await?;
            output::one(format, &format!("revoked {id} ({})", key.name), &KeyRow::new(&key, now))?;
        }
    }
    Ok(())
}
