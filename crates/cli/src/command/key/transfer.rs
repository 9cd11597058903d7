//! Many keys at once, from one service to another or out of a list.
//!
//! What is moved are hashes: an export holds no secret, and whoever imports it accepts the keys that machines have.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use data_encoding::HEXLOWER;
use futures::stream::{self, StreamExt};
use hb_domain::{Fleet, HostPrefix, Key, KeyId, KeyName, Scope, SecretHash, Token};
use hb_service::admin::{Created, KeyAdmin, KeyRequest};
use hb_service::ports::PortResult;
use hb_service::ports::every_page;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::tell_unreadable;
use super::NewKey;
use crate::args::{Format, Until, until};
use crate::exit::Failure;
use crate::output;

/// Keys that are stored at the same time.
const AT_ONCE: usize = 32;

/// Wrong rows that are told one by one.
const TOLD: usize = 20;

/// The columns of an export, in their order.
const COLUMNS: [&str; 9] = [
    "id",
    "name",
    "fleet",
    "scope",
    "hostPrefixes",
    "created",
    "expires",
    "revoked",
    "hash",
];

/// A key in a file. In CSV prefixes are parted by blanks, and an empty cell is as good as none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
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
    /// An instant or a duration from now on.
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    revoked: Option<String>,
    /// SHA-256 of the secret, in hexadecimal digits; without it, a new key is made.
    #[serde(default)]
    hash: Option<String>,
}

impl Row {
    fn of(key: &Key) -> Self {
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
        }
    }

    /// The key that this makes; with the token of a new one.
    fn key(&self, key_admin: &KeyAdmin) -> Result<(Key, Option<Token>), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let now = key_admin.ports.clock.now();
        let name: KeyName = self.name.parse().map_err(|e| text(&e))?;
        let fleet = self
            .fleet
            .as_deref()
            .map_or(Ok(Fleet::main()), str::parse)
            .map_err(|e| text(&e))?;
        let scope = self
            .scope
            .as_deref()
            .map_or(Ok(Scope::Ingest), str::parse)
            .map_err(|e| text(&e))?;
        let prefixes: Result<Vec<HostPrefix>, _> =
            self.host_prefixes.iter().map(|p| p.parse()).collect();
        let host_prefixes = prefixes.map_err(|e| text(&e))?;
        let at = |field: &str, value: &Option<String>| {
            let read = |value: &String| match until(value)? {
                Until::At(at) => Ok(at),
                Until::In(lasts) => Ok(now.plus(lasts)),
            };
            value
                .as_ref()
                .map(read)
                .transpose()
                .map_err(|error: String| format!("{field}: {error}"))
        };
        let (expires, revoked) = (at("expires", &self.expires)?, at("revoked", &self.revoked)?);
        let request = KeyRequest {
            name,
            scope,
            fleet,
            host_prefixes,
            expires_in: None,
        };
        let Created { key, token } = key_admin.draw_key(request).map_err(|e| text(&e))?;
        match (&self.id, &self.hash) {
            (None, None) => Ok((
                Key {
                    expires,
                    revoked,
                    ..key
                },
                Some(token),
            )),
            (Some(id), Some(hash)) => {
                let id: KeyId = id.parse().map_err(|e| text(&e))?;
                let hash: Option<[u8; 32]> = HEXLOWER
                    .decode(hash.to_lowercase().as_bytes())
                    .ok()
                    .and_then(|hash| hash.try_into().ok());
                let hash = SecretHash::from_bytes(hash.ok_or("hash: not 64 hexadecimal digits")?);
                let created = at("created", &self.created)?.unwrap_or(now);
                Ok((
                    Key {
                        id,
                        hash,
                        created,
                        expires,
                        revoked,
                        ..key
                    },
                    None,
                ))
            }
            _ => Err(
                "id and hash belong together: a key that is moved has both, a new one none"
                    .to_owned(),
            ),
        }
    }
}

