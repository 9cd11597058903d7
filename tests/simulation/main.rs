//! The production sweep over a simulated store, topic and clock: one seed, one thread, every fault.
//!
//! `cargo test -p hb-simulation` runs a few hundred seeds; more are `HB_SEEDS=1000000 HB_FROM=0 cargo test --release
//! -p hb-simulation`. A seed that fails is printed as the line that runs it again, with its trace.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it saw")]

mod executor;
mod faults;
mod invariants;
mod mutants;
mod ports;
mod run;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::faults::{Fault, Faults};
use crate::mutants::Variant;
use crate::run::{Outcome, run};

/// A number from the environment.
fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Says how to see a failed run again, with the end of its trace.
fn tell(seed: u64, outcome: &Outcome) -> String {
    let from = outcome.trace.len().saturating_sub(400);
    format!(
        "seed {seed} violates {:#?}\n{}\nagain: HB_SEED={seed} cargo test -p hb-simulation one_seed -- --nocapture",
        outcome.violations,
        outcome.trace[from..].join("\n")
    )
}

#[test]
fn no_seed_violates_an_invariant() {
    let (from, count) = (set("HB_FROM").unwrap_or(0), set("HB_SEEDS").unwrap_or(300));
    let (next, failed) = (AtomicU64::new(from), Mutex::new(None));
    let seen = Mutex::new(Faults::default());
    let work = || {
        let mut mine = Faults::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || failed.lock().unwrap().is_some() {
                break;
            }
            let outcome = run(seed, Variant::Whole);
            mine.merge(&outcome.faults);
            if !outcome.violations.is_empty() {
                *failed.lock().unwrap() = Some(tell(seed, &outcome));
            }
        }
        seen.lock().unwrap().merge(&mine);
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    if let Some(words) = failed.into_inner().unwrap() {
        panic!("{words}");
    }
    let seen = seen.into_inner().unwrap();
    println!("{count} seeds from {from}; faults: {:#?}\nkilled after: {:#?}", seen.hits, seen.crashes);
    for fault in Fault::ALL {
        assert!(seen.hits.contains_key(&fault), "{fault:?} never struck: the run shows less than it says");
    }
    const CALLS: [&str; 14] = [
        "heartbeats.load",
        "heartbeats.scan",
        "ledger.load",
        "ledger.swap",
        "ledger.swap done",
        "ledger.open",
        "topic.publish",
        "topic.publish accepted",
        "echoes.receive",
        "echoes.acknowledge",
        "system.last_sweep",
        "system.record_sweep",
        "heartbeats.record",
        "",
    ];
    for call in CALLS {
        assert!(seen.crashes.contains_key(call), "no process was killed after {call:?}");
    }
}

#[test]
fn a_seed_is_a_whole_story() {
    for seed in 0..20 {
        let (one, other) = (run(seed, Variant::Whole), run(seed, Variant::Whole));
        assert!(one.trace.len() > 100);
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.trace.len(), other.trace.len(), "seed {seed}");
    }
}

#[test]
fn each_broken_protocol_is_caught() {
    let most = set("HB_SEEDS").unwrap_or(300);
    for mutant in Variant::MUTANTS {
        let caught = (0..most).find_map(|seed| {
            let outcome = run(seed, mutant);
            outcome.violations.first().map(|violation| (seed, violation.invariant))
        });
        let (seed, invariant) = caught.unwrap_or_else(|| panic!("{mutant:?} survives {most} seeds"));
        println!("{mutant:?}: caught by \"{invariant}\" at seed {seed}");
        let expected = match mutant {
            Variant::EventualLedger => {
                vec![invariants::ONE_TRANSITION, invariants::ACCEPTED_ONCE, invariants::TOLD_BY_ONE]
            }
            Variant::NoOutbox | Variant::NoEchoDrop => {
                vec![invariants::NOTHING_PENDING, invariants::IN_ORDER]
            }
            Variant::NoEchoResend | Variant::ShortLease | Variant::HiddenRetry => {
                vec![invariants::ACCEPTED_ONCE]
            }
            Variant::NoOrphanRule => vec![invariants::NOTHING_PENDING],
            Variant::Unconfirmed => vec![invariants::NO_FALSE_ALARM, invariants::TRUTH_IS_TOLD],
            Variant::Whole => vec![],
        };
        assert!(expected.contains(&invariant), "{mutant:?} was caught by {invariant}");
    }
}

/// For people: one seed with its whole trace.
#[test]
fn one_seed() {
    let Some(seed) = set("HB_SEED") else { return };
    let outcome = run(seed, Variant::Whole);
    println!("{}", outcome.trace.join("\n"));
    assert_eq!(outcome.violations, []);
}
