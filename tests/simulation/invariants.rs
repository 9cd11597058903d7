//! The invariants. Checked at every effect, and once more at the end of the calm phase.

use std::any::Any;

use hb_domain::{Caveat, Entry, HostKey, Kind, Notice, Phase, Receiver, State, Transition};

use crate::run::LEASE;
use crate::world::{Accepted, Message, Quiet, World};

/// Each transition of a host is decided once.
pub(crate) const ONE_TRANSITION: &str = "one transition per host and epoch";
/// Only decided transitions are published.
pub(crate) const NOTICE_OF_TRANSITION: &str = "no notice without a transition";
/// A further copy only if the echo of every earlier one was later than W, and with a higher attempt.
pub(crate) const ACCEPTED_ONCE: &str = "accepted once, except after late echoes";
/// `recovered` never comes before `missing`.
pub(crate) const IN_ORDER: &str = "in order per host";
/// No notice says that a host is missing which sends beats.
pub(crate) const NO_FALSE_ALARM: &str = "a beating host is never missing";
/// A notice says why it may be wrong only when it may.
pub(crate) const TRUE_CAVEAT: &str = "a caveat only when its reason is true";
/// A digest's member is in no other notice.
pub(crate) const IN_ONE_NOTICE: &str = "each transition is in one notice";
/// SNS would deactivate the subscription.
pub(crate) const NOT_TOO_FAST: &str = "at most 10 messages a second to a topic";
/// When faults end, everything pending is published.
pub(crate) const NOTHING_PENDING: &str = "nothing stays pending";
/// When faults end, the last notice of each host has its state.
pub(crate) const STATE_IS_REPORTED: &str = "a silent host is reported in time, and its recovery";

/// Even if the host recovered before the next sweep.
pub(crate) const FAILURE_IS_REPORTED: &str = "a failure is reported";

/// The wait for an echo, less what the clocks of two machines may differ.
const ECHO_WAIT: i64 = 180_000 - 12_000;
/// How long a host must have sent beats to be certainly known as up: its interval, and time for skew and retries.
const SURELY_UP: i64 = 60_000 + 30_000;

/// How soon a silence is decided without faults: an interval, the skew, two sweeps, and what clocks may differ.
pub(crate) const IN_TIME: i64 = 60_000 + 2_000 + 120_000 + 5_000;

/// How far the clock of a sweep may be ahead ([`hb_service::SweepSettings::skew`]).
const SKEW: i64 = 5_000;

/// How long a copy of a beat is under way at most.
const COPY: i64 = 122_000;

/// How long a region is waited for ([`hb_domain::limits::REGION_DEAD_AFTER`]).
const PRESUMED_DEAD: i64 = 300_000;

/// A record was stored by a process whose clock was so much ahead of the right time when it began, and is so much ahead
/// of the others.
pub(crate) fn swapped(world: &mut World, record: &dyn Any, ahead: i64, skew: i64) {
    if let Some(receiver) = record.downcast_ref::<Receiver>() {
        let now = world.now;
        let region = receiver.region.clone();
        let known = world.heard.insert(region.clone(), receiver.heard);
        world.canaries.insert(region.clone(), now);
        if known != Some(receiver.heard) {
            let quiet = world.without_canary.entry(region).or_default();
            quiet.end(now, now);
        }
    }
    let Some(entry) = record.downcast_ref::<Entry>() else {
        return;
    };
    if let Some(inquiry) = &entry.inquiry {
        world.say(|| format!("asked about {}: {inquiry:?}", entry.key));
    }
    let Some(last) = entry
        .history
        .last()
        .filter(|last| last.epoch == entry.epoch)
    else {
        return;
    };
    let id = (entry.key.clone(), last.epoch);
    match world.claims.get(&id) {
        None => {
            let now = world.now;
            world.claimed.insert(id.clone(), now);
            world.claims.insert(id, last.clone());
            world.say(|| {
                format!(
                    "claimed: {} is {:?}, epoch {}, last beat {}, at {}",
                    entry.key, last.kind, last.epoch, last.last_beat, last.at
                )
            });
            // To a sweep whose clock is ahead by more, all hosts have been silent for longer.
            if skew <= SKEW {
                false_alarm(world, &entry.key, last, ahead);
            }
        }
        Some(known) if decided(known) != decided(last) => {
            let words = format!("{} epoch {}: {known:?} and {last:?}", entry.key, last.epoch);
            world.violated(ONE_TRANSITION, words);
        }
        Some(_) => {}
    }
}

