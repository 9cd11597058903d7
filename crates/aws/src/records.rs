//! The table `system`: records of a few kinds, each kind ordered by name.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use hb_service::ports::{Cursor, Page, PortResult};

use crate::client::Clients;
use crate::cursor;
use crate::expression::names;
use crate::item;
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// The kind of a record: the partition key.
pub(crate) const KIND: &str = "kind";
/// The name of a record within its kind: the sort key.
pub(crate) const NAME: &str = "name";

/// The records of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    table: Table,
    kind: String,
}

impl Records {
    pub(crate) fn new(clients: &Clients, stage: &Stage, kind: impl Into<String>) -> Self {
        Self {
            table: Table::patient(clients, stage.system()),
            kind: kind.into(),
        }
    }

    /// Decodes a record; the error names it.
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

    /// Strongly consistent.
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

    /// Replaces the record of this name if `condition` holds, and returns whether it did. In the condition `:x` is the
    /// new value of the attribute `x`, and `other` a value besides.
    pub(crate) async fn put(
        &self,
        name: &str,
        attributes: AttributeMap,
        condition: &str,
        other: Option<(&str, AttributeValue)>,
    ) -> PortResult<bool> {
        let named = attributes
            .iter()
            .map(|(name, value)| (format!(":{name}"), value.clone()));
        let values: AttributeMap = named
            .filter(|(name, _)| condition.contains(name.as_str()))
            .chain(other.map(|(name, value)| (name.to_owned(), value)))
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

    /// One page of the records of this kind, ordered by name, strongly consistent.
    pub(crate) async fn page<T>(
        &self,
        after: Option<Cursor>,
        decode: impl Fn(&AttributeMap) -> Result<T, item::Cause>,
    ) -> PortResult<Page<T>> {
        let after = after
            .map(|cursor| cursor::position::<1>(&cursor))
            .transpose()?;
        let condition = "#kind = :kind";
        let request = self.table.client.query().table_name(&self.table.name);
        let answer = request
            .consistent_read(true)
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .expression_attribute_values(":kind", item::text(self.kind.as_str()))
            .set_exclusive_start_key(after.map(|[name]| self.key(&name)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::Query, answer)?;
        let next = |key: AttributeMap| {
            self.read(&key, |key| {
                Ok(cursor::behind(&[item::get_text(key, NAME)?]))
            })
        };
        let next = output.last_evaluated_key.map(next).transpose()?;
        let page = item::page(output.items.unwrap_or_default(), &[KIND, NAME], decode);
        Ok(Page { next, ..page })
    }

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
