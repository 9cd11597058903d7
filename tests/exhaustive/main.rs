//! Searches all interleavings of a few sweeps over a few hosts, with crashes, pauses and lost replies at every step.
//!
//! The rules are those of production; only the order of a sweep's steps is modelled here (`sweep.rs`), so that a state is
//! a value. `cargo test -p hb-exhaustive -- --nocapture` prints the number of states;
//! `cargo test --release -p hb-exhaustive -- --ignored --nocapture` runs the large searches.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the number of states is part of the result"
)]

mod follow;
mod process;
mod record;
mod regions;
mod search;
mod sweep;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hb_domain::{Entry, Fleet, HostKey, Kind, Rules, decide};

use crate::process::Process;
use crate::record::{HOUR, Heard, OLD, Record, Subject, now};
use crate::search::{Extent, Model, search};
use crate::sweep::turn;
use crate::world::{Budget, Step, Stored, World};

/// The parameters of a search.
struct Setting {
    hosts: u8,
    processes: usize,
    /// Whether their `missing` is claimed already, as by a process that then crashed.
    claimed: bool,
    /// Beats that arrive some time after the hosts fell silent; see [`World::script`].
    script: &'static [bool],
    budget: Budget,
    /// Whether notices that a digest may take are never sent alone.
    only_digests: bool,
    /// Whether echoes without news are dropped rather than received.
    drop_known: bool,
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

    /// Hosts that were up and are silent past their deadline.
    fn start(&self) -> World {
        let heard = Heard {
            last: now().minus(HOUR * OLD),
            failed: None,
            signal_is_ok: true,
        };
        let entry = |host: u8| {
            let key = HostKey::new(Fleet::main(), host.to_string().parse().unwrap());
            let mut entry = Entry::assumed(&key, &heard.heartbeat(), Some(now()), now());
            entry.basis = heard.last;
            let entry = Entry {
                failure: None,
                ..entry
            };
            let claim = self
                .claimed
                .then(|| decide(&entry, &heard.heartbeat(), now(), &Rules::default()));
            Record::from(claim.flatten().unwrap_or(entry))
        };
        let stored = |host| {
            Arc::new(Stored {
                record: entry(host),
                version: 1,
            })
        };
        World {
            store: (0..self.hosts)
                .map(|host| (Subject::Host(host), stored(host)))
                .collect(),
            heard: vec![heard; self.hosts.into()],
            script: self.script,
            silent: true,
            echoes: Vec::new(),
            processes: vec![Process::new(); self.processes],
            left: self.budget,
            only_digests: self.only_digests,
            drop_known: self.drop_known,
            copies: BTreeSet::new(),
            accepted: BTreeSet::new(),
            overdue: BTreeSet::new(),
            late: BTreeMap::new(),
            counted: BTreeSet::new(),
            decided: vec![
                self.claimed.then_some(Kind::Missing).into_iter().collect();
                self.hosts.into()
            ],
            violation: None,
        }
    }

    fn next(&self, world: &World) -> Vec<(Step, World)> {
        let mut next = world.outside();
        (0..)
            .zip(&world.processes)
            .for_each(|(me, _)| next.extend(turn(world, me)));
        for (_, world) in &mut next {
            world.reduced();
        }
        next
    }

    fn wrong(&self, world: &World) -> Option<String> {
        world.wrong()
    }

    fn is_settled(&self, world: &World) -> bool {
        world.is_settled()
    }
}

/// Searches all states of `setting`, and fails below `least` of them: then the search covers less than intended.
fn all(what: &str, setting: &Setting, least: usize) {
    let Extent {
        states,
        transitions,
        settled,
        depth,
    } = search(setting).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    println!(
        "{what}: {states} states, {transitions} transitions, {settled} settled, depth {depth}"
    );
    assert!(states >= least, "{what}: {states} states are too few");
}

/// A setting of processes that send the notices of one host.
fn senders(processes: usize, script: &'static [bool], budget: Budget) -> Setting {
    let drop_known = script.len() > 1;
    Setting {
        hosts: 1,
        processes,
        claimed: false,
        script,
        budget,
        only_digests: false,
        drop_known,
    }
}