/// A transition as it was decided, without its acceptance.
fn decided(last: &Transition) -> Transition {
    Transition {
        accepted: None,
        ..last.clone()
    }
}

/// Whether the reason of a caveat is true, as far as the service can know: a region was away, the one that it names or the
/// one that says so, or seemed to be when a clock was wrong. That copies are late is none.
fn is_true(world: &World, caveat: &Caveat) -> bool {
    let lately = |at: i64| world.now - at < Quiet::RECENT;
    if world.wrong_clock.is_some_and(lately) {
        return true;
    }
    let was_long = |quiet: &Quiet| quiet.was_long(world.now);
    let deaf = world.without_canary.values().any(was_long);
    match caveat {
        Caveat::Blackout(_) => deaf,
        Caveat::RegionUnreachable(_) | Caveat::ReceiverDown => {
            deaf || world.without_sweep.values().any(was_long)
        }
    }
}

fn false_alarm(world: &mut World, key: &HostKey, last: &Transition, ahead: i64) {
    if let Some(caveat) = &last.caveat {
        if !is_true(world, caveat) {
            let words = format!("{key} is {:?}: {caveat:?}", last.kind);
            world.violated(TRUE_CAVEAT, words);
        }
        return;
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
    if never_silent || decided - heard_since > SURELY_UP + waited {
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

/// Whether another copy is a violation: the echo of this one was read within W, or could have been because it arrived
/// within W. A sender may have taken the lease just before the echo was read.
fn echoed_in_time(world: &World, copy: &Accepted) -> bool {
    // Whoever has another clock takes a lease or the wait for over too early.
    let wrong_clock = world.wrong_clock.is_some_and(|at| at > copy.at - 2 * LEASE);
    if wrong_clock || copy.echo.is_none_or(|at| at > copy.at + ECHO_WAIT) {
        return false;
    }
    if let Some(read) = world.echoed.get(&(copy.subject.clone(), copy.attempt)) {
        return *read <= copy.at + ECHO_WAIT || read + LEASE < world.now;
    }
    let same =
        |message: &&Message| message.subject == copy.subject && message.attempt == copy.attempt;
    let visible = world
        .echoes
        .iter()
        .filter(same)
        .map(|message| message.visible)
        .max();
    let swept = world.completed.get(&copy.region).copied();
    swept.unwrap_or(0) > visible.unwrap_or(i64::MAX)
}

/// The topic accepted a notice.
pub(crate) fn accepted(world: &mut World, notice: &Notice, copy: Accepted) {
    let earlier: Vec<_> = world
        .accepted
        .iter()
        .filter(|other| other.subject == copy.subject)
        .cloned()
        .collect();
    if let Some(other) = earlier.iter().find(|other| echoed_in_time(world, other)) {
        let words = format!(
            "{:?} at {} ms after its first copy, whose echo was in time",
            copy.subject,
            copy.at - other.at
        );
        world.violated(ACCEPTED_ONCE, words);
    }
    if earlier.iter().any(|other| other.attempt >= copy.attempt) {
        world.violated(
            ACCEPTED_ONCE,
            format!("{:?} again as attempt {}", copy.subject, copy.attempt),
        );
    }
    for (host, epoch) in &copy.transitions {
        if world
            .claims
            .get(&(host.clone(), *epoch))
            .is_none_or(|last| last.kind != notice.kind)
        {
            world.violated(
                NOTICE_OF_TRANSITION,
                format!("{host} epoch {epoch} {:?}", notice.kind),
            );
        }
        let before = |(key, earlier): &(HostKey, u64)| key == host && earlier < epoch;
        let unpublished = world
            .claims
            .keys()
            .find(|id| before(id) && !world.published_by.contains_key(id));
        let unpublished = unpublished.filter(|(host, _)| !world.forgotten.contains(host));
        if let Some((_, earlier)) = unpublished.cloned() {
            world.violated(
                IN_ORDER,
                format!("{host}: epoch {epoch} before epoch {earlier}"),
            );
        }
        let published_by = world
            .published_by
            .entry((host.clone(), *epoch))
            .or_default();
        published_by.insert(copy.subject.clone());
        if published_by.len() > 1 {
            let words = format!("{host} epoch {epoch}: {published_by:?}");
            world.violated(IN_ONE_NOTICE, words);
        }
    }
    let second = world
        .accepted
        .iter()
        .rev()
        .take_while(|other| copy.at - other.at < 1_000);
    if second.filter(|other| other.region == copy.region).count() >= 10 {
        world.violated(NOT_TOO_FAST, format!("at {:.3} s", world.seconds()));
    }
    world.accepted.push(copy);
}

/// After a long calm phase.
pub(crate) fn at_the_end(world: &mut World) {
    let ledger = world
        .regions
        .first()
        .map(|region| world.tables.ledger_of(region));
    let records = ledger
        .and_then(|ledger| world.tables.records.get(&ledger).cloned())
        .unwrap_or_default();
    let mut broken = Vec::new();
    for ((table, key), row) in &records {
        if let Some(entry) = row.record.downcast_ref::<Entry>() {
            broken.extend(entry_at_the_end(world, entry));
        } else if *table == "digests" && row.open {
            broken.push((NOTHING_PENDING, format!("digest {key} is open")));
        }
    }
    for (host, epoch) in world
        .claims
        .keys()
        .filter(|(host, _)| !world.forgotten.contains(host))
    {
        if !world.published_by.contains_key(&(host.clone(), *epoch)) {
            broken.push((
                NOTHING_PENDING,
                format!("{host} epoch {epoch} was never published"),
            ));
        }
    }
    for (key, until) in &world.silent {
        let claims = world
            .claims
            .range((key.clone(), 0)..=(key.clone(), u64::MAX));
        let mut claims = claims.rev();
        let (claim, before) = (claims.next(), claims.next());
        // A failure of before, whose copy was late, is decided first, and delays it by a sweep.
        let failed = before.is_some_and(|(id, _)| world.claimed[id] > until - IN_TIME);
        let until = until + if failed { 60_000 } else { 0 };
        let in_time = claim
            .is_some_and(|(id, last)| last.kind == Kind::Missing && world.claimed[id] <= until);
        if !in_time {
            let words =
                format!("{key} is silent, by {until}, and the last transition is {claim:?}");
            broken.push((STATE_IS_REPORTED, words));
        }
    }
    for (invariant, words) in broken {
        world.violated(invariant, words);
    }
}

/// Whether people knew at `at` that the host was failing.
fn was_failing(world: &World, key: &HostKey, at: i64) -> bool {
    let claims = world
        .claims
        .range((key.clone(), 0)..=(key.clone(), u64::MAX));
    let claims: Vec<_> = claims.map(|(_, last)| last).collect();
    claims.windows(2).any(|pair| {
        let until = pair[1].last_beat.as_millis();
        pair[0].kind == Kind::Failing && (pair[0].since.as_millis()..until).contains(&at)
    })
}

/// The invariants that the entry of a host violates at the end.
fn entry_at_the_end(world: &World, entry: &Entry) -> Vec<(&'static str, String)> {
    let key = &entry.key;
    let mut broken = Vec::new();
    if let Some(pending) = &entry.pending {
        let batched = matches!(pending.phase, Phase::Batched { .. });
        broken.push((
            NOTHING_PENDING,
            format!("{key}: {pending:?}, batched: {batched}"),
        ));
    }
    if let Some(truth) = world.truth.get(key) {
        let forgotten = world.forgotten.contains(key) && entry.state == State::Forgotten;
        let expected = match truth.up {
            true => State::Up,
            false if forgotten => State::Forgotten,
            false => State::Missing,
        };
        // A host whose first beats a clock set back dated long ago counts as known (docs/exactly-once.md).
        let backdated = entry.epoch == 0 && world.stepped.is_some();
        if entry.state != expected && !backdated {
            let words = format!("{key} is {expected} and is reported {}", entry.state);
            broken.push((STATE_IS_REPORTED, words));
        }
    }
    let failed = world
        .failed
        .get(key)
        .filter(|_| !world.administered.contains(key));
    // What was stored before is of another clock, or of now.
    let since = |at: Option<i64>, failed: i64| at.is_some_and(|at| at > failed - COPY);
    let mended = world.mended.get(key).copied();
    let failed = failed.filter(|at| !since(world.stepped, **at) && !since(mended, **at));
    // A notice that the host is missing says more, and one that it is failing says the same.
    let failed = failed.filter(|at| entry.state == State::Up && !was_failing(world, key, **at));
    // The beat carries the time at which it was sent, a moment before it was stored.
    if failed.is_some_and(|at| {
        entry
            .failure
            .is_none_or(|known| known.as_millis() + 20 < *at)
    }) {
        broken.push((
            FAILURE_IS_REPORTED,
            format!(
                "{key} failed at {failed:?}, but the last known failure is {:?}",
                entry.failure
            ),
        ));
    }
    broken
}
