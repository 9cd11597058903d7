use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::beat::{Beat, Interval, Message};
use crate::host::Fleet;
use crate::pending::Publication;

const RULES: Rules = Rules {
    skew: Duration::ZERO,
    coverage: Coverage {
        blackouts: Vec::new(),
        until: None,
        caveat: None,
    },
};

/// The stories' second 0, so that none happens in 1970.
const START: i64 = 1_700_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START + seconds) * 1_000).unwrap()
}

fn seconds(instant: Timestamp) -> i64 {
    instant.as_millis() / 1_000 - START
}

fn beat(seconds: i64, signal: Signal) -> Heartbeat {
    Heartbeat::new(Beat {
        at: at(seconds),
        interval: Interval::from_millis(60_000).unwrap(),
        signal,
        message: (signal == Signal::Fail).then(|| Message::from("disk full".to_owned())),
    })
}

fn web() -> HostKey {
    HostKey::new(Fleet::main(), "web-01".parse().unwrap())
}

/// The kinds told along a story of beats and sweeps, every notice accepted at once.
fn told(story: &[Event]) -> Vec<(Kind, i64)> {
    let mut host = Host::default();
    host.live(story);
    host.entry
        .history
        .iter()
        .map(|t| (t.kind, seconds(t.since)))
        .collect()
}

#[derive(Clone, Debug)]
enum Event {
    Ok(i64),
    Fail(i64),
    Sweep(i64),
    Pause(i64, Option<i64>),
    Resume(i64),
    Forget(i64),
    Interval(u64),
}
use Event::{Fail, Forget, Ok as Good, Pause, Resume, Sweep};

struct Host {
    entry: Entry,
    heartbeat: Option<Heartbeat>,
    deliver: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            entry: Entry::new(web()),
            heartbeat: None,
            deliver: true,
        }
    }
}

impl Host {
    fn beat(&mut self, heartbeat: Heartbeat) {
        self.heartbeat = Some(match self.heartbeat.take() {
            Some(kept) => kept.merge(heartbeat),
            None => heartbeat,
        });
    }

