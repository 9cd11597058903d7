//! A DynamoDB table: counts each call and what it was charged, and turns the answer into an outcome or a [`PortError`].

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::ConsumedCapacity;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use hb_service::ports::{PortError, PortResult};

use crate::client::Clients;
use crate::error;
use crate::item::Cause;
use crate::meter::{Meter, Operation};
use crate::size::{AttributeMap, item_size};

/// The bytes of one write unit (DynamoDB developer guide, "Read and write operations").
const WRITE_UNIT_BYTES: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
    meter: Arc<Meter>,
}

/// The outcome of a conditional write.
pub(crate) enum Conditional<O> {
    Done(O),
    /// The condition did not hold; with the stored item, if it exists and was requested.
    Failed(Option<AttributeMap>),
}

impl Table {
    /// For beats, which cannot wait.
    pub(crate) fn quick(clients: &Clients, name: String) -> Self {
        Self {
            client: clients.quick.clone(),
            name,
            meter: clients.meter.clone(),
        }
    }

    /// For everything else.
    pub(crate) fn patient(clients: &Clients, name: String) -> Self {
        Self {
            client: clients.patient.clone(),
            ..Self::quick(clients, name)
        }
    }

    /// The name of the table in error messages.
    pub(crate) fn what(&self) -> String {
        format!("table {}", self.name)
    }

    pub(crate) fn unreadable(&self, key: impl Display, cause: Cause) -> PortError {
        PortError::unreadable(self.what(), key.to_string(), cause)
    }

    /// The result of a call without a condition.
    pub(crate) fn settle<O, E>(
        &self,
        operation: Operation,
        answer: Result<O, SdkError<E>>,
    ) -> PortResult<O>
    where
        O: Charged,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let output = error::settle(&self.meter, &self.what(), operation, answer)?;
        self.meter.charge(operation, output.units());
        Ok(output)
    }

    /// The result of a conditional write.
    pub(crate) fn settle_conditional<O, E>(
        &self,
        operation: Operation,
        answer: Result<O, SdkError<E>>,
    ) -> PortResult<Conditional<O>>
    where
        O: Charged,
        E: MayFailCondition + ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        if let Err(SdkError::ServiceError(refusal)) = &answer
            && let Some(failed) = refusal.err().failed_condition()
        {
            self.meter.called(operation);
            // The answer does not name the charge: the size of the stored item, at least one unit (DynamoDB developer
            // guide, "Read and write operations").
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

/// An answer that names its charge in capacity units.
pub(crate) trait Charged {
    fn units(&self) -> f64;
}

/// An error that may be a failed condition.
pub(crate) trait MayFailCondition {
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

impl Charged for BatchGetItemOutput {
    fn units(&self) -> f64 {
        let tables = self.consumed_capacity().iter();
        tables.filter_map(ConsumedCapacity::capacity_units).sum()
    }
}

may_fail_condition!(UpdateItemError, PutItemError, DeleteItemError);
