use std::sync::LazyLock;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::beat::{Beat, Interval};
use crate::coverage::Blackout;
use crate::group::FleetRecord;
use crate::host::{Fleet, Region};
use crate::inquiry::Inquiry;
use crate::message::Message;
use crate::notice::Notice;
use crate::pending::{DeliveryPolicy, Pending, Publication};
use crate::schedule::Zone;
use crate::timing::Grace;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::default);

mod expected;
mod maintenance;

/// Second 0 of the stories, so that none happens in 1970.
const START: i64 = 1_700_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START + seconds) * 1_000).unwrap()
}

fn seconds(instant: Timestamp) -> i64 {
    instant.as_millis() / 1_000 - START
}

fn beat(seconds: i64, signal: Signal) -> Heartbeat {
    Heartbeat::new(Beat {
        interval: Interval::from_millis(60_000).unwrap(),
        signal,
        message: (signal == Signal::Fail).then(|| Message::from("disk full".to_owned())),
        ..Beat::ok(at(seconds))
    })
}

fn web() -> HostKey {
    HostKey::new(Fleet::main(), "web-01".parse().unwrap())
}

/// The transitions of a story of beats and sweeps, with every notice accepted at once.
fn transitions(story: &[Event]) -> Vec<(Kind, i64)> {
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
    /// With its maintenance windows.
    fleet: FleetRecord,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            entry: Entry::new(web()),
            heartbeat: None,
            deliver: true,
            fleet: FleetRecord::new(Fleet::main()),
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
                let rules = Rules {
                    maintenance: Arc::new(Maintenance::of([&self.fleet], at(*s))),
                    ..RULES.clone()
                };
                let next = self
                    .heartbeat
                    .as_ref()
                    .and_then(|beats| decide(&entry, beats, at(*s), &rules));
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

/// What people know already: the host is failing, and then missing, which says more.
#[test]
fn a_second_failure_of_a_failing_host_is_not_told_again_when_it_returns_from_silence() {
    let story = [
        Good(0),
        Sweep(1),
        Fail(10),
        Sweep(11),
        Good(20),
        Fail(21),
        Sweep(22),
        Sweep(200),
        Good(300),
        Sweep(301),
    ];
    let kinds: Vec<_> = transitions(&story)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::Registered,
            Kind::Failing,
            Kind::Missing,
            Kind::Recovered
        ]
    );
}

#[test]
fn silence_and_the_return_are_one_transition_each() {
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
        transitions(&story),
        [
            (Kind::Registered, 0),
            (Kind::Missing, 90),
            (Kind::Recovered, 300)
        ]
    );
}

#[test]
fn silence_counts_only_past_the_deadline_and_the_skew() {
    let up = Entry {
        state: State::Up,
        ..Entry::new(web())
    };
    let skewed = Rules {
        skew: Duration::from_secs(5),
        ..RULES.clone()
    };
    let punctual = RULES.clone();
    let silent = |last, now, rules| decide(&up, &beat(last, Signal::Ok), at(now), rules).is_some();
    assert!(!silent(0, 60, &punctual) && silent(0, 61, &punctual));
    assert!(!silent(0, 65, &skewed) && silent(0, 66, &skewed));
    assert!(!silent(1_000, 0, &punctual), "a beat from the future");
}

#[test]
fn a_host_silent_before_any_sweep_is_missing() {
    assert_eq!(transitions(&[Good(0), Sweep(100)]), [(Kind::Missing, 60)]);
}

#[test]
fn a_fail_followed_by_an_ok_is_still_a_transition() {
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
        transitions(&story),
        [
            (Kind::Registered, 0),
            (Kind::Failing, 10),
            (Kind::Recovered, 11)
        ]
    );
}

#[test]
fn repeated_fails_are_one_transition_with_the_first_message() {
    let mut host = Host::default();
    host.live(&[Fail(0), Sweep(1), Fail(10), Sweep(11), Fail(20), Sweep(21)]);
    assert_eq!(host.entry.history.len(), 1);
    assert_eq!(
        host.entry.history[0].message.as_ref().unwrap().as_str(),
        "disk full"
    );
}