    fn live(&mut self, story: &[Event]) {
        for event in story {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: &Event) {
        let entry = self.entry.clone();
        match event {
            Good(s) => self.beat(beat(*s, Signal::Ok)),
            Fail(s) => self.beat(beat(*s, Signal::Fail)),
            Sweep(s) => {
                let next = self
                    .heartbeat
                    .as_ref()
                    .and_then(|beats| decide(&entry, beats, at(*s), &RULES));
                self.entry = next.unwrap_or(entry);
                if self.deliver {
                    self.entry.pending = None;
                }
            }
            Pause(s, until) => {
                self.entry = entry.clone().paused(at(*s), until.map(at)).unwrap_or(entry);
            }
            Resume(s) => self.entry = entry.resumed(at(*s)),
            Forget(s) => {
                self.entry = entry.forgotten(at(*s));
                self.heartbeat = None;
            }
            Event::Interval(millis) => {
                self.entry = entry.with_interval(Interval::from_millis(*millis).ok());
            }
        }
    }
}

#[test]
fn silence_is_told_once_and_so_is_the_return() {
    let story = [
        Good(0),
        Sweep(1),
        Good(30),
        Sweep(90),
        Sweep(91),
        Sweep(200),
        Good(300),
        Sweep(301),
        Sweep(302),
    ];
    assert_eq!(
        told(&story),
        [
            (Kind::Registered, 0),
            (Kind::Missing, 90),
            (Kind::Recovered, 300)
        ]
    );
}

#[test]
fn the_deadline_itself_is_still_in_time() {
    let silent = |s| {
        is_silent(
            &beat(0, Signal::Ok),
            &HostSettings::default(),
            at(s),
            &RULES,
        )
    };
    assert!(!silent(60) && silent(61));
    let skewed = Rules {
        skew: Duration::from_secs(5),
        ..RULES
    };
    assert!(!is_silent(
        &beat(0, Signal::Ok),
        &HostSettings::default(),
        at(65),
        &skewed
    ));
}

#[test]
fn a_beat_from_the_future_is_not_silence() {
    assert!(!is_silent(
        &beat(1_000, Signal::Ok),
        &HostSettings::default(),
        at(0),
        &RULES
    ));
}

#[test]
fn a_host_silent_before_any_sweep_is_missing() {
    assert_eq!(told(&[Good(0), Sweep(100)]), [(Kind::Missing, 60)]);
}

#[test]
fn a_fail_that_an_ok_follows_is_still_told() {
    let story = [
        Good(0),
        Sweep(1),
        Fail(10),
        Good(11),
        Sweep(12),
        Sweep(13),
        Sweep(14),
    ];
    assert_eq!(
        told(&story),
        [
            (Kind::Registered, 0),
            (Kind::Failing, 10),
            (Kind::Recovered, 11)
        ]
    );
}

#[test]
fn a_streak_of_fails_is_told_once_with_its_message() {
    let mut host = Host::default();
    host.live(&[Fail(0), Sweep(1), Fail(10), Sweep(11), Fail(20), Sweep(21)]);
    assert_eq!(host.entry.history.len(), 1);
    assert_eq!(
        host.entry.history[0].message.as_ref().unwrap().as_str(),
        "disk full"
    );
}

#[test]
fn failing_then_silent_and_silent_then_failing() {
    let story = [
        Fail(0),
        Sweep(1),
        Sweep(61),
        Fail(100),
        Sweep(101),
        Good(110),
        Sweep(111),
    ];
    let kinds = [
        (Kind::Failing, 0),
        (Kind::Missing, 60),
        (Kind::Failing, 100),
        (Kind::Recovered, 110),
    ];
    assert_eq!(told(&story), kinds);
}

#[test]
fn a_host_that_comes_back_and_failed_meanwhile_is_failing() {
    let an_ok_follows = [
        Good(0),
        Sweep(61),
        Fail(100),
        Good(101),
        Sweep(102),
        Sweep(103),
    ];
    let kinds = [
        (Kind::Missing, 60),
        (Kind::Failing, 100),
        (Kind::Recovered, 101),
    ];
    assert_eq!(told(&an_ok_follows), kinds);
    let in_a_pause = [
        Good(0),
        Sweep(61),
        Pause(62, None),
        Fail(63),
        Resume(65),
        Sweep(66),
    ];
    assert_eq!(
        told(&in_a_pause),
        [(Kind::Missing, 60), (Kind::Failing, 63)]
    );
    let mut new = Host::default();
    new.live(&[Forget(0), Pause(1, None), Fail(2), Resume(3), Sweep(4)]);
    assert_eq!(new.entry.state, State::Failing, "its last word");
}

#[test]
fn only_what_fails_has_the_hosts_message_and_only_silence_a_caveat() {
    let coverage = Coverage {
        caveat: Some(crate::transition::Caveat::ReceiverDown),
        ..Coverage::default()
    };
    let rules = Rules {
        skew: Duration::ZERO,
        coverage,
    };
    let said = |entry: &Entry, heartbeat: &Heartbeat, now| {
        let next = decide(entry, heartbeat, at(now), &rules).unwrap();
        let told = next.history.last().unwrap();
        (told.kind, told.message.is_some(), told.caveat.is_some())
    };
    let failed = beat(0, Signal::Fail);
    assert_eq!(
        said(&Entry::new(web()), &failed, 1),
        (Kind::Failing, true, false)
    );
    assert_eq!(
        said(&Entry::new(web()), &failed, 61),
        (Kind::Missing, false, true)
    );
    let known = Entry {
        state: State::Failing,
        failure: Some(at(0)),
        ..Entry::new(web())
    };
    let well = failed.merge(beat(10, Signal::Ok));
    assert_eq!(said(&known, &well, 11), (Kind::Recovered, false, false));
}

#[test]
fn a_pause_hides_silence_and_gives_a_full_interval_after_it() {
    let paused = [
        Good(0),
        Sweep(1),
        Pause(10, None),
        Sweep(100),
        Resume(200),
        Sweep(201),
        Sweep(260),
        Sweep(261),
    ];
    assert_eq!(told(&paused), [(Kind::Registered, 0), (Kind::Missing, 260)]);
    let expired = [
        Good(0),
        Sweep(1),
        Pause(10, Some(200)),
        Sweep(150),
        Sweep(259),
        Sweep(261),
    ];
    assert_eq!(
        told(&expired),
        [(Kind::Registered, 0), (Kind::Missing, 260)]
    );
}

#[test]
fn a_fail_during_a_pause_is_not_told_after_it() {
    let story = [
        Good(0),
        Sweep(1),
        Pause(2, None),
        Fail(3),
        Good(4),
        Resume(5),
        Sweep(6),
    ];
    assert_eq!(told(&story), [(Kind::Registered, 0)]);
}

#[test]
fn a_missing_host_that_is_paused_still_recovers_afterwards() {
    let story = [
        Good(0),
        Sweep(61),
        Pause(62, None),
        Good(63),
        Sweep(64),
        Resume(65),
        Sweep(66),
    ];
    assert_eq!(told(&story), [(Kind::Missing, 60), (Kind::Recovered, 63)]);
}

#[test]
fn a_forgotten_host_registers_again_under_the_next_epoch() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Forget(2), Sweep(3), Good(4), Sweep(5)]);
    let told: Vec<_> = host
        .entry
        .history
        .iter()
        .map(|t| (t.epoch, t.kind))
        .collect();
    assert_eq!(told, [(1, Kind::Registered), (2, Kind::Registered)]);
}

