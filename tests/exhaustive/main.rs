//! All interleavings of a few sweeps over a few hosts, with every crash, pause and lost reply in every place.
//!
//! The rules are those of production; only the order of a sweep's steps is written down anew (`sweep.rs`), so that a
//! state is a value. `cargo test -p hb-exhaustive -- --nocapture` prints how many states there are;
//! `cargo test --release -p hb-exhaustive -- --ignored --nocapture` goes through the large ones.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it saw")]

mod record;
mod search;
mod sweep;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hb_domain::{Entry, Fleet, HostKey, Kind, Rules, decide};

use crate::record::{HOUR, Heard, Record, Subject, now};
use crate::search::{Extent, Model, search};
use crate::sweep::{Process, turn};
use crate::world::{Budget, Step, Stored, World};

/// What is gone through.
struct Setting {
    hosts: u8,
    processes: usize,
    /// Whether their silence is claimed already, as by a process that then crashed.
    claimed: bool,
    /// Beats that come some time after the hosts fell silent; see [`World::script`].
    script: &'static [bool],
    budget: Budget,
}

const NOTHING: Budget = Budget {
    crashes: 0,
    pauses: 0,
    unknown: 0,
    refused: 0,
    lost_replies: 0,
    late_echoes: 0,
    echo_outages: 0,
    digests: 0,
};

impl Model for Setting {
    type State = World;
    type Step = Step;

    /// Hosts that were up, and are silent past their deadline.
    fn start(&self) -> World {
        let heard = Heard { last: now().minus(HOUR), failed: None, signal_is_ok: true };
        let entry = |host: u8| {
            let key = HostKey::new(Fleet::main(), host.to_string().parse().unwrap());
            let mut entry = Entry::assumed(&key, &heard.heartbeat(), Some(now()));
            entry.basis = heard.last;
            let entry = Entry { failure: None, ..entry };
            let claim = self.claimed.then(|| decide(&entry, &heard.heartbeat(), now(), &Rules::default()));
            Record::from(claim.flatten().unwrap_or(entry))
        };
        let stored = |host| Arc::new(Stored { record: entry(host), version: 1 });
        World {
            store: (0..self.hosts).map(|host| (Subject::Host(host), stored(host))).collect(),
            heard: vec![heard; self.hosts.into()],
            script: self.script,
            silent: true,
            echoes: Vec::new(),
            processes: vec![Process::new(); self.processes],
            left: self.budget,
            copies: BTreeSet::new(),
            told: BTreeSet::new(),
            overdue: BTreeSet::new(),
            late: BTreeMap::new(),
            counted: BTreeSet::new(),
            decided: vec![self.claimed.then_some(Kind::Missing).into_iter().collect(); self.hosts.into()],
            violation: None,
        }
    }

    fn next(&self, world: &World) -> Vec<(Step, World)> {
        let mut next = world.outside();
        (0..).zip(&world.processes).for_each(|(me, _)| next.extend(turn(world, me)));
        next
    }

    fn wrong(&self, world: &World) -> Option<String> {
        world.wrong()
    }

    fn is_settled(&self, world: &World) -> bool {
        world.is_settled()
    }
}

/// Goes through all of `setting`, and fails if it is smaller than `least` states: then it shows less than it says.
fn all(what: &str, setting: &Setting, least: usize) {
    let Extent { states, transitions, settled, depth } =
        search(setting).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    println!("{what}: {states} states, {transitions} transitions, {settled} settled, depth {depth}");
    assert!(states >= least, "{what}: {states} states are too few");
}

#[test]
fn two_senders_crash_and_lose_replies() {
    let budget = Budget { crashes: 2, unknown: 2, ..NOTHING };
    all("2 senders", &Setting { hosts: 1, processes: 2, claimed: false, script: &[], budget }, 20_000);
}

#[test]
fn three_senders_crash_and_lose_replies() {
    let budget = Budget { crashes: 2, unknown: 2, ..NOTHING };
    all("3 senders", &Setting { hosts: 1, processes: 3, claimed: false, script: &[], budget }, 20_000);
}

#[test]
fn two_senders_are_paused_and_refused_and_lose_replies_of_the_store() {
    let budget = Budget { pauses: 2, refused: 1, lost_replies: 2, unknown: 1, ..NOTHING };
    all(
        "2 senders, paused",
        &Setting { hosts: 1, processes: 2, claimed: false, script: &[], budget },
        10_000,
    );
}

#[test]
fn a_late_echo_costs_a_second_copy_that_says_so_and_no_more() {
    let budget = Budget { crashes: 1, unknown: 2, late_echoes: 2, echo_outages: 1, ..NOTHING };
    all(
        "2 senders, late echoes",
        &Setting { hosts: 1, processes: 2, claimed: false, script: &[], budget },
        10_000,
    );
}

#[test]
fn recovered_never_overtakes_missing() {
    let budget = Budget { crashes: 1, ..NOTHING };
    let setting = Setting { hosts: 1, processes: 2, claimed: false, script: &[true], budget };
    all("2 senders, 2 transitions", &setting, 10_000);
}

#[test]
#[ignore = "large"]
fn four_transitions_follow_each_other() {
    let budget = Budget { crashes: 1, unknown: 1, ..NOTHING };
    all(
        "2 senders, 4 transitions",
        &Setting { hosts: 1, processes: 2, claimed: false, script: &[false, true], budget },
        10_000,
    );
}

#[test]
#[ignore = "large"]
fn four_transitions_and_three_senders() {
    let budget = Budget { crashes: 1, unknown: 1, ..NOTHING };
    all(
        "3 senders, 4 transitions",
        &Setting { hosts: 1, processes: 3, claimed: false, script: &[false, true], budget },
        100_000,
    );
}

#[test]
fn a_builder_of_digests_that_crashes_or_pauses_loses_no_host() {
    let budget = Budget { crashes: 1, pauses: 1, digests: 1, ..NOTHING };
    let setting = Setting { hosts: 2, processes: 2, claimed: true, script: &[], budget };
    all("a digest, 2 hosts", &setting, 1_000_000);
}

#[test]
#[ignore = "large"]
fn two_builders_of_digests_crash() {
    let budget = Budget { crashes: 1, digests: 2, ..NOTHING };
    all("digests, 2 hosts", &Setting { hosts: 2, processes: 2, claimed: true, script: &[], budget }, 10_000);
}

#[test]
#[ignore = "large"]
fn a_paused_builder_of_digests_loses_no_host() {
    let budget = Budget { pauses: 1, digests: 2, ..NOTHING };
    all(
        "digests, 2 hosts, paused",
        &Setting { hosts: 2, processes: 2, claimed: true, script: &[], budget },
        10_000,
    );
}

#[test]
fn a_digest_is_told_once_while_the_queue_of_echoes_cannot_be_reached() {
    let budget = Budget { unknown: 1, echo_outages: 1, digests: 1, ..NOTHING };
    all("digests, no echoes", &Setting { hosts: 2, processes: 1, claimed: true, script: &[], budget }, 5_000);
}

#[test]
#[ignore = "large"]
fn three_hosts_and_a_paused_builder() {
    let budget = Budget { pauses: 1, digests: 2, ..NOTHING };
    all(
        "digests, 3 hosts, paused",
        &Setting { hosts: 3, processes: 2, claimed: true, script: &[], budget },
        100_000,
    );
}
