//! The invariants. Checked at every effect, and once more at the end of the calm phase.

use std::any::Any;

use hb_domain::{
    Digest, DigestStage, Entry, FleetRecord, Heartbeat, HostKey, Kind, Notice, Pending, Phase,
    Receiver, Region, State, Subject, Transition,
};

use hb_service::ports::Record;

use crate::alarms;
use crate::intervals::in_time;
use crate::ports::SimulatedPorts;
use crate::reminders;
use crate::run::LEASE;
use crate::windows;
use crate::world::{Accepted, Message, World};

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
/// A healthy host is not missing and back again and again.
pub(crate) const NO_ALTERNATION: &str =
    "a host that beats is missing once for each time that a region is away";
/// The service tells the truth about itself.
pub(crate) const TRUE_RECEIVER: &str = "a receiver is reported only when no canary arrives";
/// No notice says that a host slowed which never did.
pub(crate) const TRUE_RAISE: &str = "an interval is reported as raised only when a host sent it";
/// A digest's member is in no other notice.
pub(crate) const IN_ONE_NOTICE: &str = "each transition is in one notice";
/// Whatever happens to its hosts.
pub(crate) const IN_GROUPS: &str = "one message of a fleet and kind at a time, and not too soon";
/// Nobody gets what was withdrawn.
pub(crate) const WITHDRAWN_UNSENT: &str = "what was withdrawn was never sent";
/// SNS would deactivate the subscription.
pub(crate) const NOT_TOO_FAST: &str = "at most 10 messages a second to a topic";
/// When faults end, everything pending is published.
pub(crate) const NOTHING_PENDING: &str = "nothing stays pending";
/// When faults end, that does not take long.
pub(crate) const SETTLES: &str = "everything settles soon when faults end";
/// When faults end, the last notice of each host has its state.
pub(crate) const STATE_IS_REPORTED: &str = "a silent host is reported in time, and its recovery";

/// Every host that sent a beat is known.
pub(crate) const IS_REGISTERED: &str = "a new host is registered";

/// Even if the host recovered before the next sweep.
pub(crate) const FAILURE_IS_REPORTED: &str = "a failure is reported";

/// And until then, how long it wants to be silent.
pub(crate) const RAISE_IS_REPORTED: &str = "an interval that was raised is reported";

/// The wait for an echo, less what the clocks of two machines may differ.
const ECHO_WAIT: i64 = 180_000 - 12_000;
/// How far the clock of a sweep may be ahead ([`hb_service::SweepSettings::skew`]).
pub(crate) const SKEW: i64 = 5_000;

/// How far a canary of a right clock may seem to be away when it arrives: the skew, and a slow call.
const RIGHT: i64 = 10_000;

/// How soon a new host has an entry.
const NEW: i64 = 180_000;

/// How long a copy of a beat is under way at most.
const COPY: i64 = 122_000;

/// A process stored the record of a fleet: it sends what is pending of a kind.
fn sending(world: &mut World, record: &FleetRecord, process: u64) {
    let before = world.fleets.insert(record.fleet.clone(), record.clone());
    reminders::begun(world, before.as_ref(), record, process);
    let now = record.sent.values().max();
    for (kind, at) in &record.sent {
        let last = before.as_ref().and_then(|before| before.sent.get(kind));
        // Two sweeps may begin in the same millisecond.
        if last != Some(at) || Some(at) == now {
            world.sends.insert((process, record.fleet.clone(), *kind));
        }
        if last == Some(at) {
            continue;
        }
        let soon = last.filter(|last| **last <= *at && at.since(**last) < world.groups.interval());
        // A backup has the times of then.
        if let Some(last) = soon.filter(|_| world.operations.restored.is_none()) {
            let words = format!("{} {kind:?} at {last} and {at}", record.fleet);
            world.violated(IN_GROUPS, words);
        }
    }
}

