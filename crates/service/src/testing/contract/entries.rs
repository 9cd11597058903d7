use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use hb_domain::{DeliveryPolicy, Entry, Incarnation, Interval, Rules, Signal, decide};
use uuid::Uuid;

use super::{World, at, heard, host, missing};
use crate::ports::{PortError, Record, Segment, Stored, Swap, every_page};

const POLICY: DeliveryPolicy = DeliveryPolicy {
    lease: Duration::from_secs(10),
    echo_wait: Duration::ZERO,
};

fn writer(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Every member of an entry is stored and read back.
pub async fn an_entry_is_swapped_as_a_whole(world: World) {
    assert_eq!(
        world.ports.ledger.load(&host("web-01")).await.unwrap(),
        None
    );
    let failing = heard("web-01", "local", 0, Signal::Fail).heartbeat;
    let failing = decide(
        &Entry::new(host("web-01")),
        &failing,
        at(1),
        &Rules::default(),
    );
    let full = failing.unwrap().leased(writer(7), at(62), &POLICY).unwrap();
    let full = full
        .paused(at(63), Some(at(99)))
        .unwrap()
        .with_interval(Interval::from_millis(5_000).ok());
    let mut expected = None;
    for (n, entry) in [
        (1, missing("web-01")),
        (2, full.clone()),
        (3, full.forgotten(at(70))),
    ] {
        let Swap::Done(version) = world
            .ports
            .ledger
            .swap(&entry, expected, writer(n))
            .await
            .unwrap()
        else {
            panic!("there is no other writer");
        };
        let stored = world.ports.ledger.load(&host("web-01")).await.unwrap();
        assert_eq!(
            stored,
            Some(Stored {
                record: entry,
                version,
                writer: writer(n)
            })
        );
        expected = Some(version);
    }
}

/// A swap that expects another version changes nothing and returns the stored entry.
pub async fn a_swap_needs_the_expected_version(world: World) {
    let entry = missing("web-01");
    assert_eq!(
        world
            .ports
            .ledger
            .swap(&entry, Some(3), writer(1))
            .await
            .unwrap(),
        Swap::Conflict(None)
    );
    let Swap::Done(version) = world
        .ports
        .ledger
        .swap(&entry, None, writer(1))
        .await
        .unwrap()
    else {
        panic!("it is free")
    };
    let stored = Stored {
        record: entry.clone(),
        version,
        writer: writer(1),
    };
    for expected in [None, Some(version + 1)] {
        let other = entry.clone().forgotten(at(70));
        let swap = world
            .ports
            .ledger
            .swap(&other, expected, writer(2))
            .await
            .unwrap();
        assert_eq!(swap, Swap::Conflict(Some(stored.clone())));
    }
    assert_eq!(
        world.ports.ledger.load(&host("web-01")).await.unwrap(),
        Some(stored)
    );
}

/// Of 64 concurrent swaps one succeeds, for a new and for an existing entry; the others see the winner.
pub async fn one_of_64_concurrent_writers_wins(world: World) {
    let entry = missing("web-01");
    let mut expected = None;
    for round in 0..3_u128 {
        let swaps = (0..64).map(|n| {
            let (ledger, entry) = (world.ports.ledger.clone(), entry.clone());
            tokio::spawn(async move {
                ledger
                    .swap(&entry, expected, writer(round * 64 + n))
                    .await
                    .unwrap()
            })
        });
        let swaps: Vec<_> = join_all(swaps)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let won: Vec<_> = (0..)
            .zip(&swaps)
            .filter(|(_, swap)| matches!(swap, Swap::Done(_)))
            .collect();
        let [(winner, Swap::Done(version))] = won[..] else {
            panic!("{} writers won", won.len())
        };
        let winner = Stored {
            record: entry.clone(),
            version: *version,
            writer: writer(round * 64 + winner),
        };
        let conflict = Swap::Conflict(Some(winner));
        assert_eq!(swaps.iter().filter(|swap| **swap == conflict).count(), 63);
        expected = Some(*version);
    }
}

/// A writer that repeats a swap because the reply was lost finds its own token in the conflict.
pub async fn a_lost_reply_is_recognised(world: World) {
    let entry = missing("web-01");
    world
        .ports
        .ledger
        .swap(&entry, None, writer(1))
        .await
        .unwrap();
    let again = world
        .ports
        .ledger
        .swap(&entry, None, writer(1))
        .await
        .unwrap();
    assert!(matches!(again, Swap::Conflict(Some(stored)) if stored.writer == writer(1)));
}

/// Of all who draw an incarnation at the same time, one wins, and it is not drawn again.
pub async fn an_incarnation_is_drawn_once(world: World) {
    let drawn = |n| Incarnation { id: writer(n) };
    let ledger = &world.ports.incarnations;
    assert_eq!(ledger.load(drawn(1).key()).await.unwrap(), None);
    let done = ledger.swap(&drawn(1), None, writer(1)).await.unwrap();
    assert_eq!(done, Swap::Done(1));
    let lost = ledger.swap(&drawn(2), None, writer(2)).await.unwrap();
    assert!(matches!(lost, Swap::Conflict(Some(stored)) if stored.record == drawn(1)));
    let stored = ledger.load(drawn(2).key()).await.unwrap().unwrap();
    assert_eq!(stored.record, drawn(1));
    let (open, _) = every_page(|after| ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert!(open.is_empty());
}

/// The entry of a forgotten host whose beats are deleted.
fn gone(entry: Entry) -> Entry {
    entry.forgotten(at(70)).rechecked().unwrap()
}

/// Up and forgotten hosts without a pending notice are not listed; all others are listed once.
pub async fn only_open_entries_are_listed(world: World) {
    let entries: Vec<_> = (0..2_500)
        .map(|i| (i, missing(&format!("host-{i}"))))
        .map(|(i, entry)| if i % 5 == 0 { gone(entry) } else { entry })
        .collect();
    let swap = async |entry: &Entry| world.ports.ledger.swap(entry, None, writer(1)).await;
    stream::iter(&entries)
        .map(swap)
        .buffer_unordered(256)
        .for_each(async |swap| drop(swap.unwrap()))
        .await;
    let expected: BTreeSet<_> = entries
        .into_iter()
        .filter(Entry::is_open)
        .map(|entry| entry.key)
        .collect();
    let (open, unreadable) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!((open.len(), unreadable.len()), (2_000, 0));
    assert_eq!(
        open.into_iter()
            .map(|stored| stored.record.key)
            .collect::<BTreeSet<_>>(),
        expected
    );
    let recovered = world
        .ports
        .ledger
        .load(&host("host-1"))
        .await
        .unwrap()
        .unwrap();
    world
        .ports
        .ledger
        .swap(&gone(recovered.record), Some(recovered.version), writer(2))
        .await
        .unwrap();
    let (open, _) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(open.len(), 1_999, "a closed entry leaves the list");
}

/// One unreadable entry is named, and does not affect other hosts.
pub async fn unreadable_entries_are_reported_and_skipped(world: World) {
    for name in ["a", "b", "c"] {
        world
            .ports
            .ledger
            .swap(&missing(name), None, writer(1))
            .await
            .unwrap();
    }
    (world.spoil)(host("b")).await;
    let (open, unreadable) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!((open.len(), unreadable.len()), (2, 1));
    let error = world.ports.ledger.load(&host("b")).await.unwrap_err();
    assert!(
        matches!(error, PortError::Unreadable { .. }) && error.to_string().contains("main/b"),
        "{error}"
    );
}
