//! The tables of a stage, as the adapters need them.

use crate::heartbeats::stored as beat;
use crate::ledger::stored as ledger;
use crate::names::Stage;
use crate::{keys, records};

/// An attribute of a key, with its type as DynamoDB writes it: `S` or `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: &'static str,
    pub data_type: &'static str,
}

/// A table. All are charged by request (`PAY_PER_REQUEST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    pub name: String,
    /// Partition key and, for some, sort key.
    pub key: Vec<Attribute>,
    pub index: Option<IndexDefinition>,
}

/// A global secondary index that holds whole items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    pub name: &'static str,
    /// Partition key and sort key.
    pub key: Vec<Attribute>,
}

const fn text(name: &'static str) -> Attribute {
    Attribute {
        name,
        data_type: "S",
    }
}

const fn number(name: &'static str) -> Attribute {
    Attribute {
        name,
        data_type: "N",
    }
}

/// The tables of a stage: heartbeats, ledger, keys, system.
#[must_use]
pub fn table_definitions(stage: &Stage) -> [TableDefinition; 4] {
    let open = IndexDefinition {
        name: ledger::OPEN,
        key: vec![number(ledger::SHARD), text(ledger::HOST)],
    };
    [
        TableDefinition {
            name: stage.heartbeats(),
            key: vec![text(beat::HOST), text(beat::REGION)],
            index: None,
        },
        TableDefinition {
            name: stage.ledger(),
            key: vec![text(ledger::HOST)],
            index: Some(open),
        },
        TableDefinition {
            name: stage.keys(),
            key: vec![text(keys::ID)],
            index: None,
        },
        TableDefinition {
            name: stage.system(),
            key: vec![text(records::KIND), text(records::NAME)],
            index: None,
        },
    ]
}
