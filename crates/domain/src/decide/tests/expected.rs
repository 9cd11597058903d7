//! Hosts whose first beat an admin expects.

use super::*;
use crate::inquiry::{Regions, decide_among};

/// A host that is expected since second 0, with what is stored for that as its last beat.
fn expected() -> Host {
    Host {
        entry: Entry::new(web()).expected(at(0)).unwrap(),
        heartbeat: Some(beat(0, Signal::Ok)),
        ..Host::default()
    }
}

fn live(story: &[Event]) -> Host {
    let mut host = expected();
    host.live(story);
    host
}

fn kinds(host: &Host) -> Vec<(Kind, i64)> {
    let history = host.entry.history.iter();
    history.map(|t| (t.kind, seconds(t.since))).collect()
}

#[test]
fn an_expected_host_is_missing_registered_or_failing() {
    type Case<'a> = (&'a [Event], &'a [(Kind, i64)]);
    let cases: [Case<'_>; 9] = [
        (&[Sweep(1), Sweep(60)], &[]),
        (&[Sweep(61)], &[(Kind::Missing, 60)]),
        (&[Good(30), Sweep(31), Sweep(61)], &[(Kind::Registered, 30)]),
        (&[Fail(30), Sweep(31)], &[(Kind::Failing, 30)]),
        (&[Good(30), Sweep(91)], &[(Kind::Missing, 90)]),
        (
            &[Sweep(61), Good(70), Sweep(71)],
            &[(Kind::Missing, 60), (Kind::Recovered, 70)],
        ),
        (
            &[Good(30), Sweep(31), Sweep(91)],
            &[(Kind::Registered, 30), (Kind::Missing, 90)],
        ),
        (&[Pause(10, Some(100)), Sweep(61), Sweep(159)], &[]),
        (&[Forget(10), Sweep(61)], &[]),
    ];
    for (story, transitions) in cases {
        assert_eq!(kinds(&live(story)), transitions, "{story:?}");
    }
}

#[test]
fn it_is_expected_until_people_know_that_it_was_heard() {
    let state = |story| {
        let host = live(story);
        (
            host.entry.state_at(at(99)),
            host.entry.settings.expected.is_some(),
        )
    };
    assert_eq!(state(&[]), (State::Expected, true));
    assert_eq!(state(&[Sweep(61)]), (State::Missing, true));
    assert_eq!(state(&[Good(30), Sweep(31)]), (State::Up, false));
    assert_eq!(state(&[Sweep(61), Good(70), Sweep(71)]), (State::Up, false));
    assert_eq!(state(&[Pause(1, None)]), (State::Paused, true));
}

#[test]
fn its_notice_says_that_it_was_never_heard() {
    let said = |story| {
        let host = live(story);
        let message = host.entry.history.last().unwrap().message.clone();
        message.map(String::from)
    };
    assert_eq!(
        said(&[Sweep(61)]).unwrap(),
        "never heard since it was expected on 2023-11-14T22:13:20Z"
    );
    assert_eq!(said(&[Good(30), Sweep(91)]), None, "it was heard");
}

#[test]
fn a_known_host_is_not_expected() {
    let registered = live(&[Good(30), Sweep(31)]).entry;
    assert_eq!(registered.expected(at(99)), None);
    let again = expected().entry.expected(at(99)).unwrap();
    assert_eq!(again.settings.expected, Some(at(99)));
    let forgotten = live(&[Good(30), Sweep(31), Forget(40)]).entry;
    assert!(forgotten.expected(at(99)).is_some());
}

#[test]
fn a_missing_notice_that_nobody_got_gives_way_to_the_registration() {
    let mut host = expected();
    host.deliver = false;
    host.live(&[Sweep(61), Good(62), Sweep(63)]);
    assert_eq!(kinds(&host), [(Kind::Missing, 60), (Kind::Registered, 62)]);
    assert!(host.entry.history[0].withdrawn);
}

#[test]
fn other_regions_are_asked_about_an_expected_host() {
    let (entry, heartbeat) = (expected().entry, beat(0, Signal::Ok));
    let region = |name: &str| name.parse::<Region>().unwrap();
    let regions = |home: &str, other: &str| Regions {
        home: region(home),
        living: vec![region(other)],
    };
    let home = region("a");
    let decide = |entry: &Entry, regions: &Regions| {
        let stored = Some((&heartbeat, &home));
        decide_among(entry, stored, at(61), &RULES, regions)
    };
    let asked = decide(&entry, &regions("a", "b")).unwrap();
    assert!(asked.inquiry.is_some() && asked.history.is_empty());
    let missing = decide(&asked, &regions("b", "a")).unwrap();
    assert_eq!(missing.state, State::Missing);
}
