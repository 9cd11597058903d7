//! Searches all interleavings of the sweeps of two regions over one host: beats to either region, copies of heartbeats that
//! arrive late or never, receivers that stop, sweeps that crash, pause or do not run.
//!
//! Time passes in a few steps that are long compared with a sweep. Every decision is made by the rules of production, by
//! their coverage and their limits. At the end of every path the faults end, and what must be reported in time is.

mod calm;
mod site;
mod sweep;
mod world;

use std::time::Duration;

use hb_domain::{CanaryPolicy, Interval};

use self::calm::Seen;
use self::world::{Budget, Step, World};
use crate::search::{Extent, Model, search};

/// A protocol that is broken in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Does not ask a region that lives, but decides on the copies from it.
    TrustsCopies,
    /// Gives no grace after a blackout.
    NoBlackouts,
    /// Takes an entry for rechecked that one of two regions has judged.
    RechecksAlone,
    /// Does not keep an entry open for a failure of which nothing could be decided.
    DropsFailures,
    /// Overwrites what another sweep has claimed since.
    ClaimsWithoutCompare,
}

/// As in production.
const SKEW: Duration = Duration::from_secs(5);

/// The parameters of a search.
#[derive(Clone, Copy)]
struct Setting {
    /// A step of time, and how many there are.
    step: Duration,
    steps: u32,
    /// The interval of the host, in halves of a step.
    interval: u32,
    /// Whether the host is up at first, by a beat to the first region; otherwise it is new.
    known: bool,
    /// Whether copies of heartbeats arrive.
    copied: bool,
    budget: Budget,
    broken: Option<Broken>,
}

impl Setting {
    fn interval(&self) -> Interval {
        Interval::try_from(self.step * self.interval / 2).unwrap()
    }

    /// One canary that is missing is a blackout, as in production; two are an outage.
    fn canaries(&self) -> CanaryPolicy {
        CanaryPolicy {
            fresh: self.step * 5 / 4,
            down_after: self.step * 9 / 4,
            local: false,
        }
    }

    /// The steps of time without faults after which all is reported: an interval, the grace after a blackout, and a few
    /// sweeps.
    fn calm(&self) -> u32 {
        self.interval + 5
    }
}

/// A search of a setting.
struct Search {
    setting: Setting,
    calm: Seen,
}

impl Model for Search {
    type State = World;
    type Step = Step;

    fn start(&self) -> World {
        World::new(&self.setting)
    }

    fn next(&self, world: &World) -> Vec<(Step, World)> {
        world.next(&self.setting)
    }

    fn wrong(&self, world: &World) -> Option<String> {
        let end = world.is_over(&self.setting);
        let calm = || calm::wrong(&self.setting, world, &self.calm);
        world.violation.clone().or_else(|| end.then(calm).flatten())
    }

    fn is_settled(&self, world: &World) -> bool {
        world.is_over(&self.setting)
    }
}

fn run(setting: Setting) -> Result<(Extent, usize), String> {
    let model = Search {
        setting,
        calm: Seen::default(),
    };
    let extent = search(&model)?;
    Ok((extent, model.calm.into_inner().len()))
}

/// Searches all states of `setting`, and fails below `least` of them: then the search covers less than intended.
fn all(what: &str, setting: Setting, least: usize) {
    let (extent, calm) = run(setting).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    let Extent {
        states,
        transitions,
        settled,
        depth,
    } = extent;
    println!(
        "{what}: {states} states, {transitions} transitions, {settled} ends, {calm} calm states, depth {depth}"
    );
    assert!(states >= least, "{what}: {states} states are too few");
}

const NOTHING: Budget = Budget {
    fails: 0,
    skips: 0,
    crashes: 0,
    pauses: 0,
    refusals: 0,
    stops: 0,
};

/// A host that beats or not, with an interval of a step and a half. A region is dead after two steps without canaries.
const SILENCE: Setting = Setting {
    step: Duration::from_mins(3),
    steps: 4,
    interval: 3,
    known: true,
    copied: true,
    budget: NOTHING,
    broken: None,
};

/// The same in steps that are as long as the pause between two sweeps, in which a failure stays news for two steps.
const FAILURE: Setting = Setting {
    step: Duration::from_mins(1),
    budget: Budget {
        fails: 1,
        ..NOTHING
    },
    ..SILENCE
};

