//! An hour in which no heartbeat is copied between two regions, while ledger, receivers and topics work.

use hb_domain::{HostKey, Kind};

use crate::executor::Executor;
use crate::faults::Faults;
use crate::intervals::in_time;
use crate::mutants::Variant;
use crate::run::{MINUTE, populate, schedule};
use crate::world::{START, Shared, Violation};

/// Minutes before the outage, in which all hosts are registered and copied.
const BEFORE: i64 = 4;
const OUTAGE: i64 = 60;
const AFTER: i64 = 12;

/// What happened in the outage.
pub(crate) struct Outage {
    /// Hosts that fell silent, and when.
    pub(crate) silent: Vec<(HostKey, i64)>,
    /// How often a host was decided missing, and recovered.
    pub(crate) missing: usize,
    pub(crate) recovered: usize,
    /// Milliseconds from the silence to the decision, at most.
    pub(crate) latest: i64,
    pub(crate) violations: Vec<Violation>,
}

/// Runs the outage of a seed: every ten minutes a host falls silent, for ten minutes.
pub(crate) fn run_outage(seed: u64) -> Outage {
    let world = Shared::new(seed, 2, Faults::default(), false);
    let mut executor = Executor::new(world.clone());
    populate(&world, &mut executor);
    let mut silent: Vec<(HostKey, i64)> = Vec::new();
    for minute in 0..BEFORE + OUTAGE + AFTER {
        executor.run_until(START + minute * MINUTE);
        world.get().replication_down = (BEFORE..BEFORE + OUTAGE).contains(&minute);
        if minute % 10 == 7 {
            let last = silent.last().cloned();
            silent.push(next_silence(&world, last));
        }
        schedule(&world, &mut executor, true, Variant::Sound);
    }
    executor.run_until(START + (BEFORE + OUTAGE + AFTER) * MINUTE);
    let world = world.get();
    let count = |kind| world.claims.values().filter(move |last| last.kind == kind);
    let mut outage = Outage {
        missing: count(Kind::Missing).count(),
        recovered: count(Kind::Recovered).count(),
        latest: 0,
        violations: world.violations.clone(),
        silent: silent.clone(),
    };
    for (key, since) in silent {
        let decided = world.claims.iter().find(|((host, _), last)| {
            *host == key && last.kind == Kind::Missing && last.at.as_millis() > since
        });
        let after = decided.map_or(i64::MAX, |(_, last)| last.at.as_millis() - since);
        outage.latest = outage.latest.max(after);
    }
    assert!(
        outage.latest <= in_time(MINUTE),
        "seed {seed}: {} ms\n{}",
        outage.latest,
        world.trace.join("\n")
    );
    outage
}

/// The host that was silent comes back, and another one falls silent.
fn next_silence(world: &Shared, last: Option<(HostKey, i64)>) -> (HostKey, i64) {
    let mut world = world.get();
    let since = world.now;
    let up = world.truth.iter().filter(|(_, truth)| truth.up);
    let hosts: Vec<_> = up.map(|(key, _)| key.clone()).collect();
    if let Some((back, _)) = last {
        world.turn(&back, true);
    }
    let key = hosts[world.rng.usize(0..hosts.len())].clone();
    world.turn(&key, false);
    (key, since)
}
