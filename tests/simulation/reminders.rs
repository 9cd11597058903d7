//! What must hold for reminders.

use std::collections::BTreeMap;

use hb_domain::{About, Entry, FleetRecord, Kind, Notice, Timestamp};

use crate::progress::DIGEST;
use crate::run::{CALM_FROM, LEASE};
use crate::store::Row;
use crate::world::{Accepted, World};

/// Two of a fleet are apart.
pub(crate) const APART: &str = "a reminder of a fleet is begun when the last one is old";
/// They say what people know.
pub(crate) const TRUE_REMINDER: &str = "a reminder is of trouble that people were notified of";
/// When faults end, none is lost.
pub(crate) const REMINDED: &str = "people are reminded of trouble that lasts";

/// A process stored the record of a fleet.
pub(crate) fn begun(
    world: &mut World,
    before: Option<&FleetRecord>,
    record: &FleetRecord,
    process: u64,
) {
    let last = before.and_then(|before| before.reminded);
    let is_made =
        record.reminder.is_none() && before.is_some_and(|before| before.reminder.is_some());
    if is_made && world.reminding.get(&record.fleet) != Some(&process) {
        world.faults.note("a reminder went on");
    }
    let Some(now) = record.reminded.filter(|now| Some(*now) != last) else {
        return;
    };
    world.reminding.insert(record.fleet.clone(), process);
    world.faults.note("a reminder was begun");
    let soon = last.filter(|last| *last <= now && now.since(*last) < world.groups.repeat());
    // A backup has the times of then.
    if let Some(last) = soon.filter(|_| world.operations.restored.is_none()) {
        let words = format!("{} at {last} and {now}", record.fleet);
        world.violated(APART, words);
    }
}

/// The topic accepted a reminder.
pub(crate) fn accepted(world: &mut World, notice: &Notice, copy: Accepted) {
    let About::Digest(members) = &notice.about else {
        return;
    };
    for (id, member) in copy.transitions.iter().zip(members) {
        let kind = if member.failing {
            Kind::Failing
        } else {
            Kind::Missing
        };
        let is_known = world.published_by.contains_key(id) || world.operations.restored.is_some();
        if !is_known || world.claims.get(id).is_some_and(|last| last.kind != kind) {
            world.violated(TRUE_REMINDER, format!("{id:?} {kind:?}"));
        }
    }
    world.reminders.insert(notice.fleet.clone(), world.now);
    let transitions = Vec::new();
    world.accepted.push(Accepted {
        transitions,
        ..copy
    });
}

/// After a long calm phase.
pub(crate) fn at_the_end(
    world: &World,
    records: &BTreeMap<(&'static str, String), Row>,
) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    let repeat = i64::try_from(world.groups.repeat().as_millis()).unwrap();
    // A sweep begins it, or one that goes on when that ended; a lease of before runs out.
    let late = world.now - repeat - 2 * LEASE - DIGEST;
    let now = Timestamp::from_millis(world.now).unwrap();
    for row in records.values() {
        let Some(entry) = row.record.downcast_ref::<Entry>() else {
            continue;
        };
        let Some(told) = entry.to_remind(now) else {
            continue;
        };
        let known = told
            .accepted
            .as_ref()
            .map_or(i64::MAX, |accepted| accepted.at.as_millis());
        let last = world.reminders.get(&entry.key.fleet).copied();
        let last = last.unwrap_or(i64::MIN);
        let lasts = known.max(told.at.as_millis()).max(CALM_FROM) < late;
        if repeat > 0 && lasts && last < late && world.wrong_clock.is_none() {
            let words = format!("{} since {known}, the last at {last}", entry.key);
            broken.push((REMINDED, words));
        }
    }
    broken
}
