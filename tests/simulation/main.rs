//! The production sweep over a simulated store, topic and clock, and `hb serve` on one machine: one seed, one thread, every
//! fault.
//!
//! `cargo test -p hb-simulation` runs a few hundred seeds; more are `HB_SEEDS=1000000 HB_FROM=0 cargo test --release
//! -p hb-simulation`. A seed that fails is printed with its trace and the command that repeats it.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod alarms;
mod clocks;
mod executor;
mod faults;
mod hosts;
mod intervals;
mod invariants;
mod machine;
mod mutants;
mod operations;
mod outage;
mod ports;
mod progress;
mod reminders;
mod run;
mod store;
mod unreadable;
mod versions;
mod windows;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::faults::{Fault, Faults};
use crate::machine::{PREMISES, Trouble, run_machine, run_machine_variant};
use crate::mutants::Variant;
use crate::outage::run_outage;
use crate::run::{RunResult, run, run_variant};

/// A number from the environment.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The violations of a run, the end of its trace, and the command that repeats it.
fn failure(test: &str, seed: u64, outcome: &RunResult) -> String {
    let from = outcome.trace.len().saturating_sub(400);
    format!(
        "seed {seed} violates {:#?}\n{}\nrepeat with: HB_SEED={seed} cargo test -p hb-simulation {test} -- --nocapture",
        outcome.violations,
        outcome.trace[from..].join("\n")
    )
}

/// The calls after which a process must have been killed.
const CALLS: [&str; 15] = [
    "heartbeats.load",
    "heartbeats.record",
    "heartbeats.scan",
    "ledger.load",
    "ledger.open",
    "ledger.swap",
    "ledger.swap done",
    "topic.publish",
    "topic.publish accepted",
    "echoes.receive",
    "echoes.acknowledge",
    "system.last_sweep",
    "system.record_sweep",
    "system.checkpoint",
    "",
];

/// How many seeds fail before a search ends.
const FAILURES: usize = 10;

