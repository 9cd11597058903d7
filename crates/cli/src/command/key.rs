//! `hb key`.

pub(crate) mod transfer;

use std::net::IpAddr;

use hb_domain::{
    HostPrefix, Interval, Key, KeyId, KeyLimits, Scope, Timestamp, Token, credential,
    human_duration,
};
use hb_service::admin::{Created, HostAdmin, KeyAdmin, KeyError, KeyRequest, Rotated};
use hb_service::ports::every_page;
use serde::Serialize;

use super::report_unreadable;
use crate::args::{Change, KeyCommand, KeyRef};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format, Row, or_dash};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyRow {
    id: String,
    name: String,
    fleet: String,
    scope: Scope,
    host_prefixes: Vec<HostPrefix>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    /// The day of its last use.
    last_used: Option<String>,
    live: bool,
    /// How many hosts beat with it, and how many may.
    hosts: u32,
    max_hosts: u32,
    /// In milliseconds.
    max_interval: Option<Interval>,
}

impl KeyRow {
    pub(crate) fn new(key: &Key, now: Timestamp) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            fleet: key.fleet.to_string(),
            scope: key.scope,
            host_prefixes: key.host_prefixes.clone(),
            created: key.created.to_string(),
            expires: key.expires.map(|expires| expires.to_string()),
            revoked: key.revoked.map(|revoked| revoked.to_string()),
            last_used: key.used.map(day),
            live: key.is_live(now),
            hosts: key.hosts,
            max_hosts: key.most_hosts(),
            max_interval: key.limits.interval,
        }
    }
}

impl Row for KeyRow {
    const HEAD: &'static [&'static str] = &[
        "ID",
        "NAME",
        "FLEET",
        "SCOPE",
        "HOSTS",
        "COUNT",
        "CREATED",
        "LAST USED",
        "EXPIRES",
        "STATE",
    ];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let state = match (self.live, &self.revoked) {
            (true, _) => "live".to_owned(),
            (false, Some(revoked)) => format!("revoked {revoked}"),
            (false, None) => "expired".to_owned(),
        };
        vec![
            self.id.clone(),
            self.name.clone(),
            self.fleet.clone(),
            self.scope.to_string(),
            output::covered(&self.host_prefixes),
            format!("{}/{}", self.hosts, self.max_hosts),
            self.created.clone(),
            or_dash(self.last_used.clone()),
            or_dash(self.expires.clone()),
            state,
        ]
    }
}

/// Its date alone: `2026-01-31`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take("2026-01-31".len()).collect()
}

/// A new key with its token, which is shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewKey {
    /// The token.
    key: String,
    #[serde(flatten)]
    row: KeyRow,
}

impl NewKey {
    fn new(created: &Created) -> Self {
        Self {
            key: created.token.reveal(),
            row: KeyRow::new(&created.key, created.key.created),
        }
    }
}

impl Row for NewKey {
    const HEAD: &'static [&'static str] = &["ID", "NAME", "KEY"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.row.id.clone(), self.row.name.clone(), self.key.clone()]
    }
}

/// A key with the hosts whose last beat came with it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyDetails {
    #[serde(flatten)]
    row: KeyRow,
    used_by: Vec<UserRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserRow {
    host_id: String,
    fleet: String,
    last_beat: String,
    address: Option<IpAddr>,
}

impl KeyDetails {
    fn text(&self, now: Timestamp) -> String {
        let titles = KeyRow::HEAD.iter().map(|title| title.to_lowercase());
        let cells = |user: &UserRow| {
            vec![
                user.host_id.clone(),
                user.fleet.clone(),
                user.last_beat.clone(),
                or_dash(user.address.map(|address| address.to_string())),
            ]
        };
        let head = ["USED BY", "FLEET", "LAST BEAT", "ADDRESS"];
        let rows: Vec<_> = self.used_by.iter().map(cells).collect();
        let users = (!rows.is_empty()).then(|| output::table(&head, &rows));
        output::details(titles.zip(self.row.cells(now)), users)
    }
}

async fn show_users(
    hosts: &HostAdmin,
    format: Format,
    key: &Key,
    now: Timestamp,
) -> Result<(), Failure> {
    let details = KeyDetails {
        used_by: used_by(hosts, key.id).await?,
        row: KeyRow::new(key, now),
    };
    Ok(output::one(format, &details.text(now), &details)?)
}