#[test]
fn a_failing_host_goes_missing_and_a_missing_host_starts_failing() {
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
    assert_eq!(transitions(&story), kinds);
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
    assert_eq!(transitions(&an_ok_follows), kinds);
    let in_a_pause = [
        Good(0),
        Sweep(61),
        Pause(62, None),
        Fail(63),
        Resume(65),
        Sweep(66),
    ];
    assert_eq!(
        transitions(&in_a_pause),
        [(Kind::Missing, 60), (Kind::Failing, 63)]
    );
    let mut new = Host::default();
    new.live(&[Forget(0), Pause(1, None), Fail(2), Resume(3), Sweep(4)]);
    assert_eq!(new.entry.state, State::Failing, "its last signal");
}

#[test]
fn a_slow_host_that_was_silent_through_a_blackout_is_missing_with_a_caveat() {
    let blackout = Blackout {
        since: at(100),
        until: at(400),
    };
    let mut rules = Rules {
        coverage: Coverage {
            blackouts: vec![blackout],
            ..Coverage::default()
        },
        ..RULES.clone()
    };
    let caveat = |interval: u64, rules: &Rules| {
        let entry = Entry {
            state: State::Up,
            ..Entry::new(web())
        };
        let entry = entry.with_interval(Interval::from_millis(interval * 1_000).ok());
        let silent = decide(&entry, &beat(0, Signal::Ok), at(90_000), rules).unwrap();
        silent.history.last().unwrap().caveat.clone()
    };
    assert_eq!(caveat(3_601, &rules), Some(Caveat::Blackout(blackout)));
    assert_eq!(caveat(3_600, &rules), None);
    rules.coverage.caveat = Some(Caveat::ReceiverDown);
    assert_eq!(caveat(3_601, &rules), Some(Caveat::ReceiverDown));
}

#[test]
fn a_host_waits_for_a_beat_of_any_host_that_shows_the_network_works() {
    let missing = |interval: u64, newest: i64, now: i64| {
        let entry = Entry {
            state: State::Up,
            ..Entry::new(web())
        };
        let entry = entry.with_interval(Interval::from_millis(interval * 1_000).ok());
        let rules = Rules {
            newest_beat: Some(at(newest)),
            ..RULES.clone()
        };
        decide(&entry, &beat(0, Signal::Ok), at(now), &rules).is_some()
    };
    // Its deadline, and the end of its patience: an interval later, at most a minute.
    for (deadline, end) in [(20, 40), (60, 120), (600, 660)] {
        let interval = u64::try_from(deadline).unwrap();
        assert!(!missing(interval, deadline, deadline + 1));
        assert!(missing(interval, deadline + 1, deadline + 1));
        assert!(!missing(interval, deadline, end - 1));
        assert!(missing(interval, deadline, end));
    }
}

#[test]
fn only_failing_has_a_message_and_only_missing_a_caveat() {
    let coverage = Coverage {
        caveat: Some(crate::transition::Caveat::ReceiverDown),
        ..Coverage::default()
    };
    let rules = Rules {
        coverage,
        ..Rules::default()
    };
    let decided = |entry: &Entry, heartbeat: &Heartbeat, now| {
        let next = decide(entry, heartbeat, at(now), &rules).unwrap();
        let last = next.history.last().unwrap();
        (last.kind, last.message.is_some(), last.caveat.is_some())
    };
    let failed = beat(0, Signal::Fail);
    assert_eq!(
        decided(&Entry::new(web()), &failed, 1),
        (Kind::Failing, true, false)
    );
    assert_eq!(
        decided(&Entry::new(web()), &failed, 61),
        (Kind::Missing, false, true)
    );
    let known = Entry {
        state: State::Failing,
        failure: Some(at(0)),
        ..Entry::new(web())
    };
    let well = failed.merge(beat(10, Signal::Ok));
    assert_eq!(decided(&known, &well, 11), (Kind::Recovered, false, false));
}

