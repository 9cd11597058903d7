use super::*;
use crate::maintenance::{Times, Window};

/// A host that is known, whose notices wait, with a window that is open between these seconds.
fn with_window(since: i64, until: i64) -> Host {
    let mut host = Host::default();
    host.live(&[Good(0), Sweep(1)]);
    host.deliver = false;
    host.fleet.windows = vec![Window {
        id: "w".parse().unwrap(),
        host_prefixes: vec!["web".parse().unwrap()],
        times: Times::Once(Blackout {
            since: at(since),
            until: at(until),
        }),
        note: None,
    }];
    host
}

/// The kinds of all transitions but the first, with whether they were withdrawn.
fn decided(host: &Host) -> Vec<(Kind, bool)> {
    let transitions = host.entry.history.iter().skip(1);
    transitions
        .map(|last| (last.kind, last.withdrawn))
        .collect()
}

#[test]
fn no_silence_counts_in_a_window_and_after_it_there_is_time_to_beat_again() {
    let mut host = with_window(30, 600);
    host.live(&[Sweep(61), Sweep(599), Sweep(660)]);
    assert_eq!(decided(&host), []);
    host.live(&[Sweep(661)]);
    let last = host.entry.history.last().unwrap();
    assert_eq!((last.kind, seconds(last.since)), (Kind::Missing, 660));
    assert_eq!(last.caveat, None, "its beats could be received");
    assert_eq!(seconds(last.last_beat), 0);
}

#[test]
fn a_silence_that_was_too_long_before_the_window_is_decided_in_it() {
    let mut host = with_window(61, 600);
    host.live(&[Sweep(62)]);
    assert_eq!(decided(&host), [(Kind::Missing, false)]);
}

#[test]
fn a_failure_that_is_over_before_the_window_is_withdrawn() {
    let mut host = with_window(30, 600);
    host.live(&[Fail(40), Sweep(41)]);
    assert_eq!(decided(&host), [(Kind::Failing, false)]);
    host.live(&[
        Good(100),
        Sweep(101),
        Sweep(102),
        Sweep(600),
        Good(601),
        Sweep(602),
    ]);
    let withdrawn = [(Kind::Failing, true), (Kind::Recovered, true)];
    assert_eq!(decided(&host), withdrawn);
    assert!(host.entry.pending.is_none());
    // Another one is another one.
    host.live(&[Fail(610), Sweep(611)]);
    assert_eq!(decided(&host)[2..], [(Kind::Failing, false)]);
}

#[test]
fn a_failure_that_lasts_is_told_after_the_window_whatever_comes_then() {
    let mut host = with_window(30, 600);
    host.live(&[Fail(40), Sweep(41), Sweep(599), Good(600), Sweep(601)]);
    assert_eq!(decided(&host), [(Kind::Failing, false)]);
    assert!(host.entry.pending.is_some());
}

#[test]
fn a_new_host_that_fails_and_works_in_a_window_is_registered() {
    let mut host = with_window(0, 600);
    host.entry = Entry::new(web());
    host.heartbeat = None;
    host.live(&[Fail(40), Sweep(41), Good(50), Sweep(51)]);
    let kinds: Vec<_> = host
        .entry
        .history
        .iter()
        .map(|last| (last.kind, last.withdrawn))
        .collect();
    assert_eq!(kinds, [(Kind::Failing, true), (Kind::Registered, false)]);
}

#[test]
fn a_host_that_comes_back_in_a_window_has_recovered() {
    let mut host = with_window(100, 600);
    host.live(&[Sweep(61)]);
    host.entry.pending = None;
    host.live(&[Good(110), Sweep(111)]);
    assert_eq!(
        decided(&host),
        [(Kind::Missing, false), (Kind::Recovered, false)]
    );
}
