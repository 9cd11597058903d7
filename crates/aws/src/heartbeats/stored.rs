//! How a heartbeat is stored: one item a host and region. Names have one letter, because a sweep pays for each byte.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use hb_domain::{Failure, Heartbeat, HostKey, Interval, Log, Message, Region, Run, RunId, Signal};
use hb_service::ports::Heard;

use crate::item::{self, Cause};
use crate::size::AttributeMap;

/// The partition key: the host, `fleet/host`.
pub(crate) const HOST: &str = "h";
/// The sort key: the region that received the beats.
pub(crate) const REGION: &str = "r";
/// The instant of the last beat.
pub(super) const LAST: &str = "l";
/// The interval sent with the last beat, in milliseconds.
pub(super) const INTERVAL: &str = "i";
/// Of this, the grace, in milliseconds.
pub(super) const GRACE: &str = "g";
/// Which run the last beat is about, a checksum; only when it said so.
pub(super) const RUN_ID: &str = "e";
/// When the last run began.
pub(super) const RUN: &str = "t";
/// How long it may take, in milliseconds.
pub(super) const RUN_LIMIT: &str = "n";
/// Its id, a checksum.
pub(super) const RUN_OF: &str = "q";
/// How long it took, in milliseconds, when a beat with its id has ended it.
pub(super) const RUN_TOOK: &str = "d";
/// When the host last wanted a message to be kept.
pub(super) const LOGGED: &str = "o";
/// That message.
pub(super) const LOG: &str = "p";
/// The instant of the first beat.
pub(super) const FIRST: &str = "f";
/// The signal of the last beat, if it was not ok.
pub(super) const SIGNAL: &str = "s";
/// The instant of the last failure.
pub(super) const FAILED: &str = "x";
/// The message of the last failure.
pub(super) const MESSAGE: &str = "m";

/// The key of the last beat.
pub(super) const KEY: &str = "k";
/// The address that the last beat came from: 4 bytes, or 16 of IPv6.
pub(super) const ADDRESS: &str = "a";
/// The interval of the first beat, in milliseconds.
pub(super) const FIRST_INTERVAL: &str = "b";

/// All attributes that a beat may write; the role of the ingest function allows no other.
pub const ATTRIBUTES: [&str; 19] = [
    HOST,
    REGION,
    LAST,
    INTERVAL,
    FIRST,
    SIGNAL,
    FAILED,
    MESSAGE,
    KEY,
    ADDRESS,
    FIRST_INTERVAL,
    GRACE,
    RUN_ID,
    RUN,
    RUN_LIMIT,
    RUN_OF,
    RUN_TOOK,
    LOGGED,
    LOG,
];

/// All attributes that a sweep may write; its role allows no other.
pub const MENDED: [&str; 5] = [HOST, REGION, LAST, FIRST, FAILED];

/// The value of [`SIGNAL`] for a failure.
const FAIL: &str = "f";

pub(super) fn key(host: &HostKey, region: &Region) -> AttributeMap {
    item::of([
        (HOST, item::text(host.to_string())),
        (REGION, item::text(region.as_str())),
    ])
}

