//! The table `system`: records of a few kinds, each kind in the order of its names.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use hb_service::ports::PortResult;

use crate::client::Clients;
use crate::expression::names;
use crate::item;
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// What a record is: the partition key.
pub(crate) const KIND: &str = "kind";
/// Which one of its kind it is: the sort key.
pub(crate) const NAME: &str = "name";

/// The records of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    table: Table,
    kind: String,
}

impl Records {
    pub(crate) fn new(clients: &Clients, stage: &Stage, kind: impl Into<String>) -> Self {
        let table = Table::new(
            clients.patient.clone(),
            stage.system(),
            clients.meter.clone(),
        );
        Self {
            table,
            kind: kind.into(),
        }
    }

    /// Reads a record with `decode`; a record that cannot be read is an error.
    pub(crate) fn read<T>(
        &self,
        item: &AttributeMap,
        decode: impl Fn(&AttributeMap) -> Result<T, item::Cause>,
    ) -> PortResult<T> {
        decode(item).map_err(|cause| {
            self.table
                .unreadable(item::label(item, &[KIND, NAME]), cause)
        })
    }

    /// The record of this name, in a strongly consistent read.
    pub(crate) async fn load(&self, name: &str) -> PortResult<Option<AttributeMap>> {
        let request = self.table.client.get_item().table_name(&self.table.name);
        let answer = request
            .set_key(Some(self.key(name)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        Ok(self.table.settle(Operation::GetItem, answer)?.item)
    }

    /// Stores a record in place of the one of the same name if `condition` holds; whether it did. The condition may
    /// name values of the new record: `:x` is the value of its attribute `x`.
    pub(crate) async fn put(
        &self,
        name: &str,
        attributes: AttributeMap,
        condition: &str,
    ) -> PortResult<bool> {
        let named = attributes
            .iter()
            .map(|(name, value)| (format!(":{name}"), value.clone()));
        let values: AttributeMap = named
            .filter(|(name, _)| condition.contains(name.as_str()))
            .collect();
        let mut item = self.key(name);
        item.extend(attributes);
        let request = self.table.client.put_item().table_name(&self.table.name);
        let answer = request
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let stored = self.table.settle_conditional(Operation::PutItem, answer)?;
        Ok(matches!(stored, Conditional::Done(_)))
    }

    /// All records of the kind behind `after`, in the order of their names: up to a page of DynamoDB, and whether
    /// more may follow.
    pub(crate) async fn page(
        &self,
        after: Option<&str>,
    ) -> PortResult<(Vec<AttributeMap>, Option<String>)> {
        let condition = "#kind = :kind";
        let request = self.table.client.query().table_name(&self.table.name);
        let answer = request
            .consistent_read(true)
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .expression_attribute_values(":kind", item::text(self.kind.as_str()))
            .set_exclusive_start_key(after.map(|name| self.key(name)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::Query, answer)?;
        let last = |key: AttributeMap| {
            self.read(&key, |key| item::get_text(key, NAME).map(ToOwned::to_owned))
        };
        Ok((
            output.items.unwrap_or_default(),
            output.last_evaluated_key.map(last).transpose()?,
        ))
    }

    /// Deletes a record, if it is there.
    pub(crate) async fn delete(&self, name: &str) -> PortResult<()> {
        let request = self.table.client.delete_item().table_name(&self.table.name);
        let answer = request
            .set_key(Some(self.key(name)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        self.table.settle(Operation::DeleteItem, answer).map(drop)
    }

    fn key(&self, name: &str) -> AttributeMap {
        item::of([
            (KIND, item::text(self.kind.as_str())),
            (NAME, item::text(name)),
        ])
    }
}
