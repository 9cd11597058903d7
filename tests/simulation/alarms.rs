//! Whether a notice that a host is missing is right, and the caveat in it.

use hb_domain::{Caveat, HostKey, Kind, Transition};

use crate::invariants::{
    NO_ALTERNATION, NO_FALSE_ALARM, SKEW, TRUE_CAVEAT, TRUE_RAISE, TRUE_RECEIVER,
};
use crate::world::{Quiet, World};

/// How long a host must have sent beats to be certainly known as up, besides its interval: time for skew and retries.
const SURELY_UP: i64 = 30_000;

/// How long a region is waited for ([`hb_domain::limits::REGION_DEAD_AFTER`]).
const PRESUMED_DEAD: i64 = 300_000;

/// Whether the reason of a caveat is true, as far as the service can know: a region was away, the one that it names or the
/// one that says so, or seemed to be when a clock was wrong. That copies are late is none.
fn is_true(world: &World, key: &HostKey, caveat: &Caveat, last_beat: i64) -> bool {
    let lately = |at: i64| world.now - at < Quiet::RECENT;
    // An inquiry of a backup has been open for too long.
    if world.wrong_clock.is_some_and(lately) || world.operations.restored.is_some_and(lately) {
        return true;
    }
    let was_long = |quiet: &Quiet| quiet.was_long(world.now);
    // What cannot be read may say anything, and leaves an inquiry without an answer.
    let damage = &world.damage;
    let recent = world.now - Quiet::RECENT;
    if damage.of_receivers_since(recent) || damage.since(key, recent) {
        return true;
    }
    let deaf = world.without_canary.values().any(was_long);
    match caveat {
        // For long intervals it may be long ago.
        Caveat::Blackout(_) => deaf || world.last_gap().is_some_and(|ended| ended > last_beat),
        Caveat::RegionUnreachable(_) | Caveat::ReceiverDown => {
            deaf || world.without_sweep.values().any(was_long)
        }
    }
}

/// Checks a transition that was just decided, by a clock that was so much `ahead` of the right time when it began.
pub(crate) fn check(world: &mut World, key: &HostKey, last: &Transition, ahead: i64) {
    if let Some(caveat) = &last.caveat {
        if !is_true(world, key, caveat, last.last_beat.as_millis()) {
            let words = format!("{key} is {:?}: {caveat:?}", last.kind);
            world.violated(TRUE_CAVEAT, words);
        }
        false_alarm(world, key, last.kind);
        return;
    }
    if key.host.is_reserved() {
        notice_of_service(world, key, last.kind);
    }
    if last.kind == Kind::Slowed {
        world.faults.note("an interval was raised");
        let longest = world.truth.get(key).map(|truth| truth.longest);
        if longest < i64::try_from(last.interval.as_millis()).ok() {
            world.violated(TRUE_RAISE, format!("{key}: {last:?}"));
        }
    }
    let Some(truth) = world.truth.get(key).filter(|truth| truth.up) else {
        return;
    };
    if last.kind != Kind::Missing {
        return;
    }
    let decided = last.at.as_millis() - ahead;
    let last_beat = last.last_beat.as_millis();
    // A region that waits for another reports a real silence at most this much later.
    let waited = if world.regions.len() > 1 {
        PRESUMED_DEAD
    } else {
        0
    };
    // Of an instant that was stored by another clock it is not known when that was.
    let never_silent = world.wrong_clock.is_none() && truth.since <= last_beat;
    // That a real silence ended may be learnt only later.
    let heard_since = truth.since.max(if world.receivers_down.is_empty() {
        world.last_receiver_down
    } else {
        decided
    });
    // A backup does not have the beats since.
    let heard_since = heard_since.max(world.operations.restored.unwrap_or(0));
    // An outage between two canaries is not seen, and no caveat names it: a limit of the product.
    let shown = world.last_gap().filter(|ended| *ended <= decided);
    let unseen = truth.lost > shown.max(Some(last_beat));
    // Once the beats that several regions have stored of a host are brought to now, nothing shows which of them was the
    // last: until the next beat the host is judged by the interval of either.
    // A backup has the interval of then.
    let restored = world.operations.restored > Some(last_beat).min(truth.beat);
    // A beat that is stored just after an earlier one was brought to now, by a clock that is a moment ahead, counts as
    // older than that.
    let mended = world.mended.get(key).zip(truth.beat);
    let at_once = mended.is_some_and(|(mended, beat)| (beat - mended).abs() < SKEW);
    // A beat that was dated ahead, or brought to the time of a clock that is ahead, hides the interval of those that are
    // received before its instant: a limit of the product.
    let dated = last_beat - world.clocks;
    let dated_ahead = world.wrong_clock.is_some() && truth.beat < Some(dated);
    let other_interval = last.interval.as_millis() < truth.interval.unsigned_abs()
        && (world.wrong_clock.is_some() && !world.is_one_machine()
            || restored
            || at_once
            || dated_ahead);
    if unseen || other_interval {
        return;
    }
    if never_silent || decided - heard_since > truth.interval + SURELY_UP + waited {
        let (up, gap) = (
            (decided - truth.since) / 1_000,
            (decided - last_beat) / 1_000,
        );
        world.violated(
            NO_FALSE_ALARM,
            format!("{key} is reported missing after {gap} s, and has sent beats for {up} s"),
        );
    }
}

/// A host that beats was perhaps reported missing, with a caveat. That happens once for each time that a region is away.
fn false_alarm(world: &mut World, key: &HostKey, kind: Kind) {
    let up = |key| world.truth.get(key).is_some_and(|truth| truth.up);
    if kind != Kind::Missing || !up(key) {
        return;
    }
    world
        .faults
        .note("a host that beats is missing, with a caveat");
    let now = world.now;
    let Some(before) = world.false_alarms.insert(key.clone(), now) else {
        return;
    };
    let came_back = world.truth[key].since > before;
    let others = world.wrong_clock.is_some()
        || world.operations.restored.is_some()
        || world.damage.of_receivers_since(before)
        || world.damage.since(key, before);
    let quiet = world
        .without_canary
        .values()
        .chain(world.without_sweep.values());
    let away = quiet.clone().any(|quiet| quiet.is_news(before, now));
    if !came_back && !others && !away {
        let words = format!("{key} again after {} ms", now - before);
        world.violated(NO_ALTERNATION, words);
    }
}

/// The service reports itself: that no canary arrives, which must be so.
fn notice_of_service(world: &mut World, key: &HostKey, kind: Kind) {
    if kind != Kind::Failing || key.host.as_str() != "hb:receiver" {
        return;
    }
    world.faults.note("a receiver is reported");
    let was_long = |quiet: &Quiet| quiet.was_long(world.now);
    let deaf = world.without_canary.values().any(was_long);
    let others = world.wrong_clock.is_some()
        || world.operations.restored.is_some()
        || world.damage.of_receivers_since(world.now - Quiet::RECENT);
    if !deaf && !others {
        world.violated(TRUE_RECEIVER, format!("{key}"));
    }
}
