//! Creates a key at the first start and shows how to use it, so that a new service can receive beats at once.
//!
//! The key itself is shown in a terminal only: what a service prints elsewhere is kept by somebody, such as the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hb_domain::{Fleet, KeyLimits, KeyName, Scope};
use hb_service::admin::KeyRequest;
use serde::Serialize;

use super::printer::Printer;
use crate::backend::Local;
use crate::command::key::KeyRow;
use crate::exit::Failure;
use crate::output::{self, Format};

/// The file with the key, in the data folder.
const KEY_FILE: &str = "first.key";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    first_key: KeyRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Where it is instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    crontab: String,
}

/// Creates a key for the fleet `main` if there are no keys. Shows it once, or stores it in a file of the folder `dir`;
/// and shows a line for the crontab.
pub(crate) async fn ensure(
    local: &Local,
    format: Format,
    address: SocketAddr,
    dir: &Path,
    out: &Printer,
) -> Result<(), Failure> {
    let created = local.backend.keys().draw_key(KeyRequest {
        name: KeyName::first(),
        scope: Scope::Ingest,
        fleet: Fleet::main(),
        host_prefixes: Vec::new(),
        expires_in: None,
        limits: KeyLimits::default(),
    })?;
    if !local.create_first_key(&created.key).await? {
        return Ok(());
    }
    let key = created.token.reveal();
    let header = format!("x-api-key: {key}");
    let file = (!io::stdout().is_terminal())
        .then(|| std::path::absolute(dir.join(KEY_FILE)))
        .transpose()?;
    if let Some(path) = &file {
        let written = create_private(path).and_then(|mut file| writeln!(file, "{header}"));
        written.map_err(|source| Failure::FirstKey {
            path: path.clone(),
            source,
        })?;
    }
    // Clients cannot send to an unspecified address ("all addresses").
    let server = if address.ip().is_unspecified() {
        format!("NAME_OF_THIS_MACHINE:{}", address.port())
    } else {
        address.to_string()
    };
    let crontab = format!(
        r#"*/5 * * * * curl -fsS -m 10 --retry 5 -o /dev/null -H "@$HOME/.heartbeat.key" "http://{server}/v1/heartbeat/$(hostname)""#,
    );
    let how = match &file {
        Some(path) => format!(
            "The first API key, for fleet main, is in this file, which only its owner can read:\n\n  {}\n\n\
             Copy it to each machine as .heartbeat.key in the home of the user whose crontab",
            path.display()
        ),
        None => format!(
            "The first API key, for fleet main. It is not shown again:\n\n  {key}\n\n\
             Run this on each machine, as the user of its crontab:\n\n\
             (umask 077; cat >~/.heartbeat.key) <<'END'\n{header}\nEND\n\nThe crontab"
        ),
    };
    let text = format!("{how} gets this line (needs curl 7.55 or newer):\n\n{crontab}\n");
    let value = Shown {
        first_key: KeyRow::new(&created.key, created.key.created),
        key: file.is_none().then_some(key),
        file,
        crontab,
    };
    out.offer(&output::shown(format, &text, &value).map_err(io::Error::from)?);
    Ok(())
}

/// A new file that only the owner of its folder can read, in place of an older one.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    // One that is not there is no failure, and of any other `open` tells.
    let _ = std::fs::remove_file(path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    hb_sqlite::hand_over(path)?;
    Ok(file)
}