#[test]
fn silence_counts_from_the_end_of_a_pause() {
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
    assert_eq!(
        transitions(&paused),
        [(Kind::Registered, 0), (Kind::Missing, 260)]
    );
    let expired = [
        Good(0),
        Sweep(1),
        Pause(10, Some(200)),
        Sweep(150),
        Sweep(259),
        Sweep(261),
    ];
    assert_eq!(
        transitions(&expired),
        [(Kind::Registered, 0), (Kind::Missing, 260)]
    );
}

#[test]
fn a_fail_during_a_pause_is_no_transition_after_it() {
    let story = [
        Good(0),
        Sweep(1),
        Pause(2, None),
        Fail(3),
        Good(4),
        Resume(5),
        Sweep(6),
    ];
    assert_eq!(transitions(&story), [(Kind::Registered, 0)]);
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
    assert_eq!(
        transitions(&story),
        [(Kind::Missing, 60), (Kind::Recovered, 63)]
    );
}

#[test]
fn a_forgotten_host_registers_again_under_the_next_epoch() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Forget(2), Sweep(3), Good(4), Sweep(5)]);
    let transitions: Vec<_> = host
        .entry
        .history
        .iter()
        .map(|t| (t.epoch, t.kind))
        .collect();
    assert_eq!(transitions, [(2, Kind::Registered)]);
}

#[test]
fn a_beat_from_before_forgetting_does_not_register() {
    let entry = Entry::new(web()).forgotten(at(10));
    assert_eq!(decide(&entry, &beat(9, Signal::Ok), at(11), &RULES), None);
}

#[test]
fn an_admins_interval_overrides_the_hosts() {
    let story = [
        Good(0),
        Sweep(1),
        Event::Interval(600_000),
        Sweep(599),
        Sweep(601),
    ];
    assert_eq!(
        transitions(&story),
        [(Kind::Registered, 0), (Kind::Missing, 600)]
    );
}

#[test]
fn the_entry_that_a_scan_assumes_finds_every_candidate() {
    let slow = |signal| Heartbeat {
        interval: Interval::from_millis(600_000).unwrap(),
        first_interval: None,
        ..beat(1_000, signal)
    };
    let raised = Heartbeat {
        first_interval: beat(0, Signal::Ok).first_interval,
        ..slow(Signal::Ok)
    };
    let (ok, slow, fail) = (
        beat(1_000, Signal::Ok),
        slow(Signal::Ok),
        slow(Signal::Fail),
    );
    let finds = |heartbeat, last_sweep: Option<i64>, now| {
        decide(
            &Entry::assumed(&web(), heartbeat, last_sweep.map(at), at(now)),
            heartbeat,
            at(now),
            &RULES,
        )
        .is_some()
    };
    assert!(
        finds(&ok, None, 1_001),
        "before the first sweep every host is new"
    );
    assert!(
        finds(&ok, Some(990), 1_001),
        "first beat after the last sweep"
    );
    assert!(!finds(&slow, Some(1_120), 1_130), "known and beating");
    assert!(
        finds(&raised, Some(1_120), 1_130),
        "known, and asks for more"
    );
    assert!(finds(&ok, Some(1_120), 1_130), "known and silent");
    assert!(
        finds(&fail, Some(1_010), 1_011) && !finds(&fail, Some(1_120), 1_130),
        "accounted for"
    );
}

/// What people know of the host, or are about to: the state of the last transition that was not withdrawn.
fn known(history: &[Transition]) -> State {
    let mut notified = history.iter().rev().filter(|last| !last.withdrawn);
    notified
        .next()
        .map_or(State::Forgotten, |last| last.kind.leads_to())
}

fn event() -> impl Strategy<Value = (i64, u8)> {
    (1..120_i64, 0..13_u8)
}

