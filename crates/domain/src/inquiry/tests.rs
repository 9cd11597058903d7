use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::beat::Beat;
use crate::coverage::Coverage;
use crate::host::{Fleet, HostKey};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// A beat with an interval of a minute.
fn beat(seconds: i64, signal: Signal) -> Heartbeat {
    Heartbeat::new(Beat {
        interval: Interval::from_millis(60_000).unwrap(),
        signal,
        ..Beat::ok(at(seconds))
    })
}

fn rules() -> Rules {
    Rules {
        skew: Duration::from_secs(5),
        ..Rules::default()
    }
}

/// A host that is up since its beat at second 0.
fn up() -> Entry {
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    Entry {
        state: State::Up,
        epoch: 1,
        basis: at(0),
        ..Entry::new(key)
    }
}

/// What region `home` makes of `entry`, when what it stores is `last`, a beat that `heard_in` received.
fn sees(
    home: &str,
    entry: &Entry,
    (last, heard_in): (i64, &str),
    now: i64,
    living: &[&str],
) -> Option<Entry> {
    let (heartbeat, heard_in) = (beat(last, Signal::Ok), region(heard_in));
    let regions = Regions {
        home: region(home),
        living: living.iter().map(|name| region(name)).collect(),
    };
    let stored = Some((&heartbeat, &heard_in));
    decide_among(entry, stored, at(now), &rules(), &regions)
}

fn last_kind(entry: &Entry) -> Option<Kind> {
    entry.history.last().map(|last| last.kind)
}

#[test]
fn a_silent_host_is_missing_when_every_living_region_finds_it_silent() {
    assert_eq!(
        sees("us", &up(), (0, "eu"), 70, &["eu"]),
        None,
        "the region that heard it last asks"
    );
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    assert_eq!((asked.state, asked.epoch), (State::Up, 1));
    assert!(asked.is_open(), "the other region must find it");
    let waits = sees("eu", &asked, (0, "eu"), 130, &["us"]);
    assert_eq!(waits, None, "the others have yet to answer");
    let missing = sees("us", &asked, (0, "eu"), 130, &["eu"]).unwrap();
    let last = missing.history.last().unwrap();
    assert_eq!((last.kind, last.since), (Kind::Missing, at(60)));
    assert_eq!((last.last_beat, &last.caveat), (at(0), &None));
    assert_eq!(missing.inquiry, None);
}

#[test]
fn a_region_without_other_living_regions_decides_alone() {
    for heard_in in ["eu", "us"] {
        let missing = sees("eu", &up(), (0, heard_in), 70, &[]).unwrap();
        assert_eq!(last_kind(&missing), Some(Kind::Missing));
    }
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let missing = sees("eu", &asked, (0, "eu"), 130, &[]).unwrap();
    assert_eq!(last_kind(&missing), Some(Kind::Missing));
}

#[test]
fn three_regions_must_all_answer_and_a_dead_region_does_not_hinder_them() {
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us", "ap"]).unwrap();
    let half = sees("us", &asked, (0, "eu"), 71, &["eu", "ap"]).unwrap();
    assert_eq!((half.state, last_kind(&half)), (State::Up, None));
    let missing = sees("ap", &half, (0, "eu"), 72, &["eu", "us"]).unwrap();
    assert_eq!(last_kind(&missing), Some(Kind::Missing));
    // The region that heard the host last is dead: each of the others may ask.
    let asked = sees("us", &up(), (0, "eu"), 70, &["ap"]).unwrap();
    assert!(asked.inquiry.is_some());
}

#[test]
fn a_region_that_knows_a_newer_beat_withdraws_the_inquiry() {
    // The host has moved from eu to us, and nothing is copied.
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let withdrawn = sees("us", &asked, (50, "us"), 71, &["eu"]).unwrap();
    assert_eq!((&withdrawn.inquiry, withdrawn.basis), (&None, at(50)));
    let (state, epoch) = (withdrawn.state, withdrawn.epoch);
    assert_eq!((state, epoch), (State::Up, 1));
    let by_copy = |now| sees("eu", &withdrawn, (0, "eu"), now, &["us"]);
    assert_eq!(by_copy(115), None, "the entry has a newer basis");
    let inquiry = by_copy(116).unwrap().inquiry.unwrap();
    assert_eq!(inquiry.last_beat, at(50), "it asks about that one");
    // Now it is silent in us as well, which heard it last, and eu still has its old copy.
    let asked = sees("us", &withdrawn, (50, "us"), 116, &["eu"]).unwrap();
    let missing = sees("eu", &asked, (0, "eu"), 120, &["us"]).unwrap();
    let last = missing.history.last().unwrap();
    assert_eq!((last.kind, last.last_beat), (Kind::Missing, at(50)));
    // The same when the newer beat is a copy.
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let withdrawn = sees("eu", &asked, (6, "us"), 71, &["us"]).unwrap();
    assert_eq!((&withdrawn.inquiry, withdrawn.basis), (&None, at(6)));
}

