//! The ledger in DynamoDB: a record is one item, swapped by its version in one conditional write.
//!
//! Digests and receivers lie in the ledger's table, under keys that no host has and in shards of the index of their own:
//! they need its consistency, and each kind is listed without the others.

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use hb_domain::{Digest, Receiver};
use hb_service::codec;
use hb_service::ports::{Cursor, Ledger, Page, PortResult, Record, Stored, Swap, Version};
use uuid::Uuid;

use crate::client::Clients;
use crate::cursor;
use crate::expression::names;
use crate::item::{self, Cause};
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

/// The host, `fleet/host`, or what else the record is of: the partition key.
pub(crate) const HOST: &str = "h";
/// The record, as JSON.
const ENTRY: &str = "entry";
/// Its version.
const VERSION: &str = "version";
/// The token of whoever swapped it in.
const WRITER: &str = "writer";
/// The shard of the index of open entries; only an open record has it, so that the index holds no other.
pub(crate) const SHARD: &str = "open";
/// The index of open records, by shard and key.
pub(crate) const OPEN: &str = "open";

/// What the keys of receivers begin with; the role of the canary function allows no other keys.
pub const RECEIVER_PREFIX: &str = "#receiver/";

/// Shards of the index that hold entries: one partition of DynamoDB takes 1,000 write units a second, and a power cut opens thousands
/// of entries at once.
const SHARDS: u32 = 16;

/// Most items of a page of open records. DynamoDB ends a page at 1 MiB as well.
const PAGE: i32 = 1_000;

/// Where the records of a kind lie.
#[derive(Clone, Copy, Debug)]
struct RecordLocation {
    /// Before their keys. A host's begins with its fleet, which has no such sign.
    prefix: &'static str,
    /// Their first shard of the index.
    first: u32,
    /// How many they have.
    count: u32,
}

impl RecordLocation {
    fn of<T: Record>() -> Self {
        match T::TABLE {
            Digest::TABLE => Self {
                prefix: "#digest/",
                first: SHARDS,
                count: 1,
            },
            Receiver::TABLE => Self {
                prefix: RECEIVER_PREFIX,
                first: SHARDS + 1,
                count: 1,
            },
            _ => Self {
                prefix: "",
                first: 0,
                count: SHARDS,
            },
        }
    }

    fn address<T: Record>(self, key: &T::Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn shard(self, address: &str) -> u32 {
        self.first + hash(address) % self.count
    }
}

/// The ledger of a stage.
#[derive(Clone, Debug)]
pub struct DynamoLedger {
    table: Table,
}

impl DynamoLedger {
    /// The ledger of `stage`.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            table: Table::new(
                clients.patient.clone(),
                stage.ledger(),
                clients.meter.clone(),
            ),
        }
    }

    fn decode<T: Record>(&self, item: &AttributeMap) -> PortResult<Stored<T>> {
        decode(item).map_err(|cause| self.table.unreadable(item::label(item, &[HOST]), cause))
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for DynamoLedger {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let request = self.table.client.get_item().table_name(&self.table.name);
        let answer = request
            .key(
                HOST,
                item::text(RecordLocation::of::<T>().address::<T>(key)),
            )
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.table.settle(Operation::GetItem, answer)?;
        output.item.map(|item| self.decode(&item)).transpose()
    }

    /// A reply that is lost and tried again by the SDK ends as a conflict with one's own writer token, as the port has
    /// it.
    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let version = expected.unwrap_or(0).saturating_add(1);
        let stored = Stored {
            record: entry.clone(),
            version,
            writer,
        };
        let item = encode(&stored).map_err(|cause| self.table.unreadable(entry.key(), cause))?;
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

    /// One page of one shard: the shards follow each other, and an empty one is an empty page.
    async fn open(&self, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let RecordLocation { first, count, .. } = RecordLocation::of::<T>();
        let (shard, host) = position(after.as_ref(), first..first + count)?;
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
            None => {
                (shard + 1 < first + count).then(|| cursor::behind(&[&(shard + 1).to_string()]))
            }
        };
        let page = item::page(output.items.unwrap_or_default(), &[HOST], decode);
        Ok(Page { next, ..page })
    }
}

/// The shard that a page is of, and the key that it begins behind.
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
        _ => Err(cursor::foreign(
            cursor,
            format!("there is no shard {shard}"),
        )),
    }
}

/// FNV-1a, because it must be the same in every version and needs no more than to spread.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash ^ (hash >> 16)
}

fn encode<T: Record>(stored: &Stored<T>) -> Result<AttributeMap, Cause> {
    let place = RecordLocation::of::<T>();
    let address = place.address::<T>(stored.record.key());
    let open = stored.record.is_open().then(|| place.shard(&address));
    let mut item = item::of([
        (HOST, item::text(address)),
        (
            ENTRY,
            item::text(codec::encode(&stored.record).map_err(|error| error.to_string())?),
        ),
        (VERSION, item::number(stored.version)),
        (WRITER, item::text(stored.writer.to_string())),
    ]);
    item.extend(open.map(|shard| (SHARD.to_owned(), item::number(shard))));
    Ok(item)
}

