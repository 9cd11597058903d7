//! The database of a data folder as a whole: `hb migrate`.

use std::path::{Path, PathBuf};

use hb_sqlite::Prepared;
use serde::Serialize;

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
    let (prepared, ..) = Local::create(dir).await?;
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
    Ok(output::one(format, &text, &migrated)?)
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
