//! The ledger in DynamoDB: an entry is one item, swapped by its version in one conditional write.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use hb_domain::{Entry, HostKey};
use hb_service::codec;
use hb_service::ports::{Cursor, Ledger, Page, PortResult, Stored, Swap, Version};
use uuid::Uuid;

use crate::client::Clients;
use crate::cursor;
use crate::expression::names;
use crate::item::{self, Cause};
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// The host, `fleet/host`: the partition key.
pub(crate) const HOST: &str = "h";
/// The entry, as JSON.
const ENTRY: &str = "entry";
/// Its version.
const VERSION: &str = "version";
/// The token of whoever swapped it in.
const WRITER: &str = "writer";
/// The shard of the index of open entries; only an open entry has it, so that the index holds no other.
pub(crate) const SHARD: &str = "open";
/// The index of open entries, by shard and host.
pub(crate) const OPEN: &str = "open";

/// Shards of the index: one partition of DynamoDB takes 1,000 write units a second, and a power cut opens thousands
/// of entries at once.
const SHARDS: u32 = 16;

/// Most items of a page of open entries. DynamoDB ends a page at 1 MiB as well.
const PAGE: i32 = 1_000;

/// The ledger of a stage.
#[derive(Clone, Debug)]
pub struct DynamoLedger {
    table: Table,
}

impl DynamoLedger {
    /// The ledger of `stage`.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self { table: Table::new(clients.patient.clone(), stage.ledger(), clients.meter.clone()) }
    }

    fn decode(&self, item: &AttributeMap) -> PortResult<Stored> {
        decode(item).map_err(|cause| self.table.unreadable(item::label(item, &[HOST]), cause))
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn load(&self, host: &HostKey) -> PortResult<Option<Stored>> {
        let request = self.table.client.get_item().table_name(&self.table.name);
        let answer = request
            .key(HOST, item::text(host.to_string()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::GetItem, answer)?;
        output.item.map(|item| self.decode(&item)).transpose()
    }

    /// A reply that is lost and tried again by the SDK ends as a conflict with one's own writer token, as the port has
    /// it.
    async fn swap(&self, entry: &Entry, expected: Option<Version>, writer: Uuid) -> PortResult<Swap> {
        let version = expected.unwrap_or(0).saturating_add(1);
        let stored = Stored { entry: entry.clone(), version, writer };
        let item = encode(&stored).map_err(|cause| self.table.unreadable(&entry.key, cause))?;
        let condition = if expected.is_some() { "#version = :expected" } else { "attribute_not_exists(#h)" };
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
            Conditional::Failed(current) => {
                Ok(Swap::Conflict(current.map(|item| self.decode(&item)).transpose()?))
            }
        }
    }

    /// One page of one shard: the shards follow each other, and an empty one is an empty page.
    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored>> {
        let (shard, host) = position(after.as_ref())?;
        let start = host.map(|host| item::of([(SHARD, item::number(shard)), (HOST, item::text(host))]));
        let condition = "#open = :shard";
        let request = self.table.client.query().table_name(&self.table.name).index_name(OPEN);
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
                let host = host.map_err(|cause| self.table.unreadable(item::label(&key, &[HOST]), cause))?;
                Some(cursor::behind(&[&shard.to_string(), host]))
            }
            None => (shard + 1 < SHARDS).then(|| cursor::behind(&[&(shard + 1).to_string()])),
        };
        let page = item::page(output.items.unwrap_or_default(), &[HOST], decode);
        Ok(Page { next, ..page })
    }
}

/// The shard that a page is of, and the host that it begins behind.
fn position(cursor: Option<&Cursor>) -> PortResult<(u32, Option<String>)> {
    let Some(cursor) = cursor else { return Ok((0, None)) };
    let (shard, host) = match cursor::position::<1>(cursor) {
        Ok([shard]) => (shard, None),
        Err(_) => cursor::position::<2>(cursor).map(|[shard, host]| (shard, Some(host)))?,
    };
    match shard.parse() {
        Ok(number) if number < SHARDS => Ok((number, host)),
        _ => Err(cursor::foreign(cursor, format!("there is no shard {shard}"))),
    }
}

/// The shard of a host: FNV-1a, because it must be the same in every version and needs no more than to spread.
fn shard(host: &str) -> u32 {
    let hash =
        host.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) % SHARDS
}

