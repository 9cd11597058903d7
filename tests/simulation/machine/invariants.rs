//! What must hold for the transitions of one machine. Checked at every effect.

use hb_domain::{Entry, HostKey, Kind, Notice, Transition};

use super::receivers::transitions;
use super::world::World;
use crate::invariants::{
    IN_ONE_NOTICE, IN_ORDER, NO_FALSE_ALARM, NOTICE_OF_TRANSITION, ONE_TRANSITION,
    WITHDRAWN_UNSENT, held,
};

/// An entry was stored.
pub(crate) fn claimed(world: &mut World, entry: &Entry) {
    let last = entry.history.last();
    let Some(last) = last.filter(|last| last.epoch == entry.epoch) else {
        return;
    };
    let decided = Transition {
        key: None,
        withdrawn: false,
        accepted: None,
        ..last.clone()
    };
    let id = (entry.key.clone(), last.epoch);
    for last in entry.history.iter().filter(|last| last.withdrawn) {
        world.withdrawn.insert((entry.key.clone(), last.epoch));
    }
    if let Some(held) = held(entry, last) {
        let until = world.now() + held;
        world.held_until.entry(id.clone()).or_insert(until);
    }
    match world.claims.get(&id) {
        None => {
            let now = world.now();
            world.say(|| {
                let (key, kind) = (&entry.key, last.kind);
                format!("claimed: {key} is {kind:?}, epoch {}", last.epoch)
            });
            alarm(world, &entry.key, &decided);
            world.claims.insert(id, (decided, now));
        }
        Some((known, _)) if *known != decided => {
            let words = format!("{id:?}: {known:?} and {decided:?}");
            world.violated(ONE_TRANSITION, words);
        }
        Some(_) => {}
    }
}

/// Checks that a host which is decided to be missing does not send beats.
fn alarm(world: &mut World, key: &HostKey, last: &Transition) {
    /// The time of the calls between a beat and its record.
    const CALLS: i64 = 1_000;
    /// Beats come after 0.417 of the interval, canaries after 7 s at the latest.
    const SHORT: i64 = 12_000;
    let Some(host) = world.hosts.get(key).filter(|_| last.kind == Kind::Missing) else {
        return;
    };
    if last.caveat.is_some() {
        world.note("one machine: a caveat");
        return;
    }
    if !host.up {
        world.note("one machine: a silence is decided");
        return;
    }
    // An outage between two canaries is not seen: a limit of the product, for intervals that are as short.
    let short = host.interval < SHORT && Some(world.outage_ended) > host.known;
    let unseen = short || host.lost > host.known.max(Some(world.gap_ended));
    // Before the first canary ever, silence counts as if everything had been received: another one.
    let began = last.at.as_millis() - world.wall;
    let unseen = unseen || world.first_canary.is_none_or(|first| first >= began);
    // Nor is a stop while the last canary is ahead of a clock that was set back: also a limit of the product.
    let unseen = unseen || world.unseen_gap_ended > host.known;
    let never_silent = host.known.is_some_and(|beat| host.since <= beat);
    let back = host.read - host.since.max(world.gap_ended);
    if !unseen && (never_silent || back > host.interval + CALLS) {
        let beat = host.known.map(|beat| host.read - beat);
        let words = format!("{key}, last beat {beat:?} ms ago, back for {back} ms: {last:?}");
        world.violated(NO_FALSE_ALARM, words);
    }
}

/// The topic has a notice, perhaps not for the first time.
pub(crate) fn accepted(world: &mut World, notice: &Notice) {
    let (now, identity) = (world.now(), notice.identity());
    for id in transitions(notice) {
        match world.accepted.get(&id) {
            Some((_, known)) if *known == identity => continue,
            Some((_, known)) => {
                let words = format!("{id:?}: {known} and {identity}");
                world.violated(IN_ONE_NOTICE, words);
            }
            None => {}
        }
        if world.withdrawn.contains(&id) {
            world.violated(WITHDRAWN_UNSENT, format!("{id:?}"));
        }
        let claim = world.claims.get(&id);
        if claim.is_none_or(|(last, _)| last.kind != notice.kind) {
            world.violated(NOTICE_OF_TRANSITION, format!("{id:?} {:?}", notice.kind));
        }
        let earlier = world.claims.range((id.0.clone(), 0)..id.clone());
        let missing = earlier
            .map(|(id, _)| id)
            .find(|id| !world.accepted.contains_key(id) && !world.withdrawn.contains(id));
        if let Some(missing) = missing.cloned() {
            world.violated(IN_ORDER, format!("{id:?} before {missing:?}"));
        }
        world.accepted.insert(id, (now, identity.clone()));
    }
}