proptest! {
    /// Over random histories with pauses, fails, forgetting and notices that stay pending for a while.
    #[test]
    fn transitions_keep_their_rules(events in prop::collection::vec(event(), 1..80)) {
        let (mut host, mut now) = (Host { deliver: false, ..Host::default() }, 0);
        for (step, what) in events {
            now += step;
            let before = host.entry.clone();
            prop_assert!(!before.needs_recheck || before.pending.is_none(), "a recheck is never due while a notice is pending");
            host.happen(&match what {
                0..=2 => Good(now),
                3 => Fail(now),
                4 => Pause(now, Some(now + 50)),
                5 => Resume(now),
                6 => Forget(now),
                7 => {
                    let accepted = before.clone().published(before.epoch, Uuid::nil(), 1, &Publication::Accepted, at(now));
                    host.entry = accepted.unwrap_or(before);
                    continue;
                }
                8 if step % 2 == 0 => {
                    let refused = Publication::Refused(String::new());
                    let refused = before.clone().published(before.epoch, Uuid::nil(), 1, &refused, at(now));
                    host.entry = refused.unwrap_or(before);
                    continue;
                }
                8 => {
                    let policy = DeliveryPolicy { lease: Duration::from_mins(1), echo_wait: Duration::ZERO };
                    host.entry = before.clone().leased(Uuid::nil(), at(now), &policy).unwrap_or(before);
                    continue;
                }
                _ => Sweep(now),
            });
            let after = &host.entry;
            if after.epoch == before.epoch { continue; }
            let last = after.history.last().unwrap();
            let beats = host.heartbeat.as_ref().unwrap();
            prop_assert_eq!(after.epoch, before.epoch + 1, "epochs rise by one");
            prop_assert_eq!((last.epoch, last.kind.leads_to()), (after.epoch, after.state));
            prop_assert!(!before.settings.is_paused(at(now)), "a paused host has no transitions");
            let earlier = &after.history[..after.history.len() - 1];
            if let Some(pending) = &before.pending {
                prop_assert!(pending.is_untouched(), "what somebody may have is not withdrawn");
                prop_assert!(earlier.last().unwrap().withdrawn, "one notice at a time");
            }
            prop_assert_ne!(after.pending.is_some(), last.withdrawn, "either people get it or they do not");
            // Whatever was withdrawn, people are told when the host is not as they know, and only then.
            prop_assert_eq!(known(earlier) == after.state, last.withdrawn);
            if last.kind == Kind::Missing {
                prop_assert!(now > seconds(beats.last) + 60, "a beating host is never missing");
                prop_assert!(last.since < last.at);
            }
            if last.kind == Kind::Recovered {
                let from = if last.withdrawn { before.state } else { known(earlier) };
                prop_assert!(matches!(from, State::Missing | State::Failing));
                prop_assert!(from == State::Failing || beats.last > before.basis);
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

/// Each transition, with whether it was withdrawn; the story begins when the host is known, and ends with the pending notice.
fn withdrawals(story: &[Event]) -> (Vec<(Kind, bool)>, Option<Kind>) {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1)]);
    host.deliver = false;
    host.live(story);
    let pending = host.entry.pending.as_ref();
    let last = pending.and_then(|_| host.entry.history.last());
    let pending = last.map(|last| last.kind);
    let transitions = host.entry.history.iter().skip(1);
    let transitions = transitions.map(|last| (last.kind, last.withdrawn));
    (transitions.collect(), pending)
}

#[test]
fn a_silence_that_ends_before_its_notice_is_sent_is_withdrawn() {
    let (missing, recovered, failing) = (Kind::Missing, Kind::Recovered, Kind::Failing);
    assert_eq!(
        withdrawals(&[Sweep(61), Good(70), Sweep(71)]),
        (vec![(missing, true), (recovered, true)], None)
    );
    // Silent again, which is another silence.
    assert_eq!(
        withdrawals(&[Sweep(61), Good(70), Sweep(131)]),
        (vec![(missing, false)], Some(missing))
    );
    assert_eq!(
        withdrawals(&[Sweep(61), Good(70), Sweep(71), Sweep(131)]).1,
        Some(missing)
    );
    // It comes back and fails: people get that alone.
    assert_eq!(
        withdrawals(&[Sweep(61), Fail(70), Sweep(71)]),
        (vec![(missing, true), (failing, false)], Some(failing))
    );
}

#[test]
fn people_are_told_what_differs_from_what_they_know() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Fail(10), Sweep(11)]);
    host.deliver = false;
    let failing = host.entry.clone();
    // Failing as before.
    host.live(&[Sweep(71), Fail(80), Sweep(81)]);
    assert_eq!(
        (host.entry.state, &host.entry.pending),
        (State::Failing, &None)
    );
    // Well, which people do not know yet.
    let mut host = Host {
        entry: failing,
        ..host
    };
    host.live(&[Sweep(141), Good(150), Sweep(151)]);
    let expected = [
        Kind::Registered,
        Kind::Failing,
        Kind::Missing,
        Kind::Recovered,
    ];
    assert_eq!(kinds(&host), expected);
    assert!(host.entry.history[2].withdrawn && host.entry.pending.is_some());
    let text = Notice::of(&host.entry, &Region::local()).unwrap().text();
    assert!(text.contains("after 2 min 20 s failing"), "{text}");
    // A host of which they never heard is registered.
    let mut host = Host {
        deliver: false,
        ..Host::default()
    };
    host.live(&[Good(0), Sweep(61), Good(70), Sweep(71)]);
    assert_eq!(kinds(&host), [Kind::Missing, Kind::Registered]);
    assert!(host.entry.pending.is_some());
}