/// The attributes that change with each newer beat; `None` for one that an item then lacks.
pub(super) fn newest_part(new: &Heartbeat) -> [(&'static str, Option<AttributeValue>); 7] {
    let fail = (new.signal == Signal::Fail).then(|| item::text(FAIL));
    [
        (LAST, Some(item::instant(new.last))),
        (INTERVAL, Some(item::number(new.interval.as_millis()))),
        (GRACE, new.grace.map(|grace| item::number(u64::from(grace)))),
        (RUN_ID, new.run_id.map(run_id)),
        (SIGNAL, fail),
        (KEY, new.key.map(|key| item::text(key.as_str()))),
        (ADDRESS, new.address.map(item::address)),
    ]
}

pub(super) fn run_id(id: RunId) -> AttributeValue {
    item::number(u64::from(id))
}

/// The attributes of the last run; `None` for one that an item then lacks.
pub(super) fn run_part(run: &Run) -> [(&'static str, Option<AttributeValue>); 4] {
    let millis = |took: Duration| item::number(took.as_millis());
    [
        (RUN, Some(item::instant(run.at))),
        (
            RUN_LIMIT,
            run.limit.map(|limit| item::number(limit.as_millis())),
        ),
        (RUN_OF, run.id.map(run_id)),
        (RUN_TOOK, run.took.map(millis)),
    ]
}

/// The item that a heartbeat makes of none.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn encode(heard: &Heard) -> AttributeMap {
    let mut item = key(&heard.key, &heard.region);
    let mut values = super::merge::Change::Hopeful.of(&heard.heartbeat).values;
    values.extend(super::merge::note(&heard.heartbeat).values);
    values.retain(|name, _| name.len() == 2);
    item.extend(
        values
            .into_iter()
            .map(|(name, value)| (name[1..].to_owned(), value)),
    );
    item
}

pub(crate) fn decode(item: &AttributeMap) -> Result<Heard, Cause> {
    let message = item::optional_text(item, MESSAGE)?.map(|text| Message::from(text.to_owned()));
    let logged = item::optional_text(item, LOG)?;
    let interval = Interval::from_millis(item::get_number(item, INTERVAL)?);
    Ok(Heard {
        key: item::get_host(item, HOST)?,
        region: item::get_parsed(item, REGION)?,
        heartbeat: Heartbeat {
            first: item::get_instant(item, FIRST)?,
            last: item::get_instant(item, LAST)?,
            interval: interval.map_err(|error| item::wrong(INTERVAL, error))?,
            grace: item::optional_millis(item, GRACE)?,
            signal: match item::optional_text(item, SIGNAL)? {
                None => Signal::Ok,
                Some(FAIL) => Signal::Fail,
                Some(other) => {
                    return Err(item::wrong(SIGNAL, format!("{other:?} is not a signal")));
                }
            },
            run_id: item::optional_millis(item, RUN_ID)?,
            run: decode_run(item)?,
            log: item::optional_instant(item, LOGGED)?.map(|at| Log {
                at,
                message: Message::from(logged.unwrap_or_default().to_owned()),
            }),
            failure: item::optional_instant(item, FAILED)?.map(|at| Failure { at, message }),
            key: item::optional_text(item, KEY)?
                .map(str::parse)
                .transpose()
                .map_err(|error| item::wrong(KEY, error))?,
            address: item::optional_address(item, ADDRESS)?,
            first_interval: item::optional_millis(item, FIRST_INTERVAL)?,
        }
        // No note, even if somebody wrote 0 as its last beat.
        .stored(),
    })
}

fn decode_run(item: &AttributeMap) -> Result<Option<Run>, Cause> {
    let Some(at) = item::optional_instant(item, RUN)? else {
        return Ok(None);
    };
    let took: Option<u64> = item::optional_millis(item, RUN_TOOK)?;
    Ok(Some(Run {
        at,
        limit: item::optional_millis(item, RUN_LIMIT)?,
        id: item::optional_millis(item, RUN_OF)?,
        took: took.map(Duration::from_millis),
    }))
}

#[cfg(test)]
mod tests {
    use hb_domain::{Beat, Fleet, Grace, KeyId, Timestamp};

    use super::encode as item;
    use super::*;
    use crate::size::item_size;

    fn heard(host: &str, signal: Signal, message: Option<&str>) -> Heard {
        let beat = Beat {
            interval: Interval::from_millis(31_535_999_999).unwrap(),
            signal,
            message: message.map(|text| Message::from(text.to_owned())),
            key: Some(KeyId::from_random([7; 7])),
            address: Some([203, 0, 113, 7].into()),
            ..Beat::ok(Timestamp::from_millis(1_700_000_000_123).unwrap())
        };
        Heard {
            key: HostKey::new(Fleet::main(), host.parse().unwrap()),
            region: "ap-southeast-1".parse().unwrap(),
            heartbeat: Heartbeat::new(beat),
        }
    }

    #[test]
    fn decode_inverts_encode() {
        for stored in [
            heard("web-01", Signal::Ok, None),
            heard("a/b", Signal::Fail, None),
            heard("a/b", Signal::Fail, Some("füll\n")),
            heard("a/b", Signal::Fail, Some("")),
        ] {
            assert_eq!(decode(&item(&stored)).unwrap(), stored);
        }
    }

    #[test]
    fn the_largest_item_has_exactly_the_listed_attributes() {
        let mut largest = heard("a/b", Signal::Fail, Some("disk full"));
        largest.heartbeat.grace = Some(Grace::default());
        largest.heartbeat.run_id = "a".parse().ok();
        largest.heartbeat.run = Some(Run {
            at: largest.heartbeat.last,
            limit: Some(Interval::default()),
            id: "b".parse().ok(),
            took: Some(Duration::ZERO),
        });
        largest.heartbeat.log = Some(Log {
            at: largest.heartbeat.last,
            message: Message::from("half done".to_owned()),
        });
        assert_eq!(decode(&item(&largest)).unwrap(), largest);
        let item = item(&largest);
        let mut listed = ATTRIBUTES.to_vec();
        listed.sort_unstable();
        let mut written: Vec<_> = item.keys().map(String::as_str).collect();
        written.sort_unstable();
        assert_eq!(written, listed);
    }

    #[test]
    fn decodes_what_version_0_1_0_wrote() {
        let n = |digits: &str| AttributeValue::N(digits.to_owned());
        let stored = item::of([
            ("h", item::text("lab/web/01")),
            ("r", item::text("eu-west-1")),
            ("l", n("1700000060000")),
            ("i", n("60000")),
            ("f", n("1690000000000")),
            ("s", item::text("f")),
            ("x", n("1700000060000")),
            ("m", item::text("disk full")),
        ]);
        let Heard {
            key,
            region,
            heartbeat,
        } = decode(&stored).unwrap();
        assert_eq!(
            (key.to_string().as_str(), region.as_str()),
            ("lab/web/01", "eu-west-1")
        );
        assert_eq!(heartbeat.first.as_millis(), 1_690_000_000_000);
        assert_eq!(
            (heartbeat.interval.as_millis(), heartbeat.signal),
            (60_000, Signal::Fail)
        );
        assert_eq!(
            heartbeat.failure.unwrap().message.unwrap().as_str(),
            "disk full"
        );
    }

    #[test]
    fn errors_name_the_attribute() {
        let good = item(&heard("web-01", Signal::Fail, None));
        let n = |digits: &str| AttributeValue::N(digits.to_owned());
        let cases = [
            ("h", item::text("no-slash")),
            ("h", item::text("Not A Fleet/web-01")),
            ("r", item::text("")),
            ("l", n("-1")),
            ("l", item::text("1")),
            ("i", n("0")),
            ("i", n("1.5")),
            ("f", n("1e300")),
            ("s", item::text("g")),
            ("s", n("1")),
            ("x", AttributeValue::Null(true)),
            ("m", n("1")),
        ];
        for (name, value) in cases {
            let mut bad = good.clone();
            bad.insert(name.to_owned(), value.clone());
            let error = decode(&bad).unwrap_err();
            assert!(
                error.starts_with(&format!("attribute {name}: ")),
                "{value:?}: {error}"
            );
        }
        for name in ["h", "r", "l", "i", "f"] {
            let mut bad = good.clone();
            bad.remove(name);
            assert_eq!(
                decode(&bad).unwrap_err(),
                format!("attribute {name}: missing")
            );
        }
    }

    #[test]
    fn an_item_has_at_most_128_bytes() {
        let usual = item_size(&item(&heard("web-01.prod1", Signal::Ok, None)));
        let failed = item_size(&item(&heard("web-01.prod1", Signal::Fail, None)));
        assert_eq!((usual, failed), (83, 94));
        let mut graced = heard("web-01.prod1", Signal::Fail, None);
        graced.heartbeat.grace = Grace::try_from(2_591_999_999).ok();
        assert_eq!(item_size(&item(&graced)), 101);
        let mut running = heard("nightly-job1", Signal::Ok, None);
        running.heartbeat.run = Some(Run {
            at: running.heartbeat.last,
            limit: Some(Interval::default()),
            id: "0190e8a1".parse().ok(),
            took: None,
        });
        assert_eq!(item_size(&item(&running)), 102);
        let long = item_size(&item(&heard(&"x".repeat(46), Signal::Fail, None)));
        assert!(long <= 128, "{long}");
    }
}
