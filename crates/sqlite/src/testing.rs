//! For tests only: rows of any values, decoded as if a table held them.

use std::fmt::Debug;

use hb_domain::{Digest, Entry, Incarnation, Receiver};
use hb_service::ports::{Checkpoint, CompletedSweep};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use crate::row::{self, Cause};
use crate::{audit, deliveries, echoes, heartbeats, keys, ledger, subscriptions, system};

/// A value of a column.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    /// Which SQLite does not promise to be UTF-8.
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(number),
            Self::Real(number) => ValueRef::Real(number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// What a row of this kind says, or why it is unreadable; its columns in their order. `None` if there is no such kind,
/// or SQLite takes no such columns.
#[must_use]
pub fn read(kind: &str, columns: &[(&str, Value<'_>)]) -> Option<Result<String, String>> {
    let said: fn(&Row<'_>) -> Result<String, Cause> = match kind {
        "heartbeat" => |row| said(heartbeats::heard(row)),
        "key" => |row| said(keys::key(row)),
        "entry" => |row| said(ledger::stored::<Entry>(row)),
        "digest" => |row| said(ledger::stored::<Digest>(row)),
        "receiver" => |row| said(ledger::stored::<Receiver>(row)),
        "incarnation" => |row| said(ledger::stored::<Incarnation>(row)),
        "subscription" => |row| said(subscriptions::subscription(row)),
        "act" => |row| said(audit::act(row)),
        "sweep" => |row| said(system::decode::<CompletedSweep>(row)),
        "checkpoint" => |row| said(system::decode::<Checkpoint>(row)),
        "echo" => |row| said(echoes::echo(row)),
        "delivery" => |row| {
            let subscription = "abc".parse().map_err(|_| "no id".to_owned())?;
            said(deliveries::lease::delivery(row, &subscription))
        },
        _ => return None,
    };
    let names = columns
        .iter()
        .map(|(name, _)| format!("? AS \"{}\"", name.replace('"', "")));
    let sql = format!("SELECT {}", names.collect::<Vec<_>>().join(", "));
    let connection = Connection::open_in_memory().ok()?;
    let mut statement = connection.prepare(&sql).ok()?;
    let values = params_from_iter(columns.iter().map(|(_, value)| value));
    let rows = statement.query(values).ok()?;
    let decoded = row::first(rows, 1, said).ok()??;
    Some(decoded.map_err(|unreadable| unreadable.cause))
}

fn said<T: Debug>(read: Result<T, Cause>) -> Result<String, Cause> {
    read.map(|value| format!("{value:?}"))
}