#[test]
fn a_registration_that_waits_holds_back_no_silence_and_no_failure() {
    for (event, kind) in [
        (Good(61), Kind::Registered),
        (Sweep(61), Kind::Missing),
        (Fail(40), Kind::Failing),
    ] {
        let mut host = Host {
            deliver: false,
            ..Host::default()
        };
        host.live(&[Good(0), Sweep(1), event, Sweep(62)]);
        let last = host.entry.history.last().unwrap();
        assert_eq!((last.kind, host.entry.pending.is_some()), (kind, true));
        assert_eq!(host.entry.history[0].withdrawn, kind != Kind::Registered);
    }
}

#[test]
fn a_failure_that_waits_is_told_before_anything_else() {
    let mut host = Host {
        deliver: false,
        ..Host::default()
    };
    host.live(&[Fail(0), Sweep(1), Good(10), Sweep(11), Sweep(100)]);
    assert_eq!(kinds(&host), [Kind::Failing]);
    // Of a host that people know as well.
    host.entry.pending = None;
    host.live(&[Good(110), Sweep(111)]);
    host.entry.pending = None;
    host.live(&[Fail(120), Sweep(121), Good(130), Sweep(131), Sweep(300)]);
    let expected = [Kind::Failing, Kind::Recovered, Kind::Failing];
    assert_eq!(kinds(&host), expected);
}

#[test]
fn an_interval_that_was_raised_is_told_after_what_was_more_urgent() {
    let mut host = raised_to(600_000);
    host.deliver = false;
    host.live(&[Sweep(61), Sweep(661)]);
    assert_eq!(
        kinds(&host),
        [Kind::Registered, Kind::Slowed, Kind::Missing]
    );
    host.deliver = true;
    host.beat(beat_every(700, 600_000));
    host.live(&[Sweep(701), Sweep(702)]);
    let told: Vec<_> = host
        .entry
        .history
        .iter()
        .filter(|last| !last.withdrawn)
        .collect();
    let told: Vec<_> = told.iter().map(|last| last.kind).collect();
    assert_eq!(told[1..], [Kind::Slowed]);
}

#[test]
fn what_people_know_is_kept_behind_any_number_of_withdrawn_transitions() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Fail(10), Sweep(11)]);
    host.deliver = false;
    for turn in 1..20 {
        let start = turn * 1_000;
        host.live(&[Sweep(start), Fail(start + 1), Sweep(start + 2)]);
        assert_eq!(
            (host.entry.state, &host.entry.pending),
            (State::Failing, &None)
        );
        assert_eq!(known(&host.entry.history), State::Failing);
    }
    assert_eq!(host.entry.history.len(), limits::HISTORY + 1);
}