#[test]
fn a_beat_left_over_from_before_forgetting_registers_nobody() {
    let entry = Entry::new(web()).forgotten(at(10));
    assert_eq!(decide(&entry, &beat(9, Signal::Ok), at(11), &RULES), None);
}

#[test]
fn an_admins_interval_counts_instead_of_the_hosts() {
    let story = [
        Good(0),
        Sweep(1),
        Event::Interval(600_000),
        Sweep(599),
        Sweep(601),
    ];
    assert_eq!(told(&story), [(Kind::Registered, 0), (Kind::Missing, 600)]);
}

#[test]
fn what_a_scan_assumes_finds_every_candidate() {
    let (ok, fail) = (beat(1_000, Signal::Ok), beat(1_000, Signal::Fail));
    let finds = |heartbeat, last_sweep: Option<i64>, now| {
        decide(
            &Entry::assumed(&web(), heartbeat, last_sweep.map(at)),
            heartbeat,
            at(now),
            &RULES,
        )
        .is_some()
    };
    assert!(
        finds(&ok, None, 1_001),
        "nothing was swept yet: everybody is new"
    );
    assert!(
        finds(&ok, Some(990), 1_001),
        "first heard after the last sweep"
    );
    assert!(!finds(&ok, Some(2_000), 1_001), "known and beating");
    assert!(finds(&ok, Some(2_000), 1_061), "known and silent");
    assert!(
        finds(&fail, Some(1_010), 1_011) && !finds(&fail, Some(2_000), 1_011),
        "told already"
    );
}

fn event() -> impl Strategy<Value = (i64, u8)> {
    (1..120_i64, 0..12_u8)
}