fn encode(stored: &Stored) -> Result<AttributeMap, Cause> {
    let host = stored.entry.key.to_string();
    let open = stored.entry.is_open().then(|| shard(&host));
    let mut item = item::of([
        (HOST, item::text(host)),
        (ENTRY, item::text(codec::encode_entry(&stored.entry).map_err(|error| error.to_string())?)),
        (VERSION, item::number(stored.version)),
        (WRITER, item::text(stored.writer.to_string())),
    ]);
    item.extend(open.map(|shard| (SHARD.to_owned(), item::number(shard))));
    Ok(item)
}

fn decode(item: &AttributeMap) -> Result<Stored, Cause> {
    let entry =
        codec::decode_entry(item::get_text(item, ENTRY)?).map_err(|error| item::wrong(ENTRY, error))?;
    let key = item::get_host(item, HOST)?;
    if entry.key != key {
        return Err(item::wrong(ENTRY, format!("it is of {}", entry.key)));
    }
    Ok(Stored { entry, version: item::get_number(item, VERSION)?, writer: item::get_parsed(item, WRITER)? })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Fleet, Timestamp};

    use super::*;

    fn stored(host: &str) -> Stored {
        let entry = Entry::new(HostKey::new(Fleet::main(), host.parse().unwrap()));
        let entry = entry.paused(Timestamp::MIN, None).unwrap();
        Stored { entry, version: 7, writer: Uuid::from_u128(9) }
    }

    #[test]
    fn what_is_written_reads_back() {
        let open = stored("web-01");
        let item = encode(&open).unwrap();
        assert_eq!(item.get(SHARD), Some(&item::number(shard("main/web-01"))));
        assert_eq!(decode(&item).unwrap(), open);
        let quiet = Stored { entry: Entry::new(open.entry.key.clone()), ..open };
        let item = encode(&quiet).unwrap();
        assert_eq!(item.get(SHARD), None, "the index holds open entries only");
        assert_eq!(decode(&item).unwrap(), quiet);
    }

    #[test]
    fn what_version_0_1_0_wrote_still_reads() {
        let entry = r#"{"fleet":"lab","host":"web-01","state":"up","epoch":3,"basis":1700000000000}"#;
        let item = item::of([
            ("h", item::text("lab/web-01")),
            ("entry", item::text(entry)),
            ("version", item::number(12)),
            ("writer", item::text("00000000-0000-0000-0000-000000000007")),
            ("open", item::number(3)),
        ]);
        let read = decode(&item).unwrap();
        assert_eq!((read.entry.epoch, read.version, read.writer), (3, 12, Uuid::from_u128(7)));
    }

    #[test]
    fn garbage_is_an_error_that_names_the_attribute() {
        let good = encode(&stored("web-01")).unwrap();
        let other = encode(&stored("web-02")).unwrap();
        let cases = [
            (ENTRY, item::text("{")),
            (ENTRY, other[ENTRY].clone()),
            (VERSION, item::number(-1)),
            (VERSION, item::text("7")),
            (WRITER, item::text("me")),
            (HOST, item::text("web-01")),
        ];
        for (name, value) in cases {
            let mut bad = good.clone();
            bad.insert(name.to_owned(), value);
            let error = decode(&bad).unwrap_err();
            assert!(error.starts_with(&format!("attribute {name}: ")), "{error}");
        }
    }

    #[test]
    fn hosts_spread_over_all_shards_and_stay_there() {
        let mut counts = [0; SHARDS as usize];
        (0..16_000).for_each(|i| counts[shard(&format!("main/host-{i:05}")) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!(
            ["main/web-01", "lab/db", ""].map(shard),
            [3, 1, 9],
            "entries would be lost from the index"
        );
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for bad in ["", "[]", "[\"16\"]", "[\"-1\",\"main/a\"]", "[\"1\",\"a\",\"b\"]"] {
            assert!(position(Some(&Cursor(bad.to_owned()))).is_err(), "{bad}");
        }
        assert_eq!(
            position(Some(&cursor::behind(&["3", "main/a"]))).unwrap(),
            (3, Some("main/a".to_owned()))
        );
        assert_eq!(position(Some(&cursor::behind(&["3"]))).unwrap(), (3, None));
    }
}