fn decode<T: Record>(item: &AttributeMap) -> Result<Stored<T>, Cause> {
    let entry: T =
        codec::decode(item::get_text(item, ENTRY)?).map_err(|error| item::wrong(ENTRY, error))?;
    if item::get_text(item, HOST)? != RecordLocation::of::<T>().address::<T>(entry.key()) {
        return Err(item::wrong(ENTRY, format!("it is of {}", entry.key())));
    }
    Ok(Stored {
        record: entry,
        version: item::get_number(item, VERSION)?,
        writer: item::get_parsed(item, WRITER)?,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Entry, Fleet, HostKey, NoticeId, Region, Timestamp};

    use super::*;

    fn stored(host: &str) -> Stored {
        let entry = Entry::new(HostKey::new(Fleet::main(), host.parse().unwrap()));
        let entry = entry.paused(Timestamp::MIN, None).unwrap();
        Stored {
            record: entry,
            version: 7,
            writer: Uuid::from_u128(9),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let open = stored("web-01");
        let item = encode(&open).unwrap();
        assert_eq!(
            item.get(SHARD),
            Some(&item::number(
                RecordLocation::of::<Entry>().shard("main/web-01")
            ))
        );
        assert_eq!(decode::<Entry>(&item).unwrap(), open);
        let quiet = Stored {
            record: Entry::new(open.record.key.clone()),
            ..open
        };
        let item = encode(&quiet).unwrap();
        assert_eq!(item.get(SHARD), None, "the index holds open entries only");
        assert_eq!(decode::<Entry>(&item).unwrap(), quiet);
    }

    #[test]
    fn what_version_0_1_0_wrote_still_reads() {
        let entry =
            r#"{"fleet":"lab","host":"web-01","state":"up","epoch":3,"basis":1700000000000}"#;
        let item = item::of([
            ("h", item::text("lab/web-01")),
            ("entry", item::text(entry)),
            ("version", item::number(12)),
            ("writer", item::text("00000000-0000-0000-0000-000000000007")),
            ("open", item::number(3)),
        ]);
        let read: Stored = decode(&item).unwrap();
        assert_eq!(
            (read.record.epoch, read.version, read.writer),
            (3, 12, Uuid::from_u128(7))
        );
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
        ];
        for (name, value) in cases {
            let mut bad = good.clone();
            bad.insert(name.to_owned(), value);
            let error = decode::<Entry>(&bad).unwrap_err();
            assert!(error.starts_with(&format!("attribute {name}: ")), "{error}");
        }
    }

    #[test]
    fn hosts_spread_over_all_shards_and_stay_there() {
        let shard = |address: &str| RecordLocation::of::<Entry>().shard(address);
        let mut counts = [0; SHARDS as usize];
        (0..16_000).for_each(|i| counts[shard(&format!("main/host-{i:05}")) as usize] += 1);
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(
            ["main/web-01", "lab/db", ""].map(shard),
            [3, 1, 9],
            "entries would be lost from the index"
        );
    }

    #[test]
    fn digests_and_receivers_lie_apart_from_hosts() {
        let id = NoticeId::of_bytes([7; 32]);
        let entry = stored("web-01").record;
        let transition = hb_domain::Transition {
            epoch: 1,
            kind: hb_domain::Kind::Missing,
            since: Timestamp::MIN,
            last_beat: Timestamp::MIN,
            interval: hb_domain::Interval::default(),
            message: None,
            at: Timestamp::MIN,
            caveat: None,
            accepted: None,
        };
        let entry = Entry {
            history: vec![transition],
            ..entry
        };
        let digest = Digest::new(id.clone(), &[&entry], Timestamp::MIN).unwrap();
        let item = encode(&Stored {
            record: digest.clone(),
            version: 1,
            writer: Uuid::nil(),
        })
        .unwrap();
        assert_eq!(
            (&item[HOST], &item[SHARD]),
            (&item::text(format!("#digest/{id}")), &item::number(16))
        );
        assert_eq!(decode::<Digest>(&item).unwrap().record, digest);
        let receiver = Receiver::new("eu-west-1".parse::<Region>().unwrap());
        let item = encode(&Stored {
            record: receiver.clone(),
            version: 1,
            writer: Uuid::nil(),
        })
        .unwrap();
        assert_eq!(
            (&item[HOST], &item[SHARD]),
            (&item::text("#receiver/eu-west-1"), &item::number(17))
        );
        assert_eq!(decode::<Receiver>(&item).unwrap().record, receiver);
    }

    #[test]
    fn foreign_cursors_are_refused() {
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
