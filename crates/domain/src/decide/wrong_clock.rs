//! What a clock that was wrong leaves behind decides nothing, hides nothing, and is brought to now.

use proptest::prelude::*;

use super::*;
use crate::beat::{Beat, Interval};
use crate::host::Fleet;

const YEAR: i64 = 365 * 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

fn beat(seconds: i64, signal: Signal) -> Heartbeat {
    Heartbeat::new(Beat {
        interval: Interval::from_millis(60_000).unwrap(),
        signal,
        ..Beat::ok(at(seconds))
    })
}

fn entry(state: State, basis: i64, failure: Option<i64>) -> Entry {
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    Entry {
        state,
        epoch: 1,
        basis: at(basis),
        failure: failure.map(at),
        ..Entry::new(key)
    }
}

fn decided(entry: &Entry, heartbeat: &Heartbeat, now: i64) -> Option<(Kind, Timestamp)> {
    let entry = entry.clone().without_future(at(now));
    let next = decide(&entry, heartbeat, at(now), &Rules::default())?;
    assert!(
        !next.basis.is_ahead(at(now))
            && next.failure.is_none_or(|failed| !failed.is_ahead(at(now))),
        "a decision overwrites what the wrong clock wrote: {next:?}"
    );
    let last = next.history.last()?;
    Some((last.kind, last.since))
}

#[test]
fn silence_and_failures_are_seen_behind_an_entry_of_the_future() {
    use Signal::{Fail, Ok};
    let ahead = |state| entry(state, YEAR, Some(YEAR));
    let cases = [
        (State::Up, beat(0, Ok), Some((Kind::Missing, 60))),
        (State::Up, beat(90, Ok), None),
        (State::Up, beat(90, Fail), Some((Kind::Failing, 90))),
        (
            State::Up,
            beat(80, Fail).recorded(beat(90, Ok), at(90)),
            Some((Kind::Failing, 80)),
        ),
        (State::Missing, beat(90, Ok), Some((Kind::Recovered, 90))),
        (State::Failing, beat(90, Ok), Some((Kind::Recovered, 90))),
        (State::Forgotten, beat(90, Ok), Some((Kind::Registered, 90))),
    ];
    for (state, heartbeat, expected) in cases {
        let expected = expected.map(|(kind, since)| (kind, at(since)));
        assert_eq!(decided(&ahead(state), &heartbeat, 100), expected, "{state}");
    }
}

#[test]
fn a_beat_behind_one_of_the_future_counts_with_its_interval_and_signal() {
    let interval = Interval::from_millis(480_000).unwrap();
    let changed = Heartbeat {
        interval,
        ..beat(90, Signal::Fail)
    };
    // Written a second after it arrived.
    let kept = beat(YEAR, Signal::Ok).recorded(changed, at(91));
    let (last, signal) = (kept.last, kept.signal);
    assert_eq!(
        (last, signal, kept.interval),
        (at(90), Signal::Fail, interval)
    );
}

#[test]
fn a_sweep_of_the_future_shows_nothing() {
    let key = HostKey::new(Fleet::main(), "web-01".parse().unwrap());
    let assumed = |last_sweep| {
        let heartbeat = beat(-1_000, Signal::Ok);
        Entry::assumed(&key, &heartbeat, Some(at(last_sweep)), at(100)).state
    };
    assert_eq!(
        [99, 160, 161, YEAR].map(assumed),
        [State::Up, State::Up, State::Forgotten, State::Forgotten]
    );
}

/// What decides after the entry and then the heartbeat were brought to now.
fn after_mending(entry: &Entry, heartbeat: &Heartbeat, now: i64) -> Option<Kind> {
    let entry = entry
        .mended(heartbeat, at(now))
        .unwrap_or_else(|| entry.clone());
    let heartbeat = heartbeat.clone().as_of(at(now));
    decided(&entry, &heartbeat, now + 1).map(|(kind, _)| kind)
}

