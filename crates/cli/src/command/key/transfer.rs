//! Exports and imports many keys at once.
//!
//! An export holds hashes and no secrets; after an import the keys that machines hold are accepted.

pub(crate) mod rows;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::ready;
use futures::stream::{self, StreamExt};
use hb_domain::{Key, Token};
use hb_service::admin::{Created, Imported, KeyAdmin};
use hb_service::ports::{PortResult, every_page};
use indicatif::ProgressBar;

use self::rows::Row;
use super::NewKey;
use crate::command::{report_unreadable, table};
use crate::exit::Failure;
use crate::output::{self, Format, Pages};

/// Keys that are stored at the same time.
const CONCURRENCY: usize = 32;

pub(super) async fn export(key_admin: &KeyAdmin, format: Format) -> Result<(), Failure> {
    let (keys, unreadable) = every_page(|after| key_admin.ports.keys.list(after)).await?;
    report_unreadable("key", &unreadable);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let rows = keys.iter().map(Row::of);
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &rows.collect::<Vec<_>>())
                .map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Format::Table => {
            rows::write(&mut out, rows)?;
        }
    }
    Ok(out.flush()?)
}

/// A key to be stored: its line, and the token if it is new.
struct Import {
    line: u64,
    key: Key,
    token: Option<Token>,
}

/// Creates the keys of a file. All rows are read before the first key is created.
pub(super) async fn import(
    key_admin: &KeyAdmin,
    format: Format,
    file: &Path,
    opaque: bool,
    skip_invalid: bool,
) -> Result<(), Failure> {
    let input = |cause| Failure::Input {
        source_name: file.display().to_string(),
        cause,
    };
    let text = table::read(file).map_err(|error| input(error.to_string()))?;
    let rows = rows::parse(&text).map_err(input)?;
    let of = rows.len();
    let mut seen = HashSet::new();
    let (keys, wrong) = table::sift(rows, |line, row: Row| {
        let (key, token) = row.key(key_admin, opaque)?;
        if seen.insert(key.id) {
            Ok(Import { line, key, token })
        } else {
            Err(format!("key {} is in the file twice", key.id))
        }
    });
    if wrong > 0 && !skip_invalid {
        return Err(Failure::WrongRows { wrong, of });
    }
    let source = file.display().to_string();
    store(key_admin, format, &source, keys, wrong).await
}

enum Stored {
    New,
    Existing,
    /// Another key has its id.
    Taken,
}

async fn store(
    key_admin: &KeyAdmin,
    format: Format,
    source: &str,
    keys: Vec<Import>,
    skipped: usize,
) -> Result<(), Failure> {
    let of = keys.len();
    let progress = ProgressBar::new(of.try_into().unwrap_or(u64::MAX));
    // What is under way is always finished, so that the audit has all keys that are stored.
    let stop = stop_on_interrupt();
    let mut stored = stream::iter(keys)
        .take_while(|_| ready(!stop.load(Ordering::Relaxed)))
        .map(async |import| (put(key_admin, &import.key).await, import))
        .buffered(CONCURRENCY);
    let mut shown = Pages::new(format);
    let mut imported = Imported::default();
    let mut failure = None;
    while let Some((result, Import { line, key, token })) = stored.next().await {
        let mut noted = Ok(());
        match result {
            Ok(Stored::New) => {
                imported.created += 1;
                imported.names.push(key.name.clone());
                if let Some(token) = token {
                    let created = key.created;
                    let page = shown.page(&[NewKey::new(&Created { key, token })], created);
                    noted = page.map_err(Failure::from);
                }
            }
            Ok(Stored::Existing) => imported.existing += 1,
            Ok(Stored::Taken) => {
                imported.taken += 1;
                output::remark(&format!("line {line}: another key has the id {}", key.id));
            }
            Err(error) => noted = Err(error.into()),
        }
        if let Err(error) = noted {
            stop.store(true, Ordering::Relaxed);
            failure.get_or_insert(error);
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    key_admin.imported(source, &imported).await;
    let Imported {
        created, existing, ..
    } = imported;
    output::remark(&format!(
        "keys: {created} created, {existing} existing; rows left out: {skipped}"
    ));
    if let Some(failure) = failure {
        return Err(failure);
    }
    shown.end_without_titles()?;
    match of - created - existing {
        0 => Ok(()),
        failed => Err(Failure::InPart {
            failed,
            of,
            what: "keys",
        }),
    }
}

/// Becomes true when somebody presses Ctrl-C.
fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    stop
}

/// Stores a key, unless it is stored already. An existing one may have changed since the export, and stays as it is.
async fn put(key_admin: &KeyAdmin, key: &Key) -> PortResult<Stored> {
    Ok(match key_admin.ports.keys.load(&key.id).await? {
        Some(found) if found.hash.as_bytes() == key.hash.as_bytes() => Stored::Existing,
        None if key_admin.ports.keys.create(key).await? => Stored::New,
        _ => Stored::Taken,
    })
}
