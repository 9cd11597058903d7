//! The ledger in DynamoDB: a record is one item, swapped by its version in one conditional write.

pub(crate) mod stored;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    KeysAndAttributes, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use hb_domain::limits;
use hb_service::ports::{Cursor, Ledger, Page, PortResult, Record, Segment, Stored, Swap, Version};
use tracing::instrument;
use uuid::Uuid;

use self::stored::{HOST, OPEN, RecordLocation, SHARD};
use crate::client::Clients;
use crate::cursor;
use crate::expression::names;
use crate::item;
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// The most open records in a page. DynamoDB also ends a page at 1 MiB.
const PAGE: i32 = 1_000;

/// The ledger of a stage.
#[derive(Clone, Debug)]
pub struct DynamoLedger {
    table: Table,
}

impl DynamoLedger {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            table: Table::patient(clients, stage.ledger()),
        }
    }

    fn decode<T: Record>(&self, item: &AttributeMap) -> PortResult<Stored<T>> {
        stored::decode(item)
            .map_err(|cause| self.table.unreadable(item::label(item, &[HOST]), cause))
    }
}

impl DynamoLedger {
    /// The items at these addresses, by address, and the addresses that were not looked at.
    async fn batch(
        &self,
        addresses: &[String],
    ) -> PortResult<(HashMap<String, AttributeMap>, HashSet<String>)> {
        let keys = addresses
            .iter()
            .map(|address| item::of([(HOST, item::text(address.as_str()))]));
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .build()
            .map_err(|error| self.table.unreadable("batch", error.to_string()))?;
        let request = self.table.client.batch_get_item();
        let answer = request
            .request_items(&self.table.name, wanted)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::BatchGetItem, answer)?;
        let address = |item: &AttributeMap| item::get_text(item, HOST).ok().map(ToOwned::to_owned);
        let items = output.responses.into_iter().flat_map(HashMap::into_values);
        let found = items
            .flatten()
            .filter_map(|item| Some((address(&item)?, item)))
            .collect();
        let rest = output
            .unprocessed_keys
            .into_iter()
            .flat_map(HashMap::into_values);
        let rest = rest
            .flat_map(|rest| rest.keys)
            .filter_map(|key| address(&key))
            .collect();
        Ok((found, rest))
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for DynamoLedger {
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(record = T::TABLE, key = %key))]
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let address = RecordLocation::of::<T>().address::<T>(key);
        let request = self.table.client.get_item().table_name(&self.table.name);
        let answer = request
            .key(HOST, item::text(address))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::GetItem, answer)?;
        output.item.map(|item| self.decode(&item)).transpose()
    }

    /// At most 100 records in a call; what DynamoDB leaves out for now is asked for again, in the end one by one.
    #[instrument(level = "debug", skip_all, fields(record = T::TABLE, keys = keys.len()))]
    async fn load_many(&self, keys: &[T::Key]) -> Vec<PortResult<Option<Stored<T>>>> {
        let mut found = HashMap::new();
        let addresses: Vec<_> = keys
            .iter()
            .map(|key| RecordLocation::of::<T>().address::<T>(key))
            .collect();
        let mut known = HashSet::new();
        for part in addresses.chunks(limits::BATCH) {
            match self.batch(part).await {
                Ok((items, rest)) => {
                    known.extend(part.iter().filter(|one| !rest.contains(*one)).cloned());
                    found.extend(items);
                }
                Err(error) => tracing::warn!(%error, "the entries are read one by one"),
            }
        }
        let mut loaded = Vec::with_capacity(keys.len());
        for (key, address) in keys.iter().zip(&addresses) {
            loaded.push(if known.contains(address) {
                let item = found.get(address);
                item.map(|item| self.decode(item)).transpose()
            } else {
                self.load(key).await
            });
        }
        loaded
    }

    /// When a reply is lost and the SDK tries again, the swap conflicts with its own writer token, as the port expects.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(record = T::TABLE, key = %record.key(), ?expected))]
    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let version = expected.unwrap_or(0).saturating_add(1);
        let stored = Stored {
            record: record.clone(),
            version,
            writer,
        };
        let item =
            stored::encode(&stored).map_err(|cause| self.table.unreadable(record.key(), cause))?;
        let condition = if expected.is_some() {
            "#version = :expected"
        } else {
            "attribute_not_exists(#h)"
        };
        let request = self.table.client.put_item().table_name(&self.table.name);
        let answer = request
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .set_expression_attribute_values(
                expected.map(|version| item::of([(":expected", item::number(version))])),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match self.table.settle_conditional(Operation::PutItem, answer)? {
            Conditional::Done(_) => Ok(Swap::Done(version)),
            Conditional::Failed(current) => Ok(Swap::Conflict(
                current.map(|item| self.decode(&item)).transpose()?,
            )),
        }
    }

    /// One page of one shard, shard after shard; an empty shard is an empty page.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(record = T::TABLE))]
    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let shards = shards_of(segment, &RecordLocation::of::<T>());
        if shards.is_empty() {
            return Ok(Page::default());
        }
        let end = shards.end;
        let (shard, host) = position(after.as_ref(), shards)?;
        let start =
            host.map(|host| item::of([(SHARD, item::number(shard)), (HOST, item::text(host))]));
        let condition = "#open = :shard";
        let request = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(OPEN);
        let answer = request
            .key_condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .expression_attribute_values(":shard", item::number(shard))
            .limit(PAGE)
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::Query, answer)?;
        let next = match output.last_evaluated_key {
            Some(key) => {
                let host = item::get_text(&key, HOST);
                let host =
                    host.map_err(|cause| self.table.unreadable(item::label(&key, &[HOST]), cause))?;
                Some(cursor::behind(&[&shard.to_string(), host]))
            }
            None => (shard + 1 < end).then(|| cursor::behind(&[&(shard + 1).to_string()])),
        };
        let page = item::page(output.items.unwrap_or_default(), &[HOST], stored::decode);
        Ok(Page { next, ..page })
    }
}