#[test]
fn mending_neither_repeats_a_notice_nor_loses_one() {
    let failed = |at: i64| beat(at, Signal::Fail).merge(beat(YEAR + 50, Signal::Ok));
    let cases = [
        // The beat that the entry was decided on is no recovery; a later one is.
        (
            entry(State::Missing, YEAR, None),
            beat(YEAR, Signal::Ok),
            None,
        ),
        (
            entry(State::Missing, YEAR, None),
            beat(YEAR + 1, Signal::Ok),
            Some(Kind::Recovered),
        ),
        (
            entry(State::Forgotten, YEAR, None),
            beat(YEAR, Signal::Ok),
            None,
        ),
        (
            entry(State::Forgotten, YEAR, None),
            beat(YEAR + 1, Signal::Ok),
            Some(Kind::Registered),
        ),
        // The failure that people were notified of is not reported again; a later one is.
        (entry(State::Up, YEAR, Some(YEAR)), failed(YEAR), None),
        (
            entry(State::Up, YEAR, Some(YEAR)),
            failed(YEAR + 1),
            Some(Kind::Failing),
        ),
        (
            entry(State::Up, 0, Some(0)),
            failed(YEAR),
            Some(Kind::Failing),
        ),
    ];
    for (entry, heartbeat, expected) in cases {
        let kind = after_mending(&entry, &heartbeat, 100);
        assert_eq!(kind, expected, "{entry:?} {heartbeat:?}");
    }
}

#[test]
fn only_instants_ahead_are_mended() {
    let heartbeat = beat(YEAR, Signal::Fail);
    let within = entry(State::Missing, 160, Some(160));
    assert_eq!(within.mended(&heartbeat, at(100)), None);
    let ahead = entry(State::Missing, 161, Some(161));
    let mended = ahead.mended(&heartbeat, at(100)).unwrap();
    let before = at(100).minus(Duration::from_millis(1));
    assert_eq!((mended.basis, mended.failure), (before, Some(before)));
    // A beat of a right clock is newer than the entry: the next decision overwrites that.
    assert_eq!(ahead.mended(&beat(90, Signal::Fail), at(100)), None);
}

#[test]
fn a_pause_that_a_wrong_clock_began_is_as_long_as_it_was() {
    let paused = |now, until: Option<i64>| {
        let entry = entry(State::Up, 0, None);
        entry.paused(at(now), until.map(at)).unwrap()
    };
    let ahead = paused(YEAR, Some(YEAR + 7_200));
    let mended = ahead.with_mended_pause(at(100)).unwrap();
    let ends = [7_299, 7_300].map(|seconds| mended.settings.is_paused(at(seconds)));
    assert_eq!(ends, [true, false]);
    assert_eq!(mended.with_mended_pause(at(100)), None);
    assert_eq!(paused(100, Some(YEAR)).with_mended_pause(at(100)), None);
    assert_eq!(paused(160, Some(YEAR)).with_mended_pause(at(100)), None);
    let open = paused(YEAR, None).with_mended_pause(at(100)).unwrap();
    assert!(open.settings.is_paused(at(2 * YEAR)));
}

proptest! {
    /// A silent host is missing an interval after now at the latest, and a beating host never, whatever a wrong clock wrote.
    #[test]
    fn silence_is_seen_within_the_interval_and_the_skew(
        last in -10_000..2 * YEAR,
        basis in -10_000..2 * YEAR,
        failure in prop::option::of(-10_000..2 * YEAR),
        beats in any::<bool>(),
    ) {
        let state = entry(State::Up, basis, failure);
        let heartbeat = beat(last, Signal::Ok);
        let mended = state.mended(&heartbeat, at(0)).unwrap_or(state);
        let mut heartbeat = heartbeat.as_of(at(0));
        if beats {
            heartbeat = heartbeat.recorded(beat(100, Signal::Ok), at(100));
        }
        let missing = decided(&mended, &heartbeat, 121).is_some_and(|(kind, _)| kind == Kind::Missing);
        prop_assert_eq!(missing, !beats);
    }
}
