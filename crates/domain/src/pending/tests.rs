use super::*;
use crate::beat::{Beat, Heartbeat, Interval, Signal};
use crate::decide::{Rules, decide};
use crate::host::{Fleet, HostKey};

const POLICY: DeliveryPolicy = DeliveryPolicy {
    lease: Duration::from_secs(10),
    echo_wait: Duration::from_mins(3),
};
const ME: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1_000).unwrap()
}

fn pending() -> Entry {
    let beat = Beat {
        at: at(0),
        interval: Interval::default(),
        signal: Signal::Ok,
        message: None,
    };
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    decide(
        &Entry::new(key),
        &Heartbeat::new(beat),
        at(0),
        &Rules::default(),
    )
    .unwrap()
}

fn phase(entry: &Entry) -> &Phase {
    &entry.pending.as_ref().unwrap().phase
}

#[test]
fn only_one_sender_holds_the_lease() {
    let leased = pending().leased(ME, at(0), &POLICY).unwrap();
    assert_eq!(
        phase(&leased),
        &Phase::Sending {
            owner: ME,
            until: at(10)
        }
    );
    assert_eq!(
        leased.clone().leased(OTHER, at(189), &POLICY),
        None,
        "the echo may still come"
    );
    let second = leased.leased(OTHER, at(190), &POLICY).unwrap();
    assert_eq!(second.pending.unwrap().attempt, 2);
}

#[test]
fn an_acceptance_is_a_fact_whoever_holds_the_lease() {
    let taken = pending()
        .leased(ME, at(0), &POLICY)
        .unwrap()
        .leased(OTHER, at(200), &POLICY)
        .unwrap();
    let late = taken
        .clone()
        .published(1, ME, 1, &Publication::Accepted, at(201))
        .unwrap();
    assert_eq!(late.pending, None);
    for nothing in [
        Publication::Refused(String::new()),
        Publication::Unknown(String::new()),
    ] {
        assert_eq!(taken.clone().published(1, ME, 1, &nothing, at(201)), None);
    }
    assert_eq!(
        taken.published(2, OTHER, 2, &Publication::Accepted, at(201)),
        None,
        "another epoch"
    );
}

#[test]
fn refused_waits_a_pause_and_unknown_waits_for_the_echo() {
    let leased = pending().leased(ME, at(0), &POLICY).unwrap();
    let refused = leased
        .clone()
        .published(1, ME, 1, &Publication::Refused(String::new()), at(1))
        .unwrap();
    assert_eq!(phase(&refused), &Phase::Pending { not_before: at(3) });
    let unknown = leased
        .published(1, ME, 1, &Publication::Unknown(String::new()), at(1))
        .unwrap();
    assert_eq!(phase(&unknown), &Phase::Unknown { since: at(1) });
    assert_eq!(unknown.clone().leased(ME, at(180), &POLICY), None);
    assert!(unknown.leased(ME, at(181), &POLICY).is_some());
}

#[test]
fn a_lease_has_a_holder_until_it_is_over() {
    assert_eq!(pending().pending.unwrap().holder(at(0)), None);
    let leased = pending()
        .leased(ME, at(0), &POLICY)
        .unwrap()
        .pending
        .unwrap();
    assert_eq!(
        [9, 10, 11].map(|s| leased.holder(at(s))),
        [Some(ME), None, None]
    );
}

#[test]
fn nothing_is_given_to_a_digest_where_nothing_is_pending() {
    let told = pending().leased(ME, at(0), &POLICY).unwrap();
    assert!(pending().can_batch(at(0)) && !told.can_batch(at(0)));
    let told = told
        .published(1, ME, 1, &Publication::Accepted, at(1))
        .unwrap();
    assert!(!told.can_batch(at(1)));
}

#[test]
fn news_of_the_receiver_waits_for_the_notice_before_it() {
    let key = HostKey::new(Fleet::main(), crate::host::HostId::receiver());
    let says = || Some("deaf".to_owned().into());
    let degraded = Entry::new(key).of_receiver(says(), at(0)).unwrap();
    assert_eq!(
        (degraded.epoch, degraded.clone().of_receiver(None, at(1))),
        (1, None)
    );
    let told = degraded
        .published(1, ME, 1, &Publication::Accepted, at(1))
        .unwrap();
    assert_eq!(
        told.clone().of_receiver(says(), at(2)),
        None,
        "it is so already"
    );
    let over = told.of_receiver(None, at(3)).unwrap();
    assert_eq!((over.epoch, over.state), (2, crate::State::Up));
}
