//! The rows of an export or an import, as CSV or JSON.

use std::fmt::Display;
use std::io;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hb_domain::{
    Fleet, Key, KeyLimits, Scope, SecretHash, Timestamp, Token, human_duration, opaque,
};
use hb_service::admin::{Created, KeyAdmin, KeyRequest};
use serde::{Deserialize, Serialize};

use crate::args::{interval, until};
use crate::command::table::{self, Numbered};

/// The columns of an export, in their order.
const COLUMNS: [&str; 11] = [
    "id",
    "name",
    "fleet",
    "scope",
    "hostPrefixes",
    "created",
    "expires",
    "revoked",
    "hash",
    "maxHosts",
    "maxInterval",
];

/// A key in a file. In CSV prefixes are separated by blanks, and an empty cell is a missing value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Row {
    #[serde(default)]
    id: Option<String>,
    name: String,
    #[serde(default)]
    fleet: Option<String>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    host_prefixes: Vec<String>,
    #[serde(default)]
    created: Option<String>,
    /// An instant, or a duration from now on.
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    revoked: Option<String>,
    /// SHA-256 of the secret, in hexadecimal digits; without it, a new key is created.
    #[serde(default)]
    hash: Option<String>,
    /// A key of another system. It is only ever read.
    #[serde(default, skip_serializing)]
    key: Option<String>,
    #[serde(default)]
    max_hosts: Option<String>,
    /// A duration.
    #[serde(default)]
    max_interval: Option<String>,
}

impl Row {
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            id: Some(key.id.to_string()),
            name: key.name.to_string(),
            fleet: Some(key.fleet.to_string()),
            scope: Some(key.scope.to_string()),
            host_prefixes: key.host_prefixes.iter().map(ToString::to_string).collect(),
            created: Some(key.created.to_string()),
            expires: key.expires.map(|at| at.to_string()),
            revoked: key.revoked.map(|at| at.to_string()),
            hash: Some(HEXLOWER.encode(key.hash.as_bytes())),
            key: None,
            max_hosts: key.limits.hosts.map(|hosts| hosts.to_string()),
            max_interval: key
                .limits
                .interval
                .map(|interval| human_duration(interval.duration())),
        }
    }

    /// The cells of a line of CSV, in the order of [`COLUMNS`].
    fn cells(self) -> [String; 11] {
        let cells = [
            self.id,
            Some(self.name),
            self.fleet,
            self.scope,
            Some(self.host_prefixes.join(" ")),
            self.created,
            self.expires,
            self.revoked,
            self.hash,
            self.max_hosts,
            self.max_interval,
        ];
        cells.map(Option::unwrap_or_default)
    }

    /// The key of this row, and the token of a new one. `of_others` says that the rows have keys of another system.
    pub(crate) fn key(
        &self,
        key_admin: &KeyAdmin,
        of_others: bool,
    ) -> Result<(Key, Option<Token>), String> {
        let now = key_admin.ports.clock.now();
        let fleet = self.fleet.as_deref();
        let scope = self.scope.as_deref();
        let prefixes = self.host_prefixes.iter().map(|prefix| parsed(prefix));
        let request = KeyRequest {
            name: parsed(&self.name)?,
            scope: scope.map_or(Ok(Scope::Ingest), parsed)?,
            fleet: fleet.map_or(Ok(Fleet::main()), parsed)?,
            host_prefixes: prefixes.collect::<Result<_, _>>()?,
            expires_in: None,
            limits: KeyLimits {
                hosts: self.max_hosts.as_deref().map(parsed).transpose()?,
                interval: self.max_interval.as_deref().map(interval).transpose()?,
            },
        };
        let created = key_admin.draw_key(request);
        let Created { key, token } = created.map_err(|error| error.to_string())?;
        let key = Key {
            expires: instant("expires", self.expires.as_ref(), now)?,
            revoked: instant("revoked", self.revoked.as_ref(), now)?,
            ..key
        };
        match (&self.id, &self.hash, &self.key) {
            (None, None, Some(text)) if of_others => {
                let (id, secret) = opaque(text).map_err(|error| error.to_string())?;
                let hash = secret.hash();
                Ok((Key { id, hash, ..key }, None))
            }
            _ if of_others => {
                Err("with --opaque each row has a key, and neither id nor hash".to_owned())
            }
            (_, _, Some(_)) => {
                Err("key: only with --opaque, which stores keys of another system".to_owned())
            }
            (None, None, None) => Ok((key, Some(token))),
            (Some(id), Some(hash), None) => {
                let hash = HEXLOWER.decode(hash.to_lowercase().as_bytes()).ok();
                let hash = hash.and_then(|hash| hash.try_into().ok());
                let key = Key {
                    id: parsed(id)?,
                    hash: SecretHash::from_bytes(hash.ok_or("hash: not 64 hexadecimal digits")?),
                    created: instant("created", self.created.as_ref(), now)?.unwrap_or(now),
                    ..key
                };
                Ok((key, None))
            }
            _ => Err("give both id and hash for an existing key, neither for a new one".to_owned()),
        }
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// An instant, or a duration from `now` on.
fn instant(
    field: &str,
    text: Option<&String>,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    let at = text.map(|text| Ok(until(text)?.instant(now)));
    at.transpose()
        .map_err(|error: String| format!("{field}: {error}"))
}

/// Writes rows as CSV, under the names of their columns.
pub(crate) fn write(out: impl io::Write, rows: impl Iterator<Item = Row>) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS)?;
    for row in rows {
        csv.write_record(row.cells())?;
    }
    csv.flush()
}

/// The keys of a file; one of CSV names at least their names.
pub(crate) fn parse(text: &str) -> Result<Vec<Numbered<Row>>, String> {
    table::parse(text, "name", &COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_give_the_same_rows() {
        let csv = "name,fleet,hostPrefixes,expires\nweb,lab,web- db,90d\nall,,,\n";
        let json = r#"[{"name": "web", "fleet": "lab", "hostPrefixes": ["web-", "db"], "expires": "90d"}, {"name": "all"}]"#;
        let shown = |text| {
            parse(text)
                .unwrap()
                .into_iter()
                .map(|(_, row)| format!("{row:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(csv), shown(json));
    }

    #[test]
    fn wrong_rows_are_reported_with_their_line() {
        let text = "name,fleet\nweb\n\nok,lab\n\"a\nb\",lab\nweb\n";
        for end in ["\n", "\r\n", "\r"] {
            let read = parse(&text.replace('\n', end)).unwrap();
            let lines = read.iter().map(|(line, row)| (*line, row.is_ok()));
            let lines: Vec<_> = lines.collect();
            assert_eq!(
                lines,
                [(2, false), (4, true), (5, true), (7, false)],
                "{end:?}"
            );
        }
        let short = parse("name,fleet\rweb").unwrap().remove(0).1.unwrap_err();
        assert_eq!(short, "it has 1 cells, and the first line has 2");
        assert!(
            parse("id;name\n1;2")
                .unwrap_err()
                .contains("must name the columns")
        );
        assert!(parse("[1").unwrap_err().starts_with("not JSON"));
        assert!(
            parse("[{\"name\": \"x\", \"nmae\": 1}]").unwrap()[0]
                .1
                .as_ref()
                .unwrap_err()
                .contains("nmae")
        );
    }
}
