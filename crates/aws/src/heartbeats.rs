//! Heartbeats in DynamoDB: one item a host and region. A beat is one conditional update and no read.

mod merge;
pub(crate) mod stored;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use futures::stream::{self, StreamExt};
use hb_domain::{HostKey, Key, Region, Timestamp};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortError, PortResult, Segment};
use tracing::instrument;

use self::merge::{Change, Update};
use self::stored::{HOST, LAST, REGION};
use crate::client::Clients;
use crate::cursor;
use crate::expression::names;
use crate::item;
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// The most items in a page of a scan. DynamoDB also ends a page at 1 MiB, which is about 10,000 items.
const PAGE: i32 = 10_000;

/// Everything but the messages, which a sweep does not need. DynamoDB reads it anyway; this saves the transfer.
const SCANNED: &str = "#h, #r, #l, #i, #f, #s, #x, #k, #a, #b, #g, #e, #t, #n, #q, #d";

/// How many items are mended at the same time.
const MENDING: usize = 16;

/// How often a beat is tried when other writes interfere.
const ATTEMPTS: usize = 8;

/// The heartbeats of a stage.
#[derive(Clone, Debug)]
pub struct DynamoHeartbeats {
    /// For beats, which cannot wait.
    quick: Table,
    /// For everything else.
    table: Table,
}

impl DynamoHeartbeats {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            quick: Table::quick(clients, stage.heartbeats()),
            table: Table::patient(clients, stage.heartbeats()),
        }
    }

    async fn update(
        table: &Table,
        key: AttributeMap,
        update: Update,
    ) -> PortResult<Conditional<UpdateItemOutput>> {
        let expression = update.expression();
        let request = table.client.update_item().table_name(&table.name);
        let answer = request
            .set_key(Some(key))
            .set_expression_attribute_names(Some(names(&[&expression, &update.condition])))
            .update_expression(expression)
            .condition_expression(update.condition)
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        table.settle_conditional(Operation::UpdateItem, answer)
    }

    /// All items of a host, strongly consistent.
    async fn items(&self, host: &HostKey) -> PortResult<Vec<AttributeMap>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let condition = "#h = :h";
            let request = self.table.client.query().table_name(&self.table.name);
            let answer = request
                .consistent_read(true)
                .key_condition_expression(condition)
                .set_expression_attribute_names(Some(names(&[condition])))
                .expression_attribute_values(":h", item::text(host.to_string()))
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            let output = self.table.settle(Operation::Query, answer)?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// Stores a beat; `false` of a host that is not stored, if only `known_only` ones may be.
    async fn store(&self, heard: &Heard, known_only: bool) -> PortResult<bool> {
        if heard.heartbeat.is_note() {
            return self.note(heard, known_only).await;
        }
        let stored = self.store_beat(heard, known_only).await?;
        if let Some(end) = merge::end_of_run(&heard.heartbeat).filter(|_| stored) {
            let key = stored::key(&heard.key, &heard.region);
            // Otherwise it is about another run, or that one is over.
            let _ = Self::update(&self.quick, key, end).await?;
        }
        Ok(stored)
    }

    /// Stores a start or a log, likewise.
    async fn note(&self, heard: &Heard, known_only: bool) -> PortResult<bool> {
        let mut update = merge::note(&heard.heartbeat);
        if known_only {
            update = update.of_known();
        }
        let key = stored::key(&heard.key, &heard.region);
        Ok(match Self::update(&self.quick, key, update).await? {
            Conditional::Done(_) => true,
            // The host is stored, with a later one.
            Conditional::Failed(item) => item.is_some() || !known_only,
        })
    }

    async fn store_beat(&self, heard: &Heard, known_only: bool) -> PortResult<bool> {
        let mut change = Change::Hopeful;
        for _ in 0..ATTEMPTS {
            let key = stored::key(&heard.key, &heard.region);
            let mut update = change.of(&heard.heartbeat);
            if known_only {
                update = update.of_known();
            }
            let item = match Self::update(&self.quick, key, update).await? {
                Conditional::Done(_) => return Ok(true),
                Conditional::Failed(item) => item,
            };
            // Usually a newer beat is stored and nothing is left to do; a late failure still counts.
            change = match item {
                None if known_only => return Ok(false),
                None => Change::Hopeful,
                Some(item) => {
                    let stored =
                        stored::decode(&item).map_err(|cause| self.unreadable(&item, cause))?;
                    match Change::late(&stored.heartbeat, &heard.heartbeat) {
                        None => return Ok(true),
                        Some(late) => late,
                    }
                }
            };
        }
        Err(PortError::unavailable(
            self.table.what(),
            format!("too many concurrent writes of {}", heard.key),
        ))
    }

    fn unreadable(&self, item: &AttributeMap, cause: item::Cause) -> PortError {
        self.table
            .unreadable(item::label(item, &[HOST, REGION]), cause)
    }
}