/// Notes what was withdrawn, and until when a recovery is held.
fn noted(world: &mut World, entry: &Entry) {
    for last in entry.history.iter().filter(|last| last.withdrawn) {
        let id = (entry.key.clone(), last.epoch);
        // What was pending in a backup may have been sent since: a limit of the product.
        let restored = world.operations.restored;
        let of_backup = restored.is_some_and(|at| world.claimed.get(&id).is_none_or(|on| *on < at));
        if world.published_by.contains_key(&id) && !of_backup {
            world.violated(WITHDRAWN_UNSENT, format!("{id:?}"));
        }
        if world.withdrawn.insert(id) {
            world.faults.note("a notice was withdrawn");
        }
    }
    if let Some((last, held)) = entry
        .history
        .last()
        .and_then(|last| Some((last, held(entry, last)?)))
    {
        let id = (entry.key.clone(), last.epoch);
        let until = world.now + held;
        world.held_until.entry(id).or_insert(until);
        world.faults.note("a host that flaps is held");
    }
}

/// For how long people are not to hear of the recovery of a host that flaps.
pub(crate) fn held(entry: &Entry, last: &Transition) -> Option<i64> {
    let Pending {
        phase: Phase::Pending { not_before },
        attempt: 0,
        ..
    } = entry.pending.as_ref()?
    else {
        return None;
    };
    let held = i64::try_from(not_before.since(last.at).as_millis()).unwrap();
    (held > 0 && last.kind == Kind::Recovered).then_some(held)
}

