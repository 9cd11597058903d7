//! What must hold for maintenance windows. In some runs one fleet has one, while there are faults.

use std::ops::Range;

use hb_domain::{Blackout, Fleet, FleetRecord, HostKey, Kind, Notice, Times, Transition, Window};
use uuid::Uuid;

use crate::executor::LIFE;
use crate::invariants::SKEW;
use crate::ports::SimulatedPorts;
use crate::run::{CALM_FROM, MINUTE};
use crate::world::{Accepted, START, World, instant};

/// Silence in a window does not count.
pub(crate) const UNCOUNTED: &str = "no silence in a maintenance window makes a host missing";
/// What happens in a window waits for its end.
pub(crate) const UNTOLD: &str = "no failure in a maintenance window is sent before its end";

/// The window of a run: its fleet, and when it is open by a right clock.
pub(crate) type Planned = (Fleet, Range<i64>);

/// A third of all runs have one.
pub(crate) fn planned(rng: &mut fastrand::Rng) -> Option<Planned> {
    let since = START + rng.i64(MINUTE..6 * MINUTE);
    let until = rng.i64(since + 2 * MINUTE..CALM_FROM);
    let fleet = ["lab", "main"][rng.usize(0..2)].parse().unwrap();
    (rng.u8(0..3) == 0).then_some((fleet, since..until))
}

/// Stores the window before anything happens.
pub(crate) fn add(ports: &SimulatedPorts, (fleet, open): &Planned) {
    let window = Window {
        id: "window".parse().unwrap(),
        host_prefixes: Vec::new(),
        times: Times::Once(Blackout {
            since: instant(open.start),
            until: instant(open.end),
        }),
        note: None,
    };
    let record = FleetRecord {
        windows: vec![window],
        ..FleetRecord::new(fleet.clone())
    };
    let _ = ports.write(&record, None, Uuid::nil());
    // No index is older than it.
    let mut world = ports.world.get();
    world.tables.old_records = world.tables.records.clone();
}

impl World {
    /// When the host is in maintenance, while all clocks are right.
    fn window(&self, key: &HostKey) -> Option<Range<i64>> {
        let (fleet, open) = self.window.as_ref()?;
        let counts = *fleet == key.fleet && !key.host.is_reserved() && self.wrong_clock.is_none();
        counts.then(|| open.clone())
    }
}

/// A transition was just decided.
pub(crate) fn decided(world: &mut World, key: &HostKey, last: &Transition) {
    let Some(open) = world.window(key) else {
        return;
    };
    let at = last.at.as_millis();
    if last.kind == Kind::Failing && open.contains(&at) {
        world.faults.note("a host failed in a window");
    }
    let since = last.since.as_millis();
    if last.kind == Kind::Missing && open.start < since && since <= open.end {
        world.violated(UNCOUNTED, format!("{key}: {last:?} in {open:?}"));
    }
}

/// The topic accepted a notice.
pub(crate) fn accepted(world: &mut World, notice: &Notice, copy: &Accepted) {
    for id in &copy.transitions {
        let Some(open) = world.window(&id.0) else {
            return;
        };
        // A sweep that began before may still send what one that began in it decided, and the clock of one may be ahead.
        let known = open.start + LIFE..open.end - SKEW;
        let decided = world.claims.get(id).map(|last| last.at.as_millis());
        let in_window = decided.is_some_and(|at| open.contains(&at)) && known.contains(&copy.at);
        if in_window && notice.kind.leads_to().is_trouble() {
            world.violated(UNTOLD, format!("{id:?} {:?} in {open:?}", notice.kind));
        }
    }
}