const fn with(setting: Setting, steps: u32, budget: Budget) -> Setting {
    Setting {
        steps,
        budget,
        ..setting
    }
}

#[test]
fn two_living_regions_agree_on_silence_only() {
    all("2 regions", with(SILENCE, 4, NOTHING), 40_000);
}

#[test]
fn a_region_whose_receiver_stops_is_waited_for_until_it_is_dead() {
    let budget = Budget {
        stops: 1,
        ..NOTHING
    };
    all("2 regions, one stops", with(SILENCE, 3, budget), 60_000);
}

#[test]
fn a_region_that_does_not_sweep_is_asked_for_five_minutes() {
    let budget = Budget {
        skips: 2,
        ..NOTHING
    };
    let setting = Setting {
        copied: false,
        ..with(SILENCE, 4, budget)
    };
    all("2 regions, one does not sweep", setting, 20_000);
}

#[test]
fn sweeps_of_two_regions_crash_and_pause() {
    let budget = Budget {
        crashes: 1,
        pauses: 1,
        ..NOTHING
    };
    // A pause is not longer than a sweep may run.
    let setting = Setting {
        step: Duration::from_mins(2),
        ..with(SILENCE, 3, budget)
    };
    all("2 regions, a crash, a pause", setting, 25_000);
}

#[test]
fn a_failure_that_one_region_received_is_reported() {
    all("2 regions, a failure", FAILURE, 400_000);
}

#[test]
fn a_new_host_fails_and_falls_silent() {
    let setting = Setting {
        known: false,
        ..with(FAILURE, 3, FAILURE.budget)
    };
    all("2 regions, a new host", setting, 35_000);
}

#[test]
#[ignore = "large"]
fn two_living_regions_agree_for_longer() {
    all("2 regions, 5 steps", with(SILENCE, 5, NOTHING), 180_000);
}

#[test]
#[ignore = "large"]
fn a_region_whose_receiver_stops_returns() {
    let budget = Budget {
        stops: 1,
        ..NOTHING
    };
    let setting = with(SILENCE, 4, budget);
    all("2 regions, one stops, 4 steps", setting, 500_000);
}

#[test]
#[ignore = "large"]
fn two_failures_and_a_refusal() {
    let budget = Budget {
        fails: 2,
        refusals: 1,
        ..NOTHING
    };
    all(
        "2 regions, 2 failures, a refusal",
        with(FAILURE, 4, budget),
        2_500_000,
    );
}

#[test]
fn a_failure_and_every_fault() {
    let budget = Budget {
        fails: 1,
        skips: 1,
        crashes: 1,
        pauses: 1,
        refusals: 1,
        stops: 1,
    };
    let setting = Setting {
        copied: false,
        ..with(FAILURE, 2, budget)
    };
    all("2 regions, a failure, every fault", setting, 25_000);
}

#[test]
fn broken_rules_are_caught() {
    let stops = Budget {
        stops: 1,
        ..NOTHING
    };
    let mutants = [
        (
            Broken::TrustsCopies,
            with(SILENCE, 2, NOTHING),
            "a host that beats is missing",
        ),
        (
            Broken::NoBlackouts,
            with(SILENCE, 3, stops),
            "a host that beats is missing",
        ),
        (
            Broken::ClaimsWithoutCompare,
            with(SILENCE, 3, NOTHING),
            "a host is missing of which a living region had swept a newer beat",
        ),
        (Broken::DropsFailures, FAILURE, NOT_REPORTED),
    ];
    for (broken, setting, invariant) in mutants {
        is_caught(broken, setting, invariant);
    }
}

#[test]
#[ignore = "large"]
fn a_recheck_by_one_region_is_caught() {
    is_caught(Broken::RechecksAlone, FAILURE, NOT_REPORTED);
}

const NOT_REPORTED: &str = "a failure is not reported";

/// Expects that a broken protocol violates this invariant.
fn is_caught(broken: Broken, setting: Setting, invariant: &str) {
    let setting = Setting {
        broken: Some(broken),
        ..setting
    };
    let wrong = run(setting).map(|(extent, _)| extent);
    let wrong = wrong.expect_err("it must be caught");
    assert!(wrong.starts_with(invariant), "{broken:?}: {wrong}");
    println!("{broken:?}: {}", wrong.lines().next().unwrap_or_default());
}