/// The shards of a segment, which together are all shards.
fn shards_of(segment: Segment, location: &RecordLocation) -> Range<u32> {
    let Segment { index, of } = segment;
    let at = |index: u32| location.first + location.count * index.min(of) / of.max(1);
    at(index)..at(index.saturating_add(1))
}

/// The shard of the page after `cursor`, and the key that the page starts after.
fn position(cursor: Option<&Cursor>, shards: Range<u32>) -> PortResult<(u32, Option<String>)> {
    let Some(cursor) = cursor else {
        return Ok((shards.start, None));
    };
    let (shard, host) = match cursor::position::<1>(cursor) {
        Ok([shard]) => (shard, None),
        Err(_) => cursor::position::<2>(cursor).map(|[shard, host]| (shard, Some(host)))?,
    };
    match shard.parse() {
        Ok(number) if shards.contains(&number) => Ok((number, host)),
        _ => Err(cursor::foreign(cursor, format!("no shard {shard}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::stored::SHARDS;
    use super::*;

    #[test]
    fn foreign_cursors_are_rejected() {
        for bad in [
            "",
            "[]",
            "[\"16\"]",
            "[\"-1\",\"main/a\"]",
            "[\"1\",\"a\",\"b\"]",
        ] {
            assert!(
                position(Some(&Cursor(bad.to_owned())), 0..SHARDS).is_err(),
                "{bad}"
            );
        }
        assert_eq!(
            position(Some(&cursor::behind(&["3", "main/a"])), 0..SHARDS).unwrap(),
            (3, Some("main/a".to_owned()))
        );
        assert_eq!(
            position(Some(&cursor::behind(&["3"])), 0..SHARDS).unwrap(),
            (3, None)
        );
    }
}
