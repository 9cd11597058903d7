//! A table of DynamoDB: every answer passes here, to be counted and to become an outcome or a [`PortError`].

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use hb_service::ports::{PortError, PortResult};

use crate::error;
use crate::item::Cause;
use crate::meter::{Meter, Operation};
use crate::size::{AttributeMap, item_size};

/// Bytes that one write unit writes (DynamoDB developer guide, "Read and write operations").
const WRITE_UNIT_BYTES: usize = 1024;

/// A table, and whom its calls are charged to.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
    meter: Arc<Meter>,
}

/// What became of a conditional write.
pub(crate) enum Conditional<O> {
    /// It was done.
    Done(O),
    /// Its condition did not hold: the item as it is, if there is one and it was asked for.
    Failed(Option<AttributeMap>),
}

impl Table {
    pub(crate) fn new(client: Client, name: String, meter: Arc<Meter>) -> Self {
        Self {
            client,
            name,
            meter,
        }
    }

    /// What error messages call it.
    pub(crate) fn what(&self) -> String {
        format!("table {}", self.name)
    }

    /// The error of an item that cannot be read.
    pub(crate) fn unreadable(&self, key: impl Display, cause: Cause) -> PortError {
        PortError::unreadable(self.what(), key.to_string(), cause)
    }

    /// The answer to a call without a condition.
    pub(crate) fn settle<O, E>(
        &self,
        operation: Operation,
        answer: Result<O, SdkError<E>>,
    ) -> PortResult<O>
    where
        O: Charged,
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.meter.called(operation);
        match answer {
            Ok(output) => {
                self.meter.charge(operation, output.units());
                Ok(output)
            }
            Err(cause) => Err(error::trouble(&self.what(), operation, &cause)),
        }
    }

    /// The answer to a conditional write. That its condition did not hold is an outcome.
    pub(crate) fn settle_conditional<O, E>(
        &self,
        operation: Operation,
        answer: Result<O, SdkError<E>>,
    ) -> PortResult<Conditional<O>>
    where
        O: Charged,
        E: MayFailCondition + ProvideErrorMetadata + Error + 'static,
    {
        if let Err(SdkError::ServiceError(refusal)) = &answer
            && let Some(failed) = refusal.err().failed_condition()
        {
            self.meter.called(operation);
            // The answer does not say what it cost: the size of the item that is there, at least one unit
            // (DynamoDB developer guide, "Read and write operations").
            let size = failed
                .item()
                .map_or(0, item_size)
                .max(1)
                .div_ceil(WRITE_UNIT_BYTES);
            self.meter.charge(
                operation,
                f64::from(u16::try_from(size).unwrap_or(u16::MAX)),
            );
            return Ok(Conditional::Failed(failed.item().cloned()));
        }
        self.settle(operation, answer).map(Conditional::Done)
    }
}

/// An answer that says what it cost.
pub(crate) trait Charged {
    /// The capacity units.
    fn units(&self) -> f64;
}

/// An error that may be a condition that did not hold.
pub(crate) trait MayFailCondition {
    /// That error, if it is one.
    fn failed_condition(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! charged {
    ($($output:ty),+) => {
        $(impl Charged for $output {
            fn units(&self) -> f64 {
                self.consumed_capacity().and_then(|consumed| consumed.capacity_units()).unwrap_or(0.0)
            }
        })+
    };
}

macro_rules! may_fail_condition {
    ($($error:ident),+) => {
        $(impl MayFailCondition for $error {
            fn failed_condition(&self) -> Option<&ConditionalCheckFailedException> {
                if let Self::ConditionalCheckFailedException(failed) = self { Some(failed) } else { None }
            }
        })+
    };
}

charged!(
    UpdateItemOutput,
    PutItemOutput,
    DeleteItemOutput,
    GetItemOutput,
    QueryOutput,
    ScanOutput
);
may_fail_condition!(UpdateItemError, PutItemError, DeleteItemError);