/// The hosts whose last beat came with a key, from a scan of all.
async fn used_by(hosts: &HostAdmin, key: KeyId) -> Result<Vec<UserRow>, Failure> {
    let mut users = Vec::new();
    let mut listing = hosts.listing(None).await?;
    while let Some((views, unreadable)) = listing.next_page().await? {
        report_unreadable("host", &unreadable);
        for view in views {
            let beats = view.heartbeat.filter(|beats| beats.key == Some(key));
            users.extend(beats.map(|beats| UserRow {
                host_id: view.key.host.to_string(),
                fleet: view.key.fleet.to_string(),
                last_beat: beats.last.to_string(),
                address: beats.address,
            }));
        }
    }
    Ok(users)
}

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: KeyCommand,
) -> Result<(), Failure> {
    let key_admin = &backend.keys();
    let now = key_admin.ports.clock.now();
    match command {
        KeyCommand::Create {
            name,
            scope,
            fleet,
            host_prefixes,
            expires,
            max_hosts,
            max_interval,
        } => {
            let request = KeyRequest {
                name,
                scope,
                fleet,
                host_prefixes,
                expires_in: expires,
                limits: KeyLimits {
                    hosts: max_hosts,
                    interval: max_interval,
                },
            };
            let created = key_admin.create_key(request).await?;
            let about = show(format, &created)?;
            output::remark(&format!(
                "{about}: store it now, it is not shown again. The line `x-api-key: KEY` in a file of mode 600 serves \
                 `hb send --key-file FILE` and `curl -H @FILE`"
            ));
        }
        KeyCommand::List => {
            let (keys, unreadable) = every_page(|after| key_admin.ports.keys.list(after)).await?;
            report_unreadable("key", &unreadable);
            let rows: Vec<_> = keys.iter().map(|key| KeyRow::new(key, now)).collect();
            output::rows(format, &rows, now)?;
        }
        KeyCommand::Show { key } => {
            let id = find(key_admin, key, now).await?;
            let key = key_admin.ports.keys.load(&id).await?;
            let key = key.ok_or(KeyError::NoSuchKey(id))?;
            show_users(&backend.hosts(), format, &key, now).await?;
        }
        KeyCommand::Rotate { key, overlap } => {
            let id = find(key_admin, key, now).await?;
            let Rotated { created, old } = key_admin.rotate_key(&id, overlap).await?;
            let about = show(format, &created)?;
            let until = or_dash(old.expires.map(|expires| output::instant(expires, now)));
            output::remark(&format!(
                "{about}: store it now, it is not shown again; {id} is valid until {until}"
            ));
        }
        KeyCommand::Limit {
            key,
            max_hosts,
            max_interval,
        } => {
            let id = find(key_admin, key, now).await?;
            let change = |limits: &mut KeyLimits| {
                if let Some(Change(hosts)) = max_hosts {
                    limits.hosts = hosts;
                }
                if let Some(Change(interval)) = max_interval {
                    limits.interval = interval;
                }
            };
            let key = key_admin.limit_key(&id, change).await?;
            let row = KeyRow::new(&key, now);
            output::one(format, &limited(&key), &row)?;
        }
        KeyCommand::Revoke { key } => {
            let id = find(key_admin, key, now).await?;
            let key = key_admin.revoke_key(&id).await?;
            output::one(
                format,
                &format!("revoked {id} ({})", key.name),
                &KeyRow::new(&key, now),
            )?;
        }
        KeyCommand::Export => transfer::export(key_admin, format).await?,
        KeyCommand::Import {
            file,
            opaque,
            skip_invalid,
        } => {
            transfer::import(key_admin, format, &file, opaque, skip_invalid).await?;
        }
        KeyCommand::Inspect { token } => inspect(format, &token)?,
    }
    Ok(())
}

/// What a key is limited to.
fn limited(key: &Key) -> String {
    let intervals = key
        .limits
        .interval
        .map_or("any interval".to_owned(), |interval| {
            format!("intervals up to {}", human_duration(interval.duration()))
        });
    let (id, name, hosts) = (&key.id, &key.name, key.most_hosts());
    format!("{id} ({name}) may have {hosts} hosts and {intervals}")
}

/// Shows a new key; returns the text to describe it with.
fn show(format: Format, created: &Created) -> Result<String, Failure> {
    let new = NewKey::new(created);
    output::one(format, &new.key, &new)?;
    let key = &created.key;
    Ok(format!(
        "key {} ({}), fleet {}, scope {}",
        key.id, key.name, key.fleet, key.scope
    ))
}

/// The key that is meant. Of several keys with one name, the only live one.
async fn find(key_admin: &KeyAdmin, reference: KeyRef, now: Timestamp) -> Result<KeyId, Failure> {
    let name = match reference {
        KeyRef::Id(id) => return Ok(id),
        KeyRef::IdOrName(id, name) => {
            if key_admin.ports.keys.load(&id).await?.is_some() {
                return Ok(id);
            }
            name
        }
        KeyRef::Name(name) => name,
        KeyRef::Mistyped(error) => return Err(Failure::NotAToken(error)),
    };
    let (keys, _) = every_page(|after| key_admin.ports.keys.list(after)).await?;
    let mut named: Vec<_> = keys.into_iter().filter(|key| key.name == name).collect();
    if named.iter().any(|key| key.is_live(now)) {
        named.retain(|key| key.is_live(now));
    }
    named.sort_by_key(|key| (key.created, key.id));
    match &named[..] {
        [key] => Ok(key.id),
        [] => Err(match name.as_str().parse() {
            Ok(id) => Failure::Key(KeyError::NoSuchKey(id)),
            Err(_) => Failure::NoSuchKeyName(name.to_string()),
        }),
        keys => Err(Failure::AmbiguousKey {
            name: name.to_string(),
            ids: keys.iter().map(|key| key.id.to_string()).collect(),
        }),
    }
}

/// Shows the id in a token, without a backend, so that the finder of a leaked key can report it.
pub(crate) fn inspect(format: Format, token: &str) -> Result<(), Failure> {
    let text = if token == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::Input {
            source_name: "standard input".to_owned(),
            cause: error.to_string(),
        })?
    } else {
        token.to_owned()
    };
    let text = text.trim();
    let (id, _) = credential(text).map_err(Failure::NotAToken)?;
    // A key of another system has no checksum.
    let valid = text.parse::<Token>().is_ok().then_some(true);
    let value = serde_json::json!({ "id": id, "valid": valid });
    let text = match valid {
        Some(_) => format!("{id}: the checksum is right; `hb key list` shows the key"),
        None => format!(
            "{id}, if it is a key of another system; `hb key list` shows it if it was imported"
        ),
    };
    Ok(output::one(format, &text, &value)?)
}