/// Runs every `step`-th seed on all cores until some have failed. Returns the faults of all of them. `test` repeats one.
#[expect(
    clippy::print_stdout,
    reason = "a search of hours is followed while it runs"
)]
fn search(seeds: Range<u64>, step: u64, run: fn(u64) -> RunResult, test: &str) -> Faults {
    let next = AtomicU64::new(seeds.start.next_multiple_of(step));
    let failed = Mutex::new(Vec::new());
    let all = Mutex::new(Faults::default());
    let work = || {
        let mut mine = Faults::default();
        while failed.lock().unwrap().len() < FAILURES {
            let seed = next.fetch_add(step, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if seed.is_multiple_of(100_000) {
                println!("{test}: {seed}");
            }
            let outcome = run(seed);
            mine.merge(&outcome.faults);
            if !outcome.violations.is_empty() {
                println!("{test}: {seed} violates an invariant");
                failed.lock().unwrap().push(failure(test, seed, &outcome));
            }
        }
        all.lock().unwrap().merge(&mine);
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    all.into_inner().unwrap()
}

#[test]
fn no_seed_violates_an_invariant() {
    let from = variable("HB_FROM").unwrap_or(0);
    let count = variable("HB_SEEDS").unwrap_or(300);
    let faults = search(from..from + count, 1, run, "one_seed");
    println!(
        "{count} seeds from {from}; faults: {:#?}\nkilled after: {:#?}",
        faults.hits, faults.crashes
    );
    for fault in Fault::ALL {
        assert!(
            faults.hits.contains_key(&fault),
            "{fault:?} never happened, so that the run proves less than it claims"
        );
    }
    for step in ["forward", "back"] {
        assert!(
            faults.noted.contains_key(step),
            "no clock stepped {step} around a silence"
        );
    }
    for premise in [
        "left when faults ended",
        "out of time",
        "a notice was withdrawn",
        "a host that flaps is held",
        "a reminder was begun",
        "a reminder went on",
        "a host failed in a window",
        "a host that beats is missing, with a caveat",
        "a receiver is reported",
        "an interval was raised",
    ] {
        assert!(
            faults.noted.contains_key(premise),
            "no seed shows anything about {premise:?}"
        );
    }
    for call in CALLS {
        assert!(
            faults.crashes.contains_key(call),
            "no process was killed after {call:?}"
        );
    }
}

/// Of every fourth seed.
#[test]
fn no_seed_violates_an_invariant_on_one_machine() {
    let from = variable("HB_FROM").unwrap_or(0);
    let count = variable("HB_SEEDS").unwrap_or(400);
    let faults = search(from..from + count, 4, run_machine, "one_machine_seed");
    println!(
        "one machine, a fourth of {count} seeds from {from}: {:#?}\nkilled after: {:#?}",
        faults.noted, faults.crashes
    );
    for premise in Trouble::ALL.map(Trouble::name).iter().chain(&PREMISES) {
        assert!(
            faults.noted.contains_key(premise),
            "no seed shows anything about {premise:?}"
        );
    }
    for call in machine::CALLS {
        assert!(
            faults.crashes.contains_key(call),
            "no process was killed after {call:?}"
        );
    }
}

#[test]
fn a_seed_determines_the_whole_run() {
    for (seed, run) in (0..40).zip([run, run_machine].into_iter().cycle()) {
        let one = run(seed);
        let other = run(seed);
        assert!(one.trace.len() > 50);
        let differs = one
            .trace
            .iter()
            .zip(&other.trace)
            .find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.trace.len(), other.trace.len(), "seed {seed}");
    }
}

#[test]
fn each_broken_protocol_is_caught() {
    // More than the sound protocol runs: a mutant may need a rare order of events.
    let most = variable("HB_SEEDS").unwrap_or(1_000);
    for (mutant, invariant) in Variant::MUTANTS {
        let caught = |seed: &u64| {
            let outcome = run_variant(*seed, mutant, mutant);
            outcome
                .violations
                .iter()
                .any(|violation| violation.invariant == invariant)
        };
        let seed = (0..most).find(caught);
        let seed = seed
            .unwrap_or_else(|| panic!("\"{invariant}\" does not catch {mutant:?} in {most} seeds"));
        let sound = run_variant(seed, Variant::Sound, mutant);
        assert_eq!(
            sound.violations,
            [],
            "the sound protocol fails under the same faults as {mutant:?}, seed {seed}"
        );
        println!("{mutant:?}: caught by \"{invariant}\" at seed {seed}");
    }
}

#[test]
fn each_broken_variant_of_one_machine_is_caught() {
    let most = variable("HB_SEEDS").unwrap_or(1_000);
    for (mutant, invariant) in machine::Variant::MUTANTS {
        let caught = |seed: &u64| {
            let outcome = run_machine_variant(*seed, mutant, mutant);
            let mut violations = outcome.violations.iter();
            violations.any(|violation| violation.invariant == invariant)
        };
        let seed = (0..most).find(caught);
        let seed = seed
            .unwrap_or_else(|| panic!("\"{invariant}\" does not catch {mutant:?} in {most} seeds"));
        let sound = run_machine_variant(seed, machine::Variant::Sound, mutant);
        assert_eq!(sound.violations, [], "{mutant:?}, seed {seed}");
        println!("{mutant:?}: caught by \"{invariant}\" at seed {seed}");
    }
}

#[test]
fn an_outage_of_replication_announces_no_healthy_host_and_every_silent_one() {
    let (mut silent, mut latest) = (0, 0);
    for seed in 0..variable("HB_SEEDS").unwrap_or(300) / 10 {
        let outage = run_outage(seed);
        assert_eq!(outage.violations, [], "seed {seed}");
        assert_eq!(
            (outage.missing, outage.recovered),
            (outage.silent.len(), outage.silent.len() - 1),
            "seed {seed}: one notice of each silence, one of each return"
        );
        silent += outage.silent.len();
        latest = latest.max(outage.latest);
    }
    println!("{silent} silent hosts, each announced within {latest} ms");
}

/// For use by hand: one seed with its whole trace.
#[test]
fn one_seed() {
    let outcome = variable("HB_SEED").map(run);
    assert!(outcome.is_none_or(|outcome| is_sound(&outcome)));
}

/// The same of one machine.
#[test]
fn one_machine_seed() {
    let outcome = variable("HB_SEED").map(run_machine);
    assert!(outcome.is_none_or(|outcome| is_sound(&outcome)));
}

#[expect(clippy::print_stdout, reason = "for use by hand")]
fn is_sound(outcome: &RunResult) -> bool {
    println!("{}", outcome.trace.join("\n"));
    outcome.violations.is_empty()
}
