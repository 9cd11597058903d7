use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::host::Fleet;
use crate::pending::{Acceptance, DeliveryPolicy, Publication};
use crate::time::Timestamp;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000).unwrap()
}

fn entry(state: State) -> Entry {
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    Entry {
        state,
        epoch: 3,
        basis: at(100),
        ..Entry::new(key)
    }
}

fn transition(last_beat: Timestamp) -> Transition {
    Transition {
        grace: None,
        epoch: 4,
        kind: Kind::Recovered,
        since: last_beat,
        last_beat,
        interval: Interval::default(),
        message: None,
        at: last_beat,
        caveat: None,
        key: None,
        withdrawn: false,
        accepted: None,
    }
}

#[test]
fn a_pause_ends_at_its_end() {
    let paused = entry(State::Up).paused(at(0), Some(at(10))).unwrap();
    assert_eq!(
        [9, 10].map(|s| paused.state_at(at(s))),
        [State::Paused, State::Up]
    );
    assert!(
        entry(State::Up)
            .paused(at(0), None)
            .unwrap()
            .settings
            .is_paused(at(1_000_000))
    );
    assert!(entry(State::Up).paused(at(10), Some(at(10))).is_err());
}

#[test]
fn entries_that_a_scan_cannot_assume_are_open() {
    let interval = Interval::try_from(Duration::from_mins(5)).ok();
    let [up, gone] = [State::Up, State::Forgotten].map(entry);
    assert!(!up.is_open() && !gone.is_open());
    for open in [
        entry(State::Missing),
        entry(State::Failing),
        Entry {
            needs_recheck: true,
            ..up.clone()
        },
        Entry {
            pending: Some(Pending::new(at(0))),
            ..up.clone()
        },
        Entry {
            inquiry: Some(Inquiry {
                last_beat: at(0),
                interval: Interval::default(),
                at: at(0),
                silent_in: BTreeSet::new(),
            }),
            ..up.clone()
        },
        up.clone().with_interval(interval),
        up.paused(at(0), None).unwrap(),
        Entry {
            needs_recheck: true,
            ..gone
        },
    ] {
        assert!(open.is_open(), "{open:?}");
    }
}

#[test]
fn a_forgotten_host_keeps_its_epoch_and_basis() {
    let known = entry(State::Missing).paused(at(0), None).unwrap();
    let known = Entry {
        pending: Some(Pending::new(at(0))),
        failure: Some(at(1)),
        history: vec![transition(at(0))],
        ..known
    };
    let gone = known.clone().forgotten(at(200));
    let expected = Entry {
        epoch: 3,
        basis: at(200),
        needs_recheck: true,
        ..Entry::new(known.key.clone())
    };
    assert_eq!(gone, expected);
    assert_eq!(
        known.forgotten(at(50)).basis,
        at(100),
        "a beat from a clock that is ahead"
    );
    let rechecked = gone.rechecked().unwrap();
    assert_eq!(
        (rechecked.needs_recheck, rechecked.clone().rechecked()),
        (false, None)
    );
    assert_eq!(rechecked.epoch, 3);
}

#[test]
fn a_transition_drops_a_pause_that_ended_before_the_last_beat() {
    let paused = |until| entry(State::Missing).paused(at(0), until).unwrap();
    let kept = |until: Option<i64>| {
        paused(until.map(at))
            .transit(transition(at(200)))
            .settings
            .pause
            .is_some()
    };
    let cases = [
        (Some(199), false),
        (Some(200), true),
        (Some(201), true),
        (None, true),
    ];
    for (until, expected) in cases {
        assert_eq!(
            kept(until),
            expected,
            "until {until:?}, and the last beat at 200"
        );
    }
}

#[test]
fn what_an_admin_acknowledged_is_not_reminded_of_until_people_know_that_it_is_over() {
    let now = at(0);
    let told = |kind: Kind| Transition {
        grace: None,
        epoch: 1,
        kind,
        since: now,
        last_beat: now,
        interval: Interval::default(),
        message: None,
        at: now,
        caveat: None,
        key: None,
        withdrawn: false,
        accepted: None,
    };
    let entry = |kind: Kind| {
        let entry = Entry::new(HostKey::new(
            "main".parse().unwrap(),
            "web".parse().unwrap(),
        ));
        let entry = entry.transit(told(kind));
        let pending = entry.clone();
        assert_eq!(pending.to_remind(now), None, "people do not know it yet");
        let leased = entry.leased(
            uuid::Uuid::nil(),
            now,
            &DeliveryPolicy {
                lease: Duration::ZERO,
                echo_wait: Duration::ZERO,
            },
        );
        leased
            .unwrap()
            .published(1, uuid::Uuid::nil(), 1, &Publication::Accepted, now)
            .unwrap()
    };
    assert_eq!(entry(Kind::Recovered).acknowledged(now, None), None);
    assert_eq!(entry(Kind::Recovered).to_remind(now), None);
    for kind in [Kind::Missing, Kind::Failing] {
        let trouble = entry(kind);
        assert!(trouble.to_remind(now).is_some());
        assert_eq!(
            trouble.clone().paused(now, None).unwrap().to_remind(now),
            None
        );
        let note = "on my way".parse().unwrap();
        let acknowledged = trouble.acknowledged(now, Some(note)).unwrap();
        assert_eq!(acknowledged.to_remind(now), None);
        let worse = acknowledged.clone().transit(Transition {
            epoch: 2,
            ..told(Kind::Failing)
        });
        assert!(worse.settings.acknowledged.is_some());
        let over = acknowledged.transit(Transition {
            epoch: 2,
            ..told(Kind::Recovered)
        });
        assert!(over.settings.acknowledged.is_some(), "it may be withdrawn");
        let acceptance = Acceptance {
            attempt: 1,
            at: now,
            digest: None,
        };
        assert_eq!(
            over.with_acceptance(acceptance, now).settings,
            HostSettings::default()
        );
    }
}
