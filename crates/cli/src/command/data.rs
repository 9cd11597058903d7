//! The database of a data folder as a whole: `hb migrate`, `hb backup`, `hb restore`.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use hb_domain::ActKind;
use hb_sqlite::{Prepared, Restored, Rows, Verified};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;

use crate::backend::Local;
use crate::exit::Failure;
use crate::output::{self, Format};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Migrated {
    database: PathBuf,
    /// `null` when the database was made.
    from_version: Option<i64>,
    version: i64,
    /// The database as it was before, if it was changed.
    copy: Option<PathBuf>,
}

/// Makes or migrates the database in `dir`, and says which.
pub(crate) async fn migrate(dir: &Path, format: Format) -> Result<(), Failure> {
    let (prepared, _, local) = Local::create(dir).await?;
    let text = done(&prepared).unwrap_or_else(|| {
        let Prepared { path, version, .. } = &prepared;
        format!(
            "database {} has schema version {version}: nothing to do",
            path.display()
        )
    });
    let Prepared {
        path: database,
        found: from_version,
        version,
        copy,
    } = prepared;
    let migrated = Migrated {
        database,
        from_version,
        version,
        copy,
    };
    let shown = output::one(format, &text, &migrated);
    local.backend.end(shown.map_err(Into::into))
}

/// What was made or migrated, if anything.
pub(crate) fn done(prepared: &Prepared) -> Option<String> {
    let Prepared {
        path,
        found,
        version,
        copy,
    } = prepared;
    let path = path.display();
    match (found, copy) {
        (None, _) => Some(format!("made database {path}, schema version {version}")),
        (Some(found), Some(copy)) => Some(format!(
            "migrated database {path} from schema version {found} to {version}; as it was before, it is in {}",
            copy.display()
        )),
        _ => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Copied {
    file: PathBuf,
    bytes: u64,
    /// By table.
    rows: Rows,
}

/// Copies the database in `dir` into `file`, or to standard output for `-`.
pub(crate) fn backup(dir: &Path, format: Format, file: &Path) -> Result<(), Failure> {
    let wrong = |cause| input(file, cause);
    let piped = file == Path::new("-");
    if piped && io::stdout().is_terminal() {
        return Err(wrong(
            "standard output is a terminal: send it to a file or into a pipe",
        ));
    }
    if !piped && file.exists() {
        return Err(wrong(
            "there is a file already, and no backup is overwritten: choose another name",
        ));
    }
    let beside = file.parent().filter(|dir| *dir != Path::new(""));
    let to = if piped {
        dir
    } else {
        beside.unwrap_or(Path::new("."))
    };
    let progress = output::progress("copying the database");
    let copy = hb_sqlite::backup(dir, to, &mut |copied, all| show(&progress, copied, all))?;
    progress.finish_and_clear();
    let rows = copy.rows.clone();
    if piped {
        let written = File::open(copy.path())
            .and_then(|mut copy| io::copy(&mut copy, &mut io::stdout().lock()));
        // Not even a closed pipe is a success: the backup is not whole.
        let bytes = written.map_err(Failure::Output)?;
        output::remark(&format!(
            "backed up {}, {bytes} bytes, checked",
            listed(&rows)
        ));
        return Ok(());
    }
    let bytes = copy.path().metadata().map_or(0, |file| file.len());
    copy.keep(file)?;
    let text = format!(
        "backed up {} to {}, {bytes} bytes, checked",
        listed(&rows),
        file.display()
    );
    let file = file.to_owned();
    Ok(output::one(format, &text, &Copied { file, bytes, rows })?)
}

/// The file of a backup that is to be read.
fn there(file: &Path) -> Result<&Path, Failure> {
    if file.is_file() {
        return Ok(file);
    }
    Err(input(file, "there is no such file"))
}

fn input(file: &Path, cause: &str) -> Failure {
    Failure::Input {
        source_name: file.display().to_string(),
        cause: cause.to_owned(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Good {
    file: PathBuf,
    version: i64,
    /// By table.
    rows: Rows,
}

/// Checks a backup.
pub(crate) fn verify(format: Format, file: &Path) -> Result<(), Failure> {
    let progress = output::progress("checking every page of the backup");
    let Verified { version, rows } = hb_sqlite::verify(there(file)?)?;
    progress.finish_and_clear();
    let text = format!(
        "{} is a good backup of schema version {version}: {}",
        file.display(),
        listed(&rows)
    );
    let file = file.to_owned();
    Ok(output::one(
        format,
        &text,
        &Good {
            file,
            version,
            rows,
        },
    )?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PutBack {
    database: PathBuf,
    /// By table.
    rows: Rows,
    /// The database that was there before.
    replaced: Option<PathBuf>,
}

/// Puts the backup `file` in the place of the database in `dir`.
pub(crate) async fn restore(dir: &Path, format: Format, file: &Path) -> Result<(), Failure> {
    let progress = output::progress("copying the backup");
    let restored = hb_sqlite::restore(there(file)?, dir, &mut |copied, all| {
        show(&progress, copied, all);
    })?;
    progress.finish_and_clear();
    let Restored {
        path: database,
        rows,
        replaced,
    } = restored;
    // Draws its incarnation, and shows that it can be used.
    let (.., local) = Local::create(dir).await?;
    let old = replaced.as_ref().map(|path| json!({"database": path}));
    let (target, new) = (
        database.display().to_string(),
        json!({"file": file, "rows": rows}),
    );
    let auditor = &local.backend.auditor;
    auditor
        .record(ActKind::Restore, &target, old, Some(new))
        .await;
    let before = replaced.as_ref().map_or_else(String::new, |path| {
        format!("; what was there is in {}", path.display())
    });
    let text = format!(
        "restored {} to {}{before}",
        listed(&rows),
        database.display()
    );
    let put_back = PutBack {
        database,
        rows,
        replaced,
    };
    let shown = output::one(format, &text, &put_back);
    local.backend.end(shown.map_err(Into::into))
}

fn show(progress: &ProgressBar, copied: u64, all: u64) {
    progress.set_message(match copied * 100 / all.max(1) {
        100 => "checking the copy".to_owned(),
        percent => format!("copying the database: {percent} %"),
    });
}

/// The tables that are not empty.
fn listed(rows: &Rows) -> String {
    let filled = rows.iter().filter(|(_, rows)| **rows > 0);
    let listed: Vec<_> = filled
        .map(|(table, rows)| format!("{table} {rows}"))
        .collect();
    if listed.is_empty() {
        return "an empty database".to_owned();
    }
    listed.join(", ")
}
