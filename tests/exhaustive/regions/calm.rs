//! What follows when no fault happens any more: from the end of every path, whatever the host does.

use std::cell::RefCell;
use std::collections::HashSet;

use hb_domain::State;

use super::Setting;
use super::site::At;
use super::sweep::turn;
use super::world::{Budget, World};
use crate::search::fingerprint;

/// What the host does, and whether anything is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Calm {
    /// The region that it beats to; `None` when it is silent.
    beats_to: Option<usize>,
    copied: bool,
}

const ALL: [Calm; 6] = {
    const fn calm(beats_to: Option<usize>, copied: bool) -> Calm {
        Calm { beats_to, copied }
    }
    [
        calm(None, false),
        calm(None, true),
        calm(Some(0), false),
        calm(Some(0), true),
        calm(Some(1), false),
        calm(Some(1), true),
    ]
};

/// States without faults that were seen to end well.
pub(crate) type Seen = RefCell<HashSet<u128>>;

/// Runs on from the end of a path.
pub(crate) fn wrong(setting: &Setting, end: &World, seen: &Seen) -> Option<String> {
    let left = Budget {
        fails: 0,
        skips: 0,
        crashes: 0,
        pauses: 0,
        refusals: 0,
        stops: 0,
    };
    let end = World {
        left,
        ..end.clone()
    };
    ALL.iter().find_map(|calm| {
        let mut world = end.clone();
        for left in (0..setting.calm()).rev() {
            world = calm.step(setting, &world);
            if let Some(violation) = &world.violation {
                return Some(format!("{violation}, then: {calm:?}"));
            }
            if !seen.borrow_mut().insert(fingerprint(&(calm, left, &world))) {
                return None;
            }
        }
        let wrong = calm.wrong_at_the_end(&world)?;
        Some(format!("{wrong}, then: {calm:?}"))
    })
}

impl Calm {
    /// One step of time: a canary, a beat, all copies, and a sweep of each region.
    fn step(self, setting: &Setting, world: &World) -> World {
        let mut world = world.later(setting, [true, true]);
        if let Some(n) = self.beats_to {
            world = world.beat(setting, n, true);
        }
        for n in 0..2 {
            world = world.copy(n).filter(|_| self.copied).unwrap_or(world);
        }
        for n in 0..2 {
            while let Some((_, next)) = turn(setting, &world, n).into_iter().next() {
                world = next;
                if world.sites[n].sweep.at == At::Idle {
                    break;
                }
            }
        }
        world
    }

    fn wrong_at_the_end(self, world: &World) -> Option<String> {
        let state = world.entry.as_ref().map(|entry| entry.state);
        let never = world.sites.iter().all(|site| site.received.is_none());
        let expected = match self.beats_to {
            Some(_) => Some(State::Up),
            None if never => None,
            None => Some(State::Missing),
        };
        let pending = world
            .entry
            .as_ref()
            .and_then(|entry| entry.pending.as_ref());
        if state != expected {
            Some(format!("the host is {state:?} instead of {expected:?}"))
        } else if pending.is_some() || world.told != world.epoch {
            Some("a notice stays pending".to_owned())
        } else if world.failed.is_some() && state == Some(State::Up) {
            Some("a failure is not reported".to_owned())
        } else {
            None
        }
    }
}