#[test]
fn a_return_that_ends_before_its_notice_is_sent_is_withdrawn() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Sweep(61)]);
    host.deliver = false;
    host.live(&[Good(70), Sweep(71), Sweep(131)]);
    let last: Vec<_> = host.entry.history[2..]
        .iter()
        .map(|t| t.withdrawn)
        .collect();
    assert_eq!((host.entry.state, last), (State::Missing, vec![true, true]));
    assert_eq!(host.entry.pending, None);
    // What a sender has leased stays, also when it was refused.
    let policy = DeliveryPolicy {
        lease: Duration::from_secs(10),
        echo_wait: Duration::ZERO,
    };
    host.live(&[Good(140), Sweep(141)]);
    let leased = host
        .entry
        .clone()
        .leased(Uuid::nil(), at(142), &policy)
        .unwrap();
    let beats = host.heartbeat.unwrap();
    assert_eq!(decide(&leased, &beats, at(201), &RULES), None);
    let refused = Publication::Refused(String::new());
    let refused = leased
        .clone()
        .published(leased.epoch, Uuid::nil(), 1, &refused, at(143));
    assert_eq!(decide(&refused.unwrap(), &beats, at(201), &RULES), None);
}

#[test]
fn a_recovery_does_not_leave_while_other_regions_are_asked_whether_the_host_is_silent_again() {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1), Sweep(61)]);
    host.deliver = false;
    host.live(&[Good(70), Sweep(71)]);
    assert!(host.entry.waits_in_group(at(71)));
    host.entry.inquiry = Some(Inquiry {
        last_beat: at(70),
        interval: Interval::default(),
        at: at(131),
        silent_in: [Region::local()].into(),
    });
    assert!(!host.entry.waits_in_group(at(131)));
}

#[test]
fn a_recovery_that_waits_is_not_undone_by_a_raised_interval() {
    let mut host = raised_to(60_000);
    host.live(&[Sweep(61), Sweep(121)]);
    host.deliver = false;
    host.live(&[Good(130), Sweep(131)]);
    host.beat(beat_every(140, 600_000));
    host.live(&[Sweep(141)]);
    let expected = [Kind::Registered, Kind::Missing, Kind::Recovered];
    assert_eq!(kinds(&host), expected);
    assert!(host.entry.history.iter().all(|last| !last.withdrawn));
}

#[test]
fn a_host_that_flaps_must_beat_steadily_before_people_are_told_that_it_recovered() {
    let mut host = Host::default();
    let mut waits = Vec::new();
    for turn in 0..10 {
        let start = turn * 200;
        host.deliver = true;
        host.live(&[Good(start), Sweep(start + 61)]);
        host.deliver = false;
        host.live(&[Good(start + 100), Sweep(start + 101)]);
        let ready = host.entry.pending.as_ref().unwrap();
        let ready = ready.ready_at(&DeliveryPolicy {
            lease: Duration::ZERO,
            echo_wait: Duration::ZERO,
        });
        waits.push(seconds(ready.unwrap()) - start - 101);
        host.entry.pending = None;
    }
    assert_eq!(
        waits,
        [0, 0, 120, 240, 480, 960, 1_800, 1_800, 1_800, 1_800]
    );
    assert_eq!(host.entry.history.len(), limits::HISTORY_FLAPPING);
    // Quiet for an hour, it is as any other.
    host.deliver = true;
    host.live(&[Sweep(9_000), Good(9_001), Sweep(9_002)]);
    assert_eq!(host.entry.history.len(), limits::HISTORY);
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
    let missing = decide(&known, &beat(300, Signal::Ok), at(761), &RULES).unwrap();
    let last = missing.history.last().unwrap();
    assert_eq!(
        (last.kind, last.since, last.last_beat),
        (Kind::Missing, at(760), at(700))
    );
}

#[test]
fn a_copy_from_before_the_failure_does_not_recover_the_host() {
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
fn a_failure_is_one_transition_although_a_copy_without_it_decides_meanwhile() {
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

/// A host that beats every minute, and from second 60 on every `millis`.
fn raised_to(millis: u64) -> Host {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1)]);
    host.beat(beat_every(60, millis));
    host
}

fn beat_every(seconds: i64, millis: u64) -> Heartbeat {
    Heartbeat {
        interval: Interval::from_millis(millis).unwrap(),
        first_interval: None,
        ..beat(seconds, Signal::Ok)
    }
}

fn kinds(host: &Host) -> Vec<Kind> {
    host.entry.history.iter().map(|t| t.kind).collect()
}

