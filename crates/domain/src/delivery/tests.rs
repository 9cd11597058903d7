use std::time::Duration;

use super::*;
use crate::backoff::pause;
use crate::beat::{Beat, Heartbeat};
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
    let beat = Beat::ok(at(0));
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
fn an_acceptance_counts_whoever_holds_the_lease() {
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
fn a_refusal_waits_for_the_pause_and_an_unknown_outcome_for_the_echo() {
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
fn a_lease_has_a_holder_until_it_ends() {
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
fn a_digest_takes_only_a_pending_notice() {
    let leased = pending().leased(ME, at(0), &POLICY).unwrap();
    assert!(pending().can_batch(at(0)) && !leased.can_batch(at(0)));
    let accepted = leased
        .published(1, ME, 1, &Publication::Accepted, at(1))
        .unwrap();
    assert!(!accepted.can_batch(at(1)));
}

#[test]
fn the_receivers_next_transition_waits_for_its_pending_notice() {
    let key = HostKey::new(Fleet::main(), crate::host::HostId::receiver());
    let trouble = || Some("no canary".to_owned().into());
    let degraded = Entry::new(key).of_receiver(trouble(), at(0)).unwrap();
    assert_eq!(
        (degraded.epoch, degraded.clone().of_receiver(None, at(1))),
        (1, None)
    );
    let accepted = degraded
        .published(1, ME, 1, &Publication::Accepted, at(1))
        .unwrap();
    assert_eq!(
        accepted.clone().of_receiver(trouble(), at(2)),
        None,
        "it is so already"
    );
    let over = accepted.of_receiver(None, at(3)).unwrap();
    assert_eq!((over.epoch, over.state), (2, crate::State::Up));
}

#[test]
fn a_notice_with_instants_of_a_wrong_clock_is_delivered() {
    const YEAR: i64 = 365 * 86_400;
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    let beats = Heartbeat::new(Beat::ok(at(YEAR)));
    let decided = decide(&Entry::new(key), &beats, at(YEAR), &Rules::default()).unwrap();
    assert!(decided.can_batch(at(0)));
    assert!(decided.clone().leased(ME, at(0), &POLICY).is_some());
    // A pause after a refusal is not of a wrong clock, however long it is.
    let refused = |attempt: u32, now: i64| {
        let mut entry = decided.clone();
        let not_before = at(now).plus(pause(attempt, 0));
        entry.pending = Some(Pending {
            phase: Phase::Pending { not_before },
            attempt,
            doubt: false,
            incarnation: None,
        });
        entry.can_batch(at(0))
    };
    for attempt in [1, 9, 99] {
        assert_eq!([60, 61].map(|now| refused(attempt, now)), [false, true]);
    }
}

/// It is not known how long its notice was pending.
#[test]
fn a_host_that_a_wrong_clock_judged_is_judged_once_more() {
    for (judged, expected) in [(0, false), (60, false), (61, true), (-60, true)] {
        let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
        let now = at(100);
        let judged = at(100 + judged);
        let beats = Heartbeat::new(Beat::ok(judged));
        let decided = decide(&Entry::new(key), &beats, judged, &Rules::default()).unwrap();
        assert_eq!(
            decided.accepted_alone(1, now).needs_recheck,
            expected,
            "{judged}"
        );
    }
}

#[test]
fn a_lease_of_a_wrong_clock_is_of_unknown_outcome_from_now_on() {
    let mend = |phase| {
        Pending {
            phase,
            attempt: 1,
            doubt: false,
            incarnation: None,
        }
        .mended(at(0), &POLICY)
    };
    let unknown = Some(Phase::Unknown { since: at(0) });
    for (until, expected) in [(10, None), (70, None), (71, unknown.clone())] {
        let sending = Phase::Sending {
            owner: ME,
            until: at(until),
        };
        assert_eq!(mend(sending).map(|pending| pending.phase), expected);
    }
    for (since, expected) in [(60, None), (61, unknown)] {
        let phase = Phase::Unknown { since: at(since) };
        assert_eq!(mend(phase).map(|pending| pending.phase), expected);
    }
    assert_eq!(
        mend(Phase::Pending {
            not_before: at(999)
        }),
        None
    );
}