proptest! {
    /// Over random histories with pauses, fails, forgetting and notices that stay pending for a while.
    #[test]
    fn transitions_keep_their_rules(events in prop::collection::vec(event(), 1..80)) {
        let (mut host, mut now) = (Host { deliver: false, ..Host::default() }, 0);
        for (step, what) in events {
            now += step;
            let before = host.entry.clone();
            prop_assert!(!before.needs_recheck || before.pending.is_none(), "what needs_recheck has nothing to tell");
            host.happen(&match what {
                0..=2 => Good(now),
                3 => Fail(now),
                4 => Pause(now, Some(now + 50)),
                5 => Resume(now),
                6 => Forget(now),
                7 => {
                    let told = before.clone().published(before.epoch, Uuid::nil(), 1, &Publication::Accepted, at(now));
                    host.entry = told.unwrap_or(before);
                    continue;
                }
                _ => Sweep(now),
            });
            let after = &host.entry;
            if after.epoch == before.epoch { continue; }
            let (told, beats) = (after.history.last().unwrap(), host.heartbeat.as_ref().unwrap());
            prop_assert_eq!(after.epoch, before.epoch + 1, "epochs rise by one");
            prop_assert_eq!((told.epoch, told.kind.leads_to()), (after.epoch, after.state));
            prop_assert!(before.pending.is_none() && after.pending.is_some(), "one notice at a time");
            prop_assert!(!before.settings.is_paused(at(now)), "nothing is told of a paused host");
            prop_assert_ne!(before.state, after.state, "only a change of state is told");
            if told.kind == Kind::Missing {
                prop_assert!(now > seconds(beats.last) + 60, "a beating host is never missing");
                prop_assert!(told.since < told.at);
            }
            if told.kind == Kind::Recovered {
                prop_assert!(matches!(before.state, State::Missing | State::Failing));
                prop_assert!(before.state == State::Failing || beats.last > before.basis);
            }
        }
    }

    /// Without fails and forgetting: registered at most first, then missing and recovered in turns.
    #[test]
    fn missing_and_recovered_alternate(events in prop::collection::vec(event(), 1..80)) {
        let (mut host, mut now, mut kinds) = (Host::default(), 0, Vec::new());
        for (step, what) in events {
            now += step;
            let epoch = host.entry.epoch;
            host.happen(&if what < 5 { Good(now) } else { Sweep(now) });
            if host.entry.epoch > epoch { kinds.push(host.entry.history.last().unwrap().kind); }
        }
        if kinds.first() == Some(&Kind::Registered) { kinds.remove(0); }
        for (i, kind) in kinds.into_iter().enumerate() {
            prop_assert_eq!(kind, if i % 2 == 0 { Kind::Missing } else { Kind::Recovered });
        }
    }
}

#[test]
fn a_copy_that_lags_behind_the_ledger_is_not_silence() {
    let known = Entry {
        state: State::Up,
        epoch: 3,
        basis: at(700),
        ..Entry::new(web())
    };
    assert_eq!(
        decide(&known, &beat(300, Signal::Ok), at(759), &RULES),
        None,
        "the ledger saw the beat at 700"
    );
    let told = decide(&known, &beat(300, Signal::Ok), at(761), &RULES).unwrap();
    let told = told.history.last().unwrap();
    assert_eq!(
        (told.kind, told.since, told.last_beat),
        (Kind::Missing, at(760), at(700))
    );
}

#[test]
fn a_copy_from_before_the_failure_is_no_recovery() {
    let known = Entry {
        state: State::Failing,
        epoch: 3,
        basis: at(700),
        ..Entry::new(web())
    };
    assert_eq!(
        decide(&known, &beat(690, Signal::Ok), at(710), &RULES),
        None
    );
    assert!(decide(&known, &beat(700, Signal::Ok), at(710), &RULES).is_some());
}

#[test]
fn a_failure_is_told_once_although_a_copy_without_it_decides_meanwhile() {
    let known = Entry {
        state: State::Failing,
        epoch: 2,
        basis: at(700),
        failure: Some(at(700)),
        ..Entry::new(web())
    };
    let recovered = decide(&known, &beat(740, Signal::Ok), at(750), &RULES).unwrap();
    let whole = beat(700, Signal::Fail).merge(beat(760, Signal::Ok));
    assert_eq!(
        decide(
            &Entry {
                pending: None,
                ..recovered
            },
            &whole,
            at(770),
            &RULES
        ),
        None
    );
}