#[test]
fn a_region_that_knows_a_longer_interval_of_the_last_beat_withdraws_the_inquiry() {
    // The host has moved from eu to us, beats every ten minutes since, and nothing is copied. Of its last beat eu knows
    // the instant only, from the entry.
    let moved = Entry {
        basis: at(50),
        ..up()
    };
    let asked = sees("eu", &moved, (0, "eu"), 120, &["us"]).unwrap();
    let regions = Regions {
        home: region("us"),
        living: vec![region("eu")],
    };
    let heartbeat = Heartbeat {
        interval: Interval::default(),
        ..beat(50, Signal::Ok)
    };
    let answers = |entry: &Entry, now: i64| {
        let stored = Some((&heartbeat, &regions.home));
        decide_among(entry, stored, at(now), &rules(), &regions)
    };
    let withdrawn = answers(&asked, 121).unwrap();
    assert_eq!((&withdrawn.inquiry, withdrawn.epoch), (&None, 1));
    // Once it is silent for so long, us agrees.
    let asked = sees("eu", &withdrawn, (0, "eu"), 660, &["us"]).unwrap();
    let missing = answers(&asked, 661).unwrap();
    let last = missing.history.last().unwrap();
    assert_eq!(
        (last.kind, last.interval),
        (Kind::Missing, Interval::default())
    );
}

#[test]
fn a_region_that_never_heard_the_host_agrees() {
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let regions = Regions {
        home: region("us"),
        living: vec![region("eu")],
    };
    let missing = decide_among(&asked, None, at(71), &rules(), &regions).unwrap();
    assert_eq!(last_kind(&missing), Some(Kind::Missing));
    assert_eq!(decide_among(&up(), None, at(71), &rules(), &regions), None);
}

#[test]
fn an_inquiry_names_the_interval_of_the_newest_beat() {
    let mut asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let hour = Interval::from_millis(3_600_000).unwrap();
    let inquiry = asked.inquiry.as_mut().unwrap();
    (inquiry.interval, inquiry.at) = (hour, at(3_600));
    assert_eq!(sees("us", &asked, (-60, "us"), 3_605, &["eu"]), None);
    let missing = sees("us", &asked, (-60, "us"), 3_606, &["eu"]).unwrap();
    assert_eq!(missing.history.last().unwrap().interval, hour);
}

#[test]
fn an_inquiry_without_an_answer_ends_after_five_minutes_with_a_caveat() {
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    assert_eq!(sees("eu", &asked, (0, "eu"), 370, &["us"]), None);
    let missing = sees("eu", &asked, (0, "eu"), 371, &["us"]).unwrap();
    let unreachable = Some(Caveat::RegionUnreachable(region("us")));
    let last = missing.history.last().unwrap();
    assert_eq!((last.kind, &last.caveat), (Kind::Missing, &unreachable));
    // What eu said so long ago is no answer either: us asks anew.
    let again = sees("us", &asked, (0, "eu"), 371, &["eu"]).unwrap();
    let silent_in = [region("us")].into();
    let inquiry = again.inquiry.clone().unwrap();
    assert_eq!((inquiry.at, inquiry.silent_in), (at(371), silent_in));
    let missing = sees("eu", &again, (0, "eu"), 372, &["us"]).unwrap();
    assert_eq!(missing.history.last().unwrap().caveat, None);
}

#[test]
fn a_new_host_is_registered_before_anyone_asks() {
    let new = Entry::new(up().key);
    let registered = sees("eu", &new, (10, "us"), 200, &["us"]).unwrap();
    assert_eq!(last_kind(&registered), Some(Kind::Registered));
    let missing = sees("eu", &new, (10, "us"), 200, &[]).unwrap();
    assert_eq!(last_kind(&missing), Some(Kind::Missing));
}