/// Prints all keys.
pub(super) async fn export(key_admin: &KeyAdmin, format: Format) -> Result<(), Failure> {
    let (keys, unreadable) = every_page(|after| key_admin.ports.keys.list(after)).await?;
    tell_unreadable("key", &unreadable);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match format {
        Format::Json => {
            let rows: Vec<_> = keys.iter().map(Row::of).collect();
            serde_json::to_writer_pretty(&mut out, &rows).map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Table => {
            let mut csv = csv::Writer::from_writer(&mut out);
            let failed = |error: csv::Error| std::io::Error::from(error);
            csv.write_record(COLUMNS).map_err(failed)?;
            for row in keys.iter().map(Row::of) {
                let cells = [
                    row.id,
                    Some(row.name),
                    row.fleet,
                    row.scope,
                    Some(row.host_prefixes.join(" ")),
                    row.created,
                    row.expires,
                    row.revoked,
                    row.hash,
                ];
                csv.write_record(cells.map(Option::unwrap_or_default))
                    .map_err(failed)?;
            }
            csv.flush()?;
        }
    }
    Ok(out.flush()?)
}

/// Makes the keys of a file. All rows are read before the first key is made.
pub(super) async fn import(
    key_admin: &KeyAdmin,
    format: Format,
    file: &Path,
    skip_invalid: bool,
) -> Result<(), Failure> {
    let rows =
        rows(&read(file)?).map_err(|cause| Failure::Input(file.display().to_string(), cause))?;
    let (of, mut keys, mut wrong, mut seen) = (rows.len(), Vec::new(), 0, HashSet::new());
    for (line, row) in rows {
        let key = row
            .and_then(|row| row.key(key_admin))
            .and_then(|(key, token)| {
                let twice = || format!("key {} stands in the file twice", key.id);
                if seen.insert(key.id.clone()) {
                    Ok((key, token))
                } else {
                    Err(twice())
                }
            });
        match key {
            Ok(key) => keys.push((line, key)),
            Err(cause) => {
                wrong += 1;
                if wrong <= TOLD {
                    output::remark(&format!("line {line}: {cause}"));
                }
            }
        }
    }
    if wrong > TOLD {
        output::remark(&format!("and {} more", wrong - TOLD));
    }
    if wrong > 0 && !skip_invalid {
        return Err(Failure::WrongRows { wrong, of });
    }
    store(key_admin, format, keys, wrong).await
}

/// What became of a key.
enum Stored {
    New,
    There,
    Taken,
}

async fn store(
    key_admin: &KeyAdmin,
    format: Format,
    keys: Vec<(u64, (Key, Option<Token>))>,
    skipped: usize,
) -> Result<(), Failure> {
    let of = keys.len();
    // Seen on a terminal only.
    let progress = ProgressBar::new(of.try_into().unwrap_or(u64::MAX));
    let mut stored = stream::iter(keys)
        .map(async |(line, (key, token))| (line, put(key_admin, &key).await, key, token))
        .buffered(AT_ONCE);
    let mut shown = output::Pages::new(format);
    let (mut new, mut there, mut taken) = (0, 0, 0);
    while let Some((line, result, key, token)) = stored.next().await {
        match result {
            Ok(Stored::New) => {
                new += 1;
                if let Some(token) = token {
                    shown.page(
                        &[NewKey::new(&Created { key, token })],
                        key_admin.ports.clock.now(),
                    )?;
                }
            }
            Ok(Stored::There) => there += 1,
            Ok(Stored::Taken) => {
                taken += 1;
                output::remark(&format!(
                    "line {line}: the id {} is taken by another key",
                    key.id
                ));
            }
            Err(error) => {
                let done = new + there;
                output::remark(&format!(
                    "stopped at line {line}: {done} of {of} keys are there, in their order"
                ));
                return Err(error.into());
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    shown.end_if_begun()?;
    output::remark(&format!(
        "keys: {new} made, {there} there already; rows left out: {skipped}"
    ));
    if taken > 0 {
        Err(Failure::InPart {
            failed: taken,
            of,
            what: "keys",
        })
    } else {
        Ok(())
    }
}

/// Stores a key; the same one again is no other.
async fn put(key_admin: &KeyAdmin, key: &Key) -> PortResult<Stored> {
    // Asked first: what is there may have changed since it was exported, and stays as it is.
    Ok(match key_admin.ports.keys.load(&key.id).await? {
        Some(found) if found.hash.as_bytes() == key.hash.as_bytes() => Stored::There,
        None if key_admin.ports.keys.create(key).await? => Stored::New,
        _ => Stored::Taken,
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| Failure::Input(file.display().to_string(), error.to_string()))
}

/// A row, or what is wrong with it, and its line.
type Numbered = (u64, Result<Row, String>);

/// The rows of a file with their lines (of JSON their number, from 1); JSON begins with a bracket, all else is CSV.
fn rows(text: &str) -> Result<Vec<Numbered>, String> {
    let parse =
        |value: Value| serde_json::from_value::<Row>(value).map_err(|error| error.to_string());
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> =
            serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
        return Ok((1..).zip(values.into_iter().map(parse)).collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let head = reader
        .headers()
        .map_err(|error| format!("no CSV: {error}"))?
        .clone();
    if !head.iter().any(|column| column == "name") {
        return Err(format!(
            "the first line names the columns, of {}; name must be there",
            COLUMNS.join(",")
        ));
    }
    let mut line = 1;
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        let place = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        if let Some(place) = place {
            // The place of a record is the end of the one before: empty lines between are yet to be counted.
            let rest = usize::try_from(place.byte())
                .ok()
                .and_then(|byte| text.as_bytes().get(byte..));
            let blank = rest
                .unwrap_or_default()
                .iter()
                .take_while(|byte| matches!(byte, b'\r' | b'\n'));
            line = place.line() + blank.filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
        }
        let row = record
            .map_err(|error| error.to_string())
            .and_then(|record| {
                let cells = head
                    .iter()
                    .zip(record.iter())
                    .filter(|(_, cell)| !cell.is_empty());
                let fields: Map<_, _> = cells
                    .map(|(column, cell)| (column.to_owned(), field(column, cell)))
                    .collect();
                parse(fields.into())
            });
        (line, row)
    };
    Ok(reader.into_records().map(row).collect())
}

fn field(column: &str, cell: &str) -> Value {
    if column == "hostPrefixes" {
        cell.split_whitespace().collect()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = "name,fleet,hostPrefixes,expires\nweb,lab,web- db,90d\nall,,,\n";
        let json = r#"[{"name": "web", "fleet": "lab", "hostPrefixes": ["web-", "db"], "expires": "90d"}, {"name": "all"}]"#;
        let shown = |text| {
            rows(text)
                .unwrap()
                .into_iter()
                .map(|(_, row)| format!("{row:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(csv), shown(json));
    }

    #[test]
    fn wrong_rows_are_told_by_line() {
        let read = rows("name,fleet\nweb\n\nok,lab\n\"a\nb\",lab\n").unwrap();
        let told: Vec<_> = read
            .iter()
            .map(|(line, row)| (*line, row.is_ok()))
            .collect();
        assert_eq!(told, [(2, false), (4, true), (5, true)]);
        assert!(
            rows("id;name\n1;2")
                .unwrap_err()
                .contains("names the columns")
        );
        assert!(rows("[1").unwrap_err().starts_with("no JSON"));
        assert!(
            rows("[{\"name\": \"x\", \"nmae\": 1}]").unwrap()[0]
                .1
                .as_ref()
                .unwrap_err()
                .contains("nmae")
        );
    }
}
