//! For tests only: what `hb key import` makes of a file.

use hb_domain::Key;
use hb_service::admin::KeyAdmin;

use crate::command::key::transfer::rows::{self, Row};

/// The line of a row, and its key or what is wrong with it.
pub type Numbered = (u64, Result<Key, String>);

/// The keys of a file, of another system if `opaque`, or what is wrong with it.
pub fn import(text: &str, key_admin: &KeyAdmin, opaque: bool) -> Result<Vec<Numbered>, String> {
    let key = |row: Row| row.key(key_admin, opaque).map(|(key, _)| key);
    let rows = rows::parse(text)?.into_iter();
    Ok(rows.map(|(line, row)| (line, row.and_then(key))).collect())
}

/// What `hb key export` prints of a key.
pub fn export(key: &Key) -> std::io::Result<String> {
    let mut text = Vec::new();
    rows::write(&mut text, std::iter::once(Row::of(key)))?;
    String::from_utf8(text).map_err(std::io::Error::other)
}
