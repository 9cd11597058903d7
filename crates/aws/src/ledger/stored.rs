//! How a record is stored: one item, with the record as JSON.
//!
//! Digests, fleets and receivers share the ledger's table because they need its consistency. Their keys cannot collide with a
//! host's, and their shards of the index are their own, so that each kind is listed without the others.

use hb_domain::{Digest, FleetRecord, Incarnation, Receiver};
use hb_service::codec;
use hb_service::ports::{Record, Stored};

use crate::item::{self, Cause};
use crate::size::AttributeMap;

/// The partition key: the host, `fleet/host`, or the address of another record.
pub(crate) const HOST: &str = "h";
const ENTRY: &str = "entry";
const VERSION: &str = "version";
/// The token of the swap that wrote it.
const WRITER: &str = "writer";
/// The shard of an open record in the index. Other records have none, so that the index holds open records only.
pub(crate) const SHARD: &str = "open";
/// The index of open records, by shard and key.
pub(crate) const OPEN: &str = "open";

/// The prefix of the keys of receivers; the role of the canary function allows no other keys.
pub const RECEIVER_PREFIX: &str = "#receiver/";

/// Shards of the index for host entries: one partition of DynamoDB takes 1,000 write units a second, and a power cut
/// opens thousands of entries at once.
pub(super) const SHARDS: u32 = 16;

/// Where the records of a kind are.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordLocation {
    /// The prefix of their keys. The key of a host starts with its fleet, which cannot contain `#`.
    prefix: &'static str,
    /// Their first shard of the index.
    pub(super) first: u32,
    /// How many shards they have.
    pub(super) count: u32,
}

impl RecordLocation {
    pub(super) fn of<T: Record>() -> Self {
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
            // Never open, so that it has no shard.
            Incarnation::TABLE => Self {
                prefix: "#incarnation/",
                first: SHARDS + 2,
                count: 1,
            },
            FleetRecord::TABLE => Self {
                prefix: "#fleet/",
                first: SHARDS + 3,
                count: 1,
            },
            _ => Self {
                prefix: "",
                first: 0,
                count: SHARDS,
            },
        }
    }

    pub(super) fn address<T: Record>(self, key: &T::Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn shard(self, address: &str) -> u32 {
        self.first + hash(address) % self.count
    }
}

/// FNV-1a: it must be the same in every version, and only has to spread.
fn hash(text: &str) -> u32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash ^ (hash >> 16)
}

pub(crate) fn encode<T: Record>(stored: &Stored<T>) -> Result<AttributeMap, Cause> {
    let location = RecordLocation::of::<T>();
    let address = location.address::<T>(stored.record.key());
    let open = stored.record.is_open().then(|| location.shard(&address));
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

pub(crate) fn decode<T: Record>(item: &AttributeMap) -> Result<Stored<T>, Cause> {
    let record: T =
        codec::decode(item::get_text(item, ENTRY)?).map_err(|error| item::wrong(ENTRY, error))?;
    if item::get_text(item, HOST)? != RecordLocation::of::<T>().address::<T>(record.key()) {
        return Err(item::wrong(
            ENTRY,
            format!("it belongs to {}", record.key()),
        ));
    }
    Ok(Stored {
        record,
        version: item::get_number(item, VERSION)?,
        writer: item::get_parsed(item, WRITER)?,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Entry, Fleet, HostKey, NoticeId, Region, Timestamp};
    use uuid::Uuid;

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
    fn decode_inverts_encode() {
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
    fn decodes_what_version_0_1_0_wrote() {
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
    fn errors_name_the_attribute() {
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
    fn hosts_spread_over_all_shards_in_a_stable_way() {
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
    fn digests_receivers_and_fleets_have_keys_and_shards_of_their_own() {
        let id = NoticeId::of_bytes([7; 32]);
        let entry = stored("web-01").record;
        let transition = hb_domain::Transition {
            grace: None,
            epoch: 1,
            kind: hb_domain::Kind::Missing,
            since: Timestamp::MIN,
            last_beat: Timestamp::MIN,
            interval: hb_domain::Interval::default(),
            message: None,
            at: Timestamp::MIN,
            caveat: None,
            key: None,
            withdrawn: false,
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
        let item = encode(&Stored {
            record: FleetRecord::new(Fleet::main()),
            version: 1,
            writer: Uuid::nil(),
        })
        .unwrap();
        assert_eq!(
            (&item[HOST], &item[SHARD]),
            (&item::text("#fleet/main"), &item::number(19))
        );
    }
}