#[test]
fn an_interval_that_was_raised_tenfold_is_notified_once() {
    for (millis, slowed) in [(599_999, false), (600_000, true), (86_400_000, true)] {
        let mut host = raised_to(millis);
        host.live(&[Sweep(61), Sweep(62)]);
        let expected = [Kind::Registered, Kind::Slowed];
        assert_eq!(kinds(&host), expected[..=usize::from(slowed)], "{millis}");
    }
    let mut host = raised_to(600_000);
    host.live(&[Sweep(61)]);
    let last = host.entry.history.last().unwrap();
    assert_eq!(
        (
            seconds(last.since),
            last.interval.as_millis(),
            last.message.as_ref().unwrap().as_str()
        ),
        (60, 600_000, "before, every 1 min")
    );
    assert_eq!(host.entry.state, State::Up);
    // Up and down below ten times of what people know.
    for (second, millis) in [(70, 60_000), (80, 5_999_999)] {
        host.beat(beat_every(second, millis));
        host.live(&[Sweep(second + 1)]);
    }
    assert_eq!(kinds(&host).len(), 2);
    host.beat(beat_every(90, 6_000_000));
    host.live(&[Sweep(91), Sweep(92)]);
    assert_eq!(kinds(&host)[2..], [Kind::Slowed]);
    let last = host.entry.history.last().unwrap();
    assert_eq!(
        last.message.as_ref().unwrap().as_str(),
        "before, every 10 min"
    );
}

#[test]
fn a_failure_and_a_silence_are_decided_before_a_raised_interval() {
    let mut host = raised_to(600_000);
    host.live(&[Sweep(661), Good(700), Sweep(701)]);
    assert_eq!(
        kinds(&host),
        [Kind::Registered, Kind::Missing, Kind::Recovered]
    );
    let mut host = raised_to(600_000);
    host.beat(Heartbeat {
        interval: Interval::from_millis(600_000).unwrap(),
        ..beat(65, Signal::Fail)
    });
    host.beat(beat_every(66, 600_000));
    host.live(&[Sweep(67), Sweep(68), Sweep(69)]);
    let expected = [
        Kind::Registered,
        Kind::Failing,
        Kind::Recovered,
        Kind::Slowed,
    ];
    assert_eq!(kinds(&host), expected);
}

