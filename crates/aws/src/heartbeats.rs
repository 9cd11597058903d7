//! Beats in DynamoDB: one item a host and region, one conditional update a beat and nothing else.

mod merge;
pub(crate) mod stored;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use hb_domain::{HostKey, Region, Timestamp};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortError, PortResult, Segment};

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

/// Most items of a page of a scan. DynamoDB ends a page at 1 MiB as well, which is about 10,000 items.
const PAGE: i32 = 10_000;

/// Everything but the message: a scan of all hosts would carry it for nothing. It is read all the same; what is
/// saved is the way here.
const SCANNED: &str = "#h, #r, #l, #i, #f, #s, #x";

/// How often a beat that comes late looks again because somebody else wrote in between.
const LOOKS: usize = 8;

/// The beats of all hosts of a stage.
#[derive(Clone, Debug)]
pub struct DynamoHeartbeats {
    /// For beats, which cannot wait.
    quick: Table,
    /// For everything else.
    table: Table,
}

impl DynamoHeartbeats {
    /// The beats of `stage`.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        let table = |client: &aws_sdk_dynamodb::Client| {
            Table::new(client.clone(), stage.heartbeats(), clients.meter.clone())
        };
        Self {
            quick: table(&clients.quick),
            table: table(&clients.patient),
        }
    }

    /// The stored item when the condition of `update` does not hold.
    async fn update(&self, key: AttributeMap, update: Update) -> PortResult<Conditional<()>> {
        let expression = update.expression();
        let request = self.quick.client.update_item().table_name(&self.quick.name);
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
        Ok(
            match self
                .quick
                .settle_conditional(Operation::UpdateItem, answer)?
            {
                Conditional::Done(_) => Conditional::Done(()),
                Conditional::Failed(item) => Conditional::Failed(item),
            },
        )
    }

    /// All items of a host, in a strongly consistent read.
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

    /// The error of an item that cannot be read.
    fn unreadable(&self, item: &AttributeMap, cause: item::Cause) -> PortError {
        self.table
            .unreadable(item::label(item, &[HOST, REGION]), cause)
    }
}

#[async_trait]
impl Heartbeats for DynamoHeartbeats {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let mut change = Change::Hopeful;
        for _ in 0..LOOKS {
            let key = stored::key(&heard.key, &heard.region);
            let item = match self.update(key, change.of(&heard.heartbeat)).await? {
                Conditional::Done(()) => return Ok(()),
                Conditional::Failed(item) => item,
            };
            // Nearly always a newer beat is stored and this one is done with; a failure that comes late still counts.
            change = match item {
                None => Change::Hopeful,
                Some(item) => {
                    let stored =
                        stored::decode(&item).map_err(|cause| self.unreadable(&item, cause))?;
                    match Change::late(&stored.heartbeat, &heard.heartbeat) {
                        None => return Ok(()),
                        Some(late) => late,
                    }
                }
            };
        }
        Err(PortError::unavailable(
            self.table.what(),
            format!("{} is written by too many at once", heard.key),
        ))
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let items = self.items(host).await?;
        items
            .iter()
            .map(|item| stored::decode(item).map_err(|cause| self.unreadable(item, cause)))
            .collect()
    }

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

    fn behind(&self, host: &HostKey) -> Cursor {
        // No name of a region is that great, and DynamoDB begins behind keys that are not there as well.
        cursor::behind(&[&host.to_string(), "~"])
    }

    /// Regions are deleted one by one: DynamoDB has no other way without a transaction, and a beat that lands between
    /// two of them keeps its own item.
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

    /// An update of an item that is not there: it must fail its condition, and takes the way of a beat up to that
    /// point, permissions and throttling included. No host has an empty fleet.
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