#[test]
fn a_failing_host_does_not_recover_while_its_silence_is_asked_about() {
    let failing = Entry {
        state: State::Failing,
        failure: Some(at(-30)),
        ..up()
    };
    let asked = sees("eu", &failing, (10, "eu"), 76, &["us"]).unwrap();
    assert_eq!(asked.state, State::Failing);
    let grace = Rules {
        coverage: Coverage::default().up_to(at(70)),
        ..rules()
    };
    let (heartbeat, heard_in) = (beat(5, Signal::Ok), region("eu"));
    let regions = |home, other| Regions {
        home: region(home),
        living: vec![region(other)],
    };
    let stored = Some((&heartbeat, &heard_in));
    let us = decide_among(&asked, stored, at(80), &grace, &regions("us", "eu"));
    assert_eq!(us, None, "it cannot tell yet");
    let eu = decide_among(&asked, stored, at(80), &grace, &regions("eu", "us")).unwrap();
    assert_eq!((eu.state, eu.inquiry), (State::Failing, None), "withdrawn");
}

#[test]
fn a_failure_left_undecided_does_not_keep_a_region_from_answering() {
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let stored = Heartbeat {
        failure: beat(-20, Signal::Fail).failure,
        ..beat(0, Signal::Ok)
    };
    let (eu, regions) = (
        region("eu"),
        Regions {
            home: region("us"),
            living: vec![region("eu")],
        },
    );
    let failing = decide_among(&asked, Some((&stored, &eu)), at(71), &rules(), &regions).unwrap();
    assert_eq!(last_kind(&failing), Some(Kind::Failing));
    assert_eq!((&failing.inquiry, failing.basis), (&None, at(0)));
    let asked = Entry {
        failure: Some(at(-20)),
        ..asked
    };
    let missing = decide_among(&asked, Some((&stored, &eu)), at(71), &rules(), &regions).unwrap();
    assert_eq!(last_kind(&missing), Some(Kind::Missing));
}

#[test]
fn a_change_by_an_admin_withdraws_the_inquiry() {
    let asked = sees("eu", &up(), (0, "eu"), 70, &["us"]).unwrap();
    let paused = asked.clone().paused(at(71), None).unwrap();
    for changed in [
        paused,
        asked.clone().with_interval(None),
        asked.clone().forgotten(at(71)),
    ] {
        assert_eq!(changed.inquiry, None);
    }
}

#[test]
fn a_recheck_is_done_when_every_living_region_has_looked_at_its_own_beats() {
    let due = Entry {
        needs_recheck: true,
        ..up()
    };
    let by = |entry: &Entry, home: &str, living: &[&str]| {
        entry.clone().rechecked_by(&Regions {
            home: region(home),
            living: living.iter().map(|name| region(name)).collect(),
        })
    };
    assert_eq!(by(&up(), "eu", &["us"]), None, "none is due");
    assert_eq!(by(&due, "eu", &[]), Some(up()), "the only region");
    let half = by(&due, "eu", &["us"]).unwrap();
    assert!(half.needs_recheck, "us may know of a failure");
    assert_eq!(by(&half, "eu", &["us"]), None, "it has yet to look");
    assert_eq!(by(&half, "us", &["eu"]), Some(up()));
    assert_eq!(
        by(&half, "eu", &[]),
        Some(up()),
        "us does not live any more"
    );
}

#[test]
fn a_region_judges_no_host_while_its_notice_is_pending() {
    let pending = sees("eu", &up(), (0, "eu"), 70, &[]).unwrap();
    let left = pending.with_failure_left(at(50), &region("us")).unwrap();
    let regions = Regions {
        home: region("eu"),
        living: vec![region("us")],
    };
    assert_eq!(left.rechecked_by(&regions), None);
}

#[test]
fn every_region_judges_a_host_again_that_recovered_from_failing() {
    // The host failed in us a moment ago, which was not news there.
    let failing = Entry {
        state: State::Failing,
        failure: Some(at(0)),
        ..up()
    };
    let recovered = sees("eu", &failing, (10, "eu"), 20, &["us"]).unwrap();
    assert_eq!(last_kind(&recovered), Some(Kind::Recovered));
    assert!(recovered.needs_recheck);
    let alone = sees("eu", &failing, (10, "eu"), 20, &[]).unwrap();
    assert!(!alone.needs_recheck, "it knows all failures");
}