#[test]
fn a_raised_interval_is_not_notified_where_an_admin_set_another_or_the_beat_is_old() {
    let mut host = raised_to(600_000);
    host.live(&[Event::Interval(60_000), Sweep(61)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
    let mut host = raised_to(600_000);
    host.entry.basis = at(61);
    host.live(&[Sweep(62)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
    let mut host = raised_to(600_000);
    host.live(&[Pause(60, None), Sweep(61)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
}

/// The heartbeat of a job that runs each night at 2 o'clock, after it ran at `at`.
fn nightly(at: Timestamp, signal: Signal) -> Heartbeat {
    let schedule = "0 2 * * *".parse().unwrap();
    let Timing { interval, grace } = Timing::by(&schedule, &Zone::default(), None, at);
    Heartbeat::new(Beat {
        interval,
        grace,
        scheduled: true,
        signal,
        ..Beat::ok(at)
    })
}

/// 2023-11-15T02:00:00Z.
const NIGHT: i64 = 13_600;

#[test]
fn a_job_is_missing_an_hour_after_its_next_time_by_its_own_schedule_or_that_of_an_admin() {
    let (day, hour) = (86_400, 3_600);
    let mut own = Host::default();
    own.beat(nightly(at(NIGHT + 600), Signal::Ok));
    let mut set = Host::default();
    set.beat(beat(NIGHT + 600, Signal::Ok));
    set.entry = set
        .entry
        .with_schedule("0 2 * * *".parse().unwrap(), Zone::default());
    for mut host in [own, set] {
        host.live(&[Sweep(NIGHT + 601), Sweep(NIGHT + day + hour)]);
        assert_eq!(kinds(&host), [Kind::Registered]);
        host.live(&[Sweep(NIGHT + day + hour + 1)]);
        let last = host.entry.history.last().unwrap();
        assert_eq!(
            (last.kind, seconds(last.since)),
            (Kind::Missing, NIGHT + day + hour)
        );
        assert_eq!(last.grace, Some(Grace::default()));
    }
}

#[test]
fn the_gaps_of_a_schedule_are_no_raised_interval() {
    let mut host = Host::default();
    // By hand, an hour before its time.
    host.beat(nightly(at(NIGHT - 3_600), Signal::Ok));
    host.live(&[Sweep(NIGHT - 3_599)]);
    host.beat(nightly(at(NIGHT + 60), Signal::Ok));
    host.live(&[Sweep(NIGHT + 61), Sweep(NIGHT + 62)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
    // But a job that beat every minute has raised it, and is told once.
    let mut host = Host::default();
    host.live(&[Good(NIGHT - 8_000), Sweep(NIGHT - 7_999)]);
    host.beat(nightly(at(NIGHT - 7_200), Signal::Ok));
    host.live(&[Sweep(NIGHT - 7_199)]);
    host.beat(nightly(at(NIGHT + 60), Signal::Ok));
    host.live(&[Sweep(NIGHT + 61)]);
    assert_eq!(kinds(&host), [Kind::Registered, Kind::Slowed]);
    // One of a year is.
    let mut yearly = nightly(at(NIGHT + 120), Signal::Ok);
    yearly.interval = Interval::at_most(limits::INTERVAL_MAX);
    host.beat(yearly);
    host.live(&[Sweep(NIGHT + 121)]);
    assert_eq!(kinds(&host)[2..], [Kind::Slowed]);
}

/// A host that is known, and a run of it that began at 10 s.
fn running(limit: Option<u64>, grace: Option<u64>) -> Host {
    let mut host = Host::default();
    let day = beat_every(0, 86_400_000);
    host.beat(Heartbeat {
        grace: grace.map(|grace| grace.try_into().unwrap()),
        ..day
    });
    host.live(&[Sweep(1)]);
    host.beat(Heartbeat::new(Beat {
        signal: Signal::Start,
        limit: limit.and_then(|limit| Interval::from_millis(limit).ok()),
        ..Beat::ok(at(10))
    }));
    host
}

#[test]
fn a_run_that_takes_longer_than_its_limit_or_the_grace_is_missing_until_it_ends() {
    for (limit, grace, until) in [(Some(60_000), Some(5_000), 70), (None, Some(60_000), 70)] {
        let mut host = running(limit, grace);
        host.live(&[Sweep(until)]);
        assert_eq!(kinds(&host), [Kind::Registered]);
        host.live(&[Sweep(until + 1), Sweep(until + 90)]);
        let last = host.entry.history.last().unwrap();
        assert_eq!((last.kind, seconds(last.since)), (Kind::Missing, until));
        let told = Notice::of(
            &Entry {
                pending: Some(Pending::new(at(0))),
                ..host.entry.clone()
            },
            &Region::local(),
        );
        assert_eq!(
            told.unwrap().text(),
            "MISSING web-01: the run since 2023-11-14T22:13:30Z takes longer than 1 min"
        );
        // Another one that begins is no sign that it recovered; its end is.
        host.beat(Heartbeat::new(Beat {
            signal: Signal::Start,
            ..Beat::ok(at(200))
        }));
        host.live(&[Sweep(201)]);
        assert_eq!(kinds(&host).len(), 2);
        host.beat(beat_every(210, 86_400_000));
        host.live(&[Sweep(211)]);
        assert_eq!(kinds(&host)[2..], [Kind::Recovered]);
    }
}

#[test]
fn a_run_without_any_limit_is_judged_by_the_interval() {
    let mut host = running(None, None);
    host.live(&[Sweep(86_400)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
    host.live(&[Sweep(86_401)]);
    let last = host.entry.history.last().unwrap();
    assert_eq!((last.kind, last.message.clone()), (Kind::Missing, None));
}

#[test]
fn a_run_of_which_the_ledger_knows_a_later_beat_is_not_judged() {
    let mut host = running(Some(60_000), None);
    host.entry.basis = at(30);
    host.live(&[Sweep(71)]);
    assert_eq!(kinds(&host), [Kind::Registered]);
}