#[async_trait]
impl Heartbeats for DynamoHeartbeats {
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(host = %heard.key, region = heard.region.as_str()))]
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.store(heard, false).await.map(drop)
    }

    /// A sweep counts the hosts of a key, so that it may get some more until then.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(host = %heard.key, region = heard.region.as_str()))]
    async fn record_with(&self, heard: &Heard, key: &Key) -> PortResult<bool> {
        self.store(heard, key.is_full()).await
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(%host))]
    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let items = self.items(host).await?;
        items
            .iter()
            .map(|item| stored::decode(item).map_err(|cause| self.unreadable(item, cause)))
            .collect()
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(segment = segment.index, of = segment.of))]
    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        let start = after
            .map(|cursor| cursor::position::<2>(&cursor))
            .transpose()?
            .map(|[host, region]| {
                item::of([(HOST, item::text(host)), (REGION, item::text(region))])
            });
        let part = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let request = self.table.client.scan().table_name(&self.table.name);
        let answer = request
            .segment(part(segment.index))
            .total_segments(part(segment.of))
            .projection_expression(SCANNED)
            .set_expression_attribute_names(Some(names(&[SCANNED])))
            .limit(PAGE)
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::Scan, answer)?;
        let next = output
            .last_evaluated_key
            .map(|key| self.behind(&key))
            .transpose()?;
        let page = item::page(
            output.items.unwrap_or_default(),
            &[HOST, REGION],
            stored::decode,
        );
        Ok(Page { next, ..page })
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(hosts = ahead.len()))]
    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        let mut updates = Vec::new();
        for heard in ahead {
            let key = stored::key(&heard.key, &heard.region);
            updates.extend(merge::mend(&heard.heartbeat, now).map(|update| (key, update)));
        }
        let mut results = stream::iter(updates)
            .map(|(key, update)| Self::update(&self.table, key, update))
            .buffer_unordered(MENDING);
        let mut first_error = Ok(());
        while let Some(result) = results.next().await {
            first_error = first_error.and(result.map(drop));
        }
        first_error
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        // `~` sorts after every region, and a scan may start after a key that does not exist.
        cursor::behind(&[&host.to_string(), "~"])
    }

    /// Deletes region by region: strong global tables have no transactions. A beat in between keeps its own item.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(%host))]
    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        let mut regions: Vec<Region> = Vec::new();
        for item in self.items(host).await? {
            let last =
                item::get_instant(&item, LAST).map_err(|cause| self.unreadable(&item, cause))?;
            if last > up_to {
                return Ok(());
            }
            let region =
                item::get_parsed(&item, REGION).map_err(|cause| self.unreadable(&item, cause))?;
            regions.push(region);
        }
        for region in regions {
            let condition = "#l <= :l";
            let request = self.table.client.delete_item().table_name(&self.table.name);
            let answer = request
                .set_key(Some(stored::key(host, &region)))
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names(&[condition])))
                .expression_attribute_values(":l", item::instant(up_to))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            self.table
                .settle_conditional(Operation::DeleteItem, answer)?;
        }
        Ok(())
    }

    /// Updates an item that cannot exist, because no host has an empty fleet. The condition fails, but permissions and
    /// throttling apply as to a beat.
    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn check(&self) -> PortResult<()> {
        let (update, condition) = ("REMOVE #s", "attribute_exists(#h)");
        let request = self.quick.client.update_item().table_name(&self.quick.name);
        let answer = request
            .key(HOST, item::text("/check"))
            .key(REGION, item::text("check"))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[update, condition])))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        self.quick
            .settle_conditional(Operation::UpdateItem, answer)
            .map(drop)
    }
}

impl DynamoHeartbeats {
    fn behind(&self, key: &AttributeMap) -> PortResult<Cursor> {
        let part = |name| item::get_text(key, name).map_err(|cause| self.unreadable(key, cause));
        Ok(cursor::behind(&[part(HOST)?, part(REGION)?]))
    }
}
