//! The functions of a stage: the program, the event and the AWS permissions of each.

use hb_aws::{Clients, Operation, Stage, table_definitions};

use Operation::{
    BatchGetItem, DeleteMessage, DescribeTable, GetItem, GetQueueUrl, GetTopicAttributes, Publish,
    PutItem, Query, ReceiveMessage, Scan, UpdateItem,
};

/// A function of a stage. Its name here is its logical id in `template.yaml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Ingest,
    Sweep,
    Canary,
}

/// An operation that a function calls, and the table, index, topic or queue that it calls it on.
#[derive(Clone, Copy)]
pub struct Permission {
    pub operation: Operation,
    pub resource: fn(&Stage) -> String,
}

const INGEST: &[Permission] = &[
    may(UpdateItem, Stage::heartbeats),
    may(GetItem, Stage::keys),
    may(UpdateItem, Stage::keys),
    may(DescribeTable, Stage::ledger),
    may(GetTopicAttributes, Stage::notices),
];

const SWEEP: &[Permission] = &[
    may(Scan, Stage::heartbeats),
    may(Query, Stage::heartbeats),
    may(UpdateItem, Stage::heartbeats),
    may(UpdateItem, Stage::keys),
    may(GetItem, Stage::ledger),
    may(BatchGetItem, Stage::ledger),
    may(PutItem, Stage::ledger),
    may(DescribeTable, Stage::ledger),
    may(Query, open_index),
    may(GetItem, Stage::system),
    may(PutItem, Stage::system),
    may(Publish, Stage::notices),
    may(GetQueueUrl, Stage::echo),
    may(ReceiveMessage, Stage::echo),
    may(DeleteMessage, Stage::echo),
];

const CANARY: &[Permission] = &[may(GetItem, Stage::ledger), may(PutItem, Stage::ledger)];

const fn may(operation: Operation, resource: fn(&Stage) -> String) -> Permission {
    Permission {
        operation,
        resource,
    }
}

fn open_index(stage: &Stage) -> String {
    let tables = table_definitions(stage);
    let index = tables.into_iter().find_map(|table| {
        let index = table.index?;
        Some(format!("{}/index/{}", table.name, index.name))
    });
    index.unwrap_or_default()
}

impl Function {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Sweep, Self::Canary];

    /// The binary that it runs.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Sweep | Self::Canary => "sweep",
        }
    }

    /// The value of `task` in the event of its schedule.
    #[must_use]
    pub fn task(self) -> Option<&'static str> {
        match self {
            Self::Ingest => None,
            Self::Sweep => Some("sweep"),
            Self::Canary => Some("canary"),
        }
    }

    #[must_use]
    pub fn permissions(self) -> &'static [Permission] {
        match self {
            Self::Ingest => INGEST,
            Self::Sweep => SWEEP,
            Self::Canary => CANARY,
        }
    }

    /// Clients that call what the function has permission for.
    pub(crate) fn clients(self, clients: &Clients) -> Clients {
        clients.limited_to(self.permissions().iter().map(|may| may.operation))
    }
}