/// A setting of processes that build digests of hosts whose `missing` is claimed.
fn builders(processes: usize, hosts: u8, budget: Budget) -> Setting {
    let only_digests = hosts > 2;
    Setting {
        hosts,
        processes,
        claimed: true,
        script: &[],
        budget,
        only_digests,
        drop_known: only_digests,
    }
}

#[test]
fn two_senders_crash_and_lose_replies() {
    let budget = Budget {
        crashes: 2,
        unknown: 2,
        ..NOTHING
    };
    all("2 senders", &senders(2, &[], budget), 8_000);
}

#[test]
fn three_senders_crash_and_lose_replies() {
    let budget = Budget {
        crashes: 2,
        unknown: 2,
        ..NOTHING
    };
    all("3 senders", &senders(3, &[], budget), 30_000);
}

#[test]
fn two_senders_are_paused_and_refused_and_lose_replies_of_the_store() {
    let budget = Budget {
        pauses: 2,
        refused: 1,
        lost_replies: 2,
        unknown: 1,
        ..NOTHING
    };
    all("2 senders, paused", &senders(2, &[], budget), 35_000);
}

#[test]
fn a_late_echo_costs_at_most_one_second_copy_and_it_is_counted() {
    let budget = Budget {
        crashes: 1,
        unknown: 2,
        late_echoes: 2,
        echo_outages: 1,
        ..NOTHING
    };
    all("2 senders, late echoes", &senders(2, &[], budget), 60_000);
}

#[test]
fn recovered_never_overtakes_missing() {
    let budget = Budget {
        crashes: 1,
        ..NOTHING
    };
    all(
        "2 senders, 2 transitions",
        &senders(2, &[true], budget),
        7_000,
    );
}

#[test]
fn four_transitions_follow_each_other() {
    let budget = Budget {
        crashes: 1,
        unknown: 1,
        ..NOTHING
    };
    all(
        "2 senders, 4 transitions",
        &senders(2, &[false, true], budget),
        500_000,
    );
}

#[test]
#[ignore = "large"]
fn four_transitions_and_three_senders() {
    let budget = Budget {
        crashes: 1,
        unknown: 1,
        ..NOTHING
    };
    all(
        "3 senders, 4 transitions",
        &senders(3, &[false, true], budget),
        8_000_000,
    );
}

#[test]
#[ignore = "large"]
fn a_builder_of_digests_that_crashes_and_pauses_loses_no_host() {
    let budget = Budget {
        crashes: 1,
        pauses: 1,
        digests: 1,
        ..NOTHING
    };
    all("a digest of 2 hosts", &builders(2, 2, budget), 300_000);
}

#[test]
#[ignore = "large"]
fn two_builders_of_digests_crash() {
    let budget = Budget {
        crashes: 1,
        digests: 2,
        ..NOTHING
    };
    all(
        "2 builders, 2 hosts, a crash",
        &builders(2, 2, budget),
        100_000,
    );
}

#[test]
fn a_paused_builder_of_digests_loses_no_host() {
    let budget = Budget {
        pauses: 1,
        digests: 2,
        ..NOTHING
    };
    all(
        "2 builders, 2 hosts, a pause",
        &builders(2, 2, budget),
        80_000,
    );
}

#[test]
fn a_digest_is_accepted_once_while_the_echo_queue_is_unreachable() {
    let budget = Budget {
        unknown: 1,
        echo_outages: 1,
        digests: 1,
        ..NOTHING
    };
    all("a digest, no echoes", &builders(1, 2, budget), 1_500);
}

#[test]
fn a_paused_builder_of_digests_loses_none_of_three_hosts() {
    let budget = Budget {
        pauses: 1,
        digests: 2,
        ..NOTHING
    };
    all(
        "2 builders, 3 hosts, a pause",
        &builders(2, 3, budget),
        50_000,
    );
}

#[test]
#[ignore = "large"]
fn two_builders_of_digests_of_three_hosts_crash_and_pause() {
    let budget = Budget {
        crashes: 1,
        pauses: 1,
        digests: 2,
        ..NOTHING
    };
    all(
        "2 builders, 3 hosts, a crash, a pause",
        &builders(2, 3, budget),
        1_500_000,
    );
}
