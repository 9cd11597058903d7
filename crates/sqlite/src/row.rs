//! From stored rows to values, and from listings to pages. No stored byte makes this panic.
//!
//! Every statement that is read with this names the key's columns first.

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hb_domain::{Endpoint, Protocol, Timestamp, Webhook};
use hb_service::ports::{Cursor, Page, PortError, PortResult, Unreadable};
use rusqlite::types::{FromSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, RowIndex, Rows, ToSql};

/// Rows of a page.
pub(crate) const PAGE: u16 = 1_000;

/// What is wrong with a row.
pub(crate) type Cause = String;

/// A row as a value, or its key and what is wrong with it.
pub(crate) type Decoded<T> = Result<T, Unreadable>;

/// A column of any type SQLite knows.
pub(crate) fn get<T: FromSql>(row: &Row<'_>, column: impl RowIndex) -> Result<T, Cause> {
    row.get(column).map_err(|error| error.to_string())
}

/// A column that a domain type reads.
pub(crate) fn parsed<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: impl RowIndex,
) -> Result<T, Cause> {
    let text = row.get_ref(column).map_err(|e| e.to_string())?.as_str();
    text.map_err(|e| wrong(row, column, e))?
        .parse()
        .map_err(|e| wrong(row, column, e))
}

/// A column that a domain type reads, or nothing.
pub(crate) fn optional<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: impl RowIndex,
) -> Result<Option<T>, Cause> {
    match row.get_ref(column).map_err(|e| e.to_string())? {
        ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

/// A column with milliseconds, such as an interval, or nothing.
pub(crate) fn optional_millis<T>(row: &Row<'_>, column: impl RowIndex) -> Result<Option<T>, Cause>
where
    T: TryFrom<u64, Error: std::fmt::Display>,
{
    let Some(millis) = get::<Option<i64>>(row, column)? else {
        return Ok(None);
    };
    let millis = u64::try_from(millis).map_err(|e| wrong(row, column, e))?;
    let value = T::try_from(millis).map_err(|e| wrong(row, column, e))?;
    Ok(Some(value))
}

/// Milliseconds as they are stored.
pub(crate) fn millis(value: impl Into<u64>) -> i64 {
    i64::try_from(value.into()).unwrap_or(i64::MAX)
}

/// A column with an instant.
pub(crate) fn instant(row: &Row<'_>, column: impl RowIndex) -> Result<Timestamp, Cause> {
    optional_instant(row, column)?.ok_or_else(|| wrong(row, column, "empty"))
}

/// A column with an instant or nothing.
pub(crate) fn optional_instant(
    row: &Row<'_>,
    column: impl RowIndex,
) -> Result<Option<Timestamp>, Cause> {
    get::<Option<i64>>(row, column)?
        .map(|millis| Timestamp::from_millis(millis).map_err(|e| wrong(row, column, e)))
        .transpose()
}

/// The columns `protocol` and `address`.
pub(crate) fn endpoint(row: &Row<'_>) -> Result<Endpoint, Cause> {
    let protocol = serde_json::Value::from(get::<String>(row, "protocol")?);
    let protocol: Protocol =
        serde_json::from_value(protocol).map_err(|e| format!("column protocol: {e}"))?;
    // Without the error, which may show the address: that of a webhook is a secret.
    Endpoint::parse(protocol, &get::<String>(row, "address")?)
        .map_err(|_| format!("column address: not an address for {protocol}"))
}

/// The column `webhook`.
pub(crate) fn webhook(row: &Row<'_>) -> Result<Webhook, Cause> {
    let Some(json) = get::<Option<String>>(row, "webhook")? else {
        return Ok(Webhook::default());
    };
    // Without the error, which may show a secret.
    serde_json::from_str(&json).map_err(|_| "column webhook: not what a webhook has".to_owned())
}

/// What is wrong with a column, by its name.
pub(crate) fn wrong(row: &Row<'_>, column: impl RowIndex, cause: impl Display) -> Cause {
    let statement = row.as_ref();
    let name = column
        .idx(statement)
        .and_then(|index| statement.column_name(index));
    format!("column {}: {cause}", name.unwrap_or("?"))
}

/// Decodes a row whose first `keys` columns are its key.
pub(crate) fn decoded<T>(
    row: &Row<'_>,
    keys: usize,
    decode: impl Fn(&Row<'_>) -> Result<T, Cause>,
) -> Decoded<T> {
    decode(row).map_err(|cause| {
        let parts: Vec<_> = (0..keys)
            .map(|i| String::from_utf8_lossy(&bytes(row, i)).into_owned())
            .collect();
        Unreadable {
            key: parts.join("/"),
            cause,
        }
    })
}

/// All rows.
pub(crate) fn all<T>(
    mut rows: Rows<'_>,
    keys: usize,
    decode: impl Fn(&Row<'_>) -> Result<T, Cause>,
) -> rusqlite::Result<Vec<Decoded<T>>> {
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(decoded(row, keys, &decode));
    }
    Ok(items)
}

/// The first row.
pub(crate) fn first<T>(
    mut rows: Rows<'_>,
    keys: usize,
    decode: impl Fn(&Row<'_>) -> Result<T, Cause>,
) -> rusqlite::Result<Option<Decoded<T>>> {
    Ok(rows.next()?.map(|row| decoded(row, keys, decode)))
}

/// A page of rows; the statement gives at most [`PAGE`].
pub(crate) fn page<T>(
    mut rows: Rows<'_>,
    keys: usize,
    decode: impl Fn(&Row<'_>) -> Result<T, Cause>,
) -> rusqlite::Result<Page<T>> {
    let mut page = Page {
        items: Vec::with_capacity(PAGE.into()),
        ..Page::default()
    };
    while let Some(row) = rows.next()? {
        match decoded(row, keys, &decode) {
            Ok(item) => page.items.push(item),
            Err(unreadable) => page.unreadable.push(unreadable),
        }
        if page.items.len() + page.unreadable.len() == usize::from(PAGE) {
            let parts: Vec<_> = (0..keys).map(|i| HEXLOWER.encode(&bytes(row, i))).collect();
            page.next = Some(Cursor(parts.join(".")));
        }
    }
    Ok(page)
}

/// The cursor behind a row with this key.
pub(crate) fn behind(key: &[&str]) -> Cursor {
    Cursor(
        key.iter()
            .map(|part| HEXLOWER.encode(part.as_bytes()))
            .collect::<Vec<_>>()
            .join("."),
    )
}

/// A part of the key that a page begins behind: a text for SQLite, whatever its bytes. A key that is no UTF-8 must
/// not make a listing begin again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyPart(Vec<u8>);

impl ToSql for KeyPart {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// The key that `cursor` stands behind; empty texts before the first page.
///
/// Statements compare with bare parameters: a `CAST` would keep SQLite from seeking by more than the first column.
pub(crate) fn position<const N: usize>(cursor: Option<&Cursor>) -> PortResult<[KeyPart; N]> {
    let Some(cursor) = cursor else {
        return Ok([const { KeyPart(Vec::new()) }; N]);
    };
    let parts: Result<Vec<_>, _> = cursor
        .0
        .split('.')
        .map(|part| HEXLOWER.decode(part.as_bytes()).map(KeyPart))
        .collect();
    parts
        .ok()
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| PortError::unreadable("cursor", &cursor.0, "no cursor of this listing"))
}

/// Turns an unreadable row into the error it is where one item was asked for.
pub(crate) fn readable<T>(what: &str, decoded: Decoded<T>) -> PortResult<T> {
    decoded.map_err(|Unreadable { key, cause }| PortError::unreadable(what, key, cause))
}

/// The same for a row that may not be there.
pub(crate) fn found<T>(what: &str, decoded: Option<Decoded<T>>) -> PortResult<Option<T>> {
    decoded.map(|decoded| readable(what, decoded)).transpose()
}

fn bytes(row: &Row<'_>, column: usize) -> Vec<u8> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_keep_every_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        let cursor = Cursor(format!("{}.", HEXLOWER.encode(&bytes)));
        assert_eq!(
            position::<2>(Some(&cursor)).unwrap(),
            [KeyPart(bytes), KeyPart(Vec::new())]
        );
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for bad in ["zz", "a", "", "61.62.63", "+1.ä", "61"] {
            assert!(
                position::<2>(Some(&Cursor(bad.to_owned()))).is_err(),
                "{bad}"
            );
        }
    }
}