#[test]
fn a_decision_of_one_region_leaves_the_recheck_of_another() {
    let missing = Entry {
        state: State::Missing,
        needs_recheck: true,
        ..up()
    };
    let recovered = sees("eu", &missing, (100, "eu"), 110, &["us"]).unwrap();
    assert_eq!(last_kind(&recovered), Some(Kind::Recovered));
    assert!(recovered.needs_recheck, "us may have received a failure");
    let alone = sees("eu", &missing, (100, "eu"), 110, &[]).unwrap();
    assert!(!alone.needs_recheck);
}

#[test]
fn a_failure_that_another_decision_left_keeps_the_entry_open() {
    let (eu, us) = (region("eu"), region("us"));
    let left = up().with_failure_left(at(50), &us).unwrap();
    assert!(left.is_open());
    assert_eq!(left.clone().with_failure_left(at(50), &us), None, "known");
    let regions = Regions {
        home: us.clone(),
        living: vec![eu],
    };
    let looked = left.rechecked_by(&regions).unwrap();
    let again = looked.with_failure_left(at(51), &us).unwrap();
    assert_eq!(again.rechecked_in, BTreeSet::new(), "us looks once more");
    let accounted = Entry {
        failure: Some(at(50)),
        ..up()
    };
    assert_eq!(accounted.with_failure_left(at(50), &us), None);
    let forgotten = up().forgotten(at(60));
    assert_eq!(forgotten.with_failure_left(at(61), &us), None);
}

/// What happens to a host in a test with two regions, which see each other's beats only when all are copied.
#[derive(Clone, Copy, Debug)]
enum Event {
    Beat(usize),
    Sweep(usize),
    Copy,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..2_usize).prop_map(Event::Beat),
        6 => (0..2_usize).prop_map(Event::Sweep),
        1 => Just(Event::Copy),
    ]
}

const NAMES: [&str; 2] = ["eu", "us"];

/// A host and what each region stores of it: the beats of both regions.
struct Story {
    entry: Entry,
    stored: [[Option<i64>; 2]; 2],
}

impl Story {
    fn sweep(&mut self, home: usize, now: i64) {
        let seen = self.stored[home].iter().zip(NAMES);
        let newest = seen.filter_map(|(last, name)| Some(((*last)?, name))).max();
        let living = [NAMES[1 - home]];
        let next = newest.and_then(|seen| sees(NAMES[home], &self.entry, seen, now, &living));
        if let Some(next) = next {
            self.entry = Entry {
                pending: None,
                ..next
            };
        }
    }
}

proptest! {
    /// However late the copies, a host is missing only after real silence, and real silence is found after one sweep of
    /// each region.
    #[test]
    fn copies_that_are_late_make_no_host_missing(events in prop::collection::vec((event(), 1..25_i64), 1..120)) {
        let mut story = Story { entry: up(), stored: [[Some(0), None], [Some(0), None]] };
        let (mut now, mut beats) = (0, vec![0]);
        for (event, pause) in events {
            now += pause;
            let epoch = story.entry.epoch;
            match event {
                Event::Beat(heard_in) => {
                    story.stored[heard_in][heard_in] = Some(now);
                    beats.push(now);
                }
                Event::Sweep(home) => story.sweep(home, now),
                Event::Copy => {
                    story.stored[0][1] = story.stored[1][1];
                    story.stored[1][0] = story.stored[0][0];
                }
            }
            if story.entry.epoch > epoch && story.entry.state == State::Missing {
                let last = story.entry.history.last().unwrap();
                let next = beats.iter().find(|beat| at(**beat) > last.last_beat);
                // A beat within the skew of the one that a region answered by is no news.
                let silent = next.is_none_or(|next| at(*next) > last.last_beat.plus(Duration::from_mins(1)));
                prop_assert!(silent || last.caveat.is_some(), "{last:?}, beats {beats:?}");
            }
        }
        let end = beats.last().unwrap() + 66;
        for sweep in 0..4 {
            story.sweep(sweep % 2, end.max(now) + i64::try_from(sweep).unwrap());
        }
        prop_assert_eq!(story.entry.state, State::Missing);
    }
}