/// A process stored a record. Its clock was so much `ahead` of the right time when it began, and is `skew` ahead of the
/// others.
pub(crate) fn swapped(world: &mut World, record: &dyn Any, ports: &SimulatedPorts) {
    let &SimulatedPorts {
        ahead,
        skew,
        process,
        ..
    } = ports;
    if let Some(record) = record.downcast_ref::<FleetRecord>() {
        sending(world, record, process);
    }
    if let Some(digest) = record.downcast_ref::<Digest>()
        && digest.stage == DigestStage::Open
        && !world
            .sends
            .contains(&(process, digest.fleet.clone(), digest.kind))
    {
        world.violated(IN_GROUPS, format!("{digest:?} by process {process}"));
    }
    if let Some(receiver) = record.downcast_ref::<Receiver>() {
        let now = world.now;
        let region = receiver.region.clone();
        let known = world.heard.insert(region.clone(), receiver.heard);
        let heard = receiver.heard.map_or(0, hb_domain::Timestamp::as_millis);
        let of_right_clock = (heard - world.clocks - now).abs() < RIGHT;
        world
            .canaries
            .insert(region.clone(), of_right_clock.then_some(now));
        if known != Some(receiver.heard) {
            let quiet = world.without_canary.entry(region).or_default();
            quiet.end((heard - ahead).min(now), now);
        }
    }
    let Some(entry) = record.downcast_ref::<Entry>() else {
        return;
    };
    noted(world, entry);
    let asked = world.asked.remove(&entry.key);
    let mut wrong_clock = skew > SKEW;
    if let Some(inquiry) = &entry.inquiry {
        world.say(|| format!("asked about {}: {inquiry:?}", entry.key));
        let known = asked.filter(|(at, _)| *at == inquiry.at);
        let asked = known.unwrap_or((inquiry.at, wrong_clock));
        world.asked.insert(entry.key.clone(), asked);
    } else {
        wrong_clock |= asked.is_some_and(|(_, wrong)| wrong);
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
            // To a sweep whose clock is ahead by more, all hosts have been silent for longer; and where copies are late,
            // others only know what it asked.
            windows::decided(world, &entry.key, last);
            if !wrong_clock {
                alarms::check(world, &entry.key, last, ahead);
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
        key: None,
        withdrawn: false,
        accepted: None,
        ..last.clone()
    }
}

/// Whether another copy is a violation: the echo of this one was read within W, or could have been because it arrived
/// within W. A sender may have taken the lease just before the echo was read.
fn echoed_in_time(world: &World, copy: &Accepted, sender: &Region) -> bool {
    // Whoever has another clock takes a lease or the wait for over too early.
    let wrong_clock = world.wrong_clock.is_some_and(|at| at > copy.at - 2 * LEASE);
    // An echo of an entry that cannot be read comes again, later.
    let unreadable =
        matches!(&copy.subject, Subject::Host(key, ..) if world.damage.since(key, copy.at));
    if wrong_clock || unreadable || copy.echo.is_none_or(|at| at > copy.at + ECHO_WAIT) {
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
    // Only sweeps of its region can read it, and one that does not know of the doubt takes an empty short poll for all.
    let unread = world.echoes_unread.get(&copy.region).copied();
    let unread = unread.filter(|_| copy.region != *sender);
    let swept = world.completed.get(&copy.region).copied();
    swept > unread.max(Some(visible.unwrap_or(i64::MAX)))
}

/// The topic accepted a notice.
pub(crate) fn accepted(world: &mut World, notice: &Notice, copy: Accepted) {
    let earlier: Vec<_> = world
        .accepted
        .iter()
        .filter(|other| other.subject == copy.subject)
        .cloned()
        .collect();
    if let Some(other) = earlier
        .iter()
        .find(|other| echoed_in_time(world, other, &copy.region))
    {
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
    if notice.reminder.is_none() {
        windows::accepted(world, notice, &copy);
    } else {
        reminders::accepted(world, notice, copy);
        return;
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
        let unpublished = world.claims.keys().find(|id| {
            before(id) && !world.published_by.contains_key(id) && !world.withdrawn.contains(id)
        });
        let unpublished = unpublished.filter(|(host, _)| !world.forgotten.contains(host));
        if let Some((_, earlier)) = unpublished.cloned() {
            world.violated(
                IN_ORDER,
                format!("{host}: epoch {epoch} before epoch {earlier}"),
            );
        }
        if world.withdrawn.contains(&(host.clone(), *epoch)) {
            world.violated(WITHDRAWN_UNSENT, format!("{host} epoch {epoch}"));
        }
        if !world.published_by.contains_key(&(host.clone(), *epoch)) {
            world.settled(host, *epoch);
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
    let single = matches!(copy.subject, Subject::Host(..)) && copy.attempt == 1;
    let group = (copy.process, notice.fleet.clone(), notice.kind);
    if single && !world.sends.contains(&group) {
        world.violated(
            IN_GROUPS,
            format!("{:?} by process {}", copy.subject, copy.process),
        );
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
    for id in world
        .claims
        .keys()
        .filter(|(host, _)| !world.forgotten.contains(host))
    {
        let told = world.published_by.contains_key(id) || world.withdrawn.contains(id);
        if !told && !world.still_waits(id) {
            let words = format!("{} epoch {} was never published", id.0, id.1);
            broken.push((NOTHING_PENDING, words));
        }
    }
    broken.extend(reminders::at_the_end(world, &records));
    for (key, truth) in &world.truth {
        let place = (<Entry as Record>::TABLE, key.to_string());
        let known = records.contains_key(&place);
        // What is older than the last sweep of a wrong clock, or than a backup, or could not be read, counts as known.
        let taken_for_known = world.stepped.is_some()
            || world.operations.restored.is_some()
            || world.damage.since(key, 0);
        let long_ago = truth.beat.is_some_and(|at| at + NEW < world.now);
        if long_ago && !known && !taken_for_known {
            broken.push((IS_REGISTERED, format!("{key} has no entry")));
        }
    }
    for (key, until) in &world.silent {
        let claims = world
            .claims
            .range((key.clone(), 0)..=(key.clone(), u64::MAX));
        let mut claims = claims.rev();
        let (claim, before) = (claims.next(), claims.next());
        // A failure of before, whose copy was late, is decided first, and delays it by a sweep and by the wait of its group.
        let delay = world.waits_in_group();
        let is_late = |id: &(HostKey, u64)| {
            world.claimed[id] > until - delay - in_time(world.truth[key].interval)
        };
        let failed = before.is_some_and(|(id, _)| is_late(id));
        // So is a registration that could not be decided while its entry was unreadable.
        let registered = world.damage.since(key, 0)
            && claim.is_some_and(|(id, last)| last.kind == Kind::Registered && is_late(id));
        let mut until = until + if failed || registered { delay } else { 0 };
        // The entry is of a clock that was ahead, and its time has come: the last beat that it knows counts as one that has
        // yet to arrive here, a limit of the product.
        let basis = claim.map(|(_, last)| last.last_beat);
        if world.stepped.is_some() && stored(world, key).map(|beats| beats.last) < basis {
            until += world.truth[key].interval + 60_000;
        }
        let waits =
            claim.is_some_and(|(id, last)| last.kind == Kind::Failing && world.still_waits(id));
        let in_time = waits
            || registered && until > world.now
            || claim
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

/// When the last transition of a host was decided. What an admin did is not known to the instant.
fn last_claim(world: &World, key: &HostKey) -> Option<i64> {
    if world.forgotten.contains(key) {
        return Some(i64::MAX);
    }
    let all = (key.clone(), 0)..=(key.clone(), u64::MAX);
    world.claimed.range(all).next_back().map(|(_, at)| *at)
}

/// Whether people knew at `at` that the host was failing.
fn was_failing(world: &World, key: &HostKey, at: i64) -> bool {
    let claims = world
        .claims
        .range((key.clone(), 0)..=(key.clone(), u64::MAX));
    let claims = claims.filter(|(id, _)| !world.withdrawn.contains(id));
    let claims: Vec<_> = claims.map(|(_, last)| last).collect();
    claims.windows(2).any(|pair| {
        let until = pair[1].last_beat.as_millis();
        pair[0].kind == Kind::Failing && (pair[0].since.as_millis()..until).contains(&at)
    })
}

/// The beats of a host as the first region has them.
fn stored(world: &World, key: &HostKey) -> Option<Heartbeat> {
    let beats = world.tables.beats.get(world.regions.first()?)?.values();
    let of_host = beats.filter(|heard| heard.key == *key).cloned();
    of_host
        .map(|heard| heard.heartbeat)
        .reduce(Heartbeat::merge)
}

/// Whether people were not notified that a host which is up has raised its interval.
fn raise_is_unknown(world: &World, entry: &Entry) -> bool {
    let raised = stored(world, &entry.key).filter(|beats| {
        let first = beats.first_interval;
        first.is_some_and(|first| beats.has_raised(first))
    });
    let claims = (entry.key.clone(), 0)..=(entry.key.clone(), u64::MAX);
    let claims = world.claims.range(claims);
    let mut told = claims.filter(|(id, _)| !world.withdrawn.contains(id));
    let known = told.rfind(|(_, last)| last.kind == Kind::Slowed);
    let known = known.map(|(_, last)| last.interval);
    entry.state == State::Up
        && entry.settings.interval.is_none()
        && raised.is_some_and(|beats| known.is_none_or(|known| beats.has_raised(known)))
}

/// The invariants that the entry of a host violates at the end.
fn entry_at_the_end(world: &World, entry: &Entry) -> Vec<(&'static str, String)> {
    let key = &entry.key;
    let mut broken = Vec::new();
    let waits = world.still_waits(&(key.clone(), entry.epoch));
    let pending = entry.pending.as_ref();
    if let Some(pending) = pending.filter(|pending| !(waits && pending.is_untouched())) {
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
        // It has yet to send a beat, or one since the backup, or its deadline is to come.
        // What it sent while clocks were wrong may count as earlier than what they wrote before.
        let later = !truth.is_judged() && world.stepped.is_some()
            || !truth.is_judged() && last_claim(world, key).is_some_and(|at| Some(at) > truth.beat)
            || !truth.up && world.due(key, truth) > world.now
            || world.operations.restored > truth.beat;
        // A new host, dated before the last sweep on record by a clock that stepped back: when the clock is right again
        // before any sweep completes, it is taken for known. Its silence is reported all the same.
        // The same when it could not be read.
        let restored = world.operations.restored.is_some();
        let taken_for_known =
            entry.epoch == 0 && (world.stepped.is_some() || world.damage.since(key, 0) || restored);
        // People get to know that it failed before anything else is decided.
        let waits = entry.state == State::Failing && world.still_waits(&(key.clone(), entry.epoch));
        if entry.state != expected && !later && !taken_for_known && !waits {
            let words = format!("{key} is {expected} and is reported {}", entry.state);
            broken.push((STATE_IS_REPORTED, words));
        }
    }
    if raise_is_unknown(world, entry) {
        broken.push((RAISE_IS_REPORTED, key.to_string()));
    }
    let failed = world
        .failed
        .get(key)
        .filter(|_| !world.administered.contains(key));
    // What was stored before is of another clock, or of now.
    let since = |at: Option<i64>, failed: i64| at.is_some_and(|at| at > failed - COPY);
    let mended = world.mended.get(key).copied();
    let failed = failed.filter(|(at, _)| !since(world.stepped, *at) && !since(mended, *at));
    // A failure that could not be read, before an `ok` that can, counts as known.
    let failed = failed.filter(|(at, _)| !world.damage.since(key, *at));
    // What a backup does not have.
    let failed = failed.filter(|(at, _)| world.operations.restored.is_none_or(|when| *at > when));
    let failed = failed.map(|(_, shown)| shown);
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
