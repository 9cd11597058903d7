//! What must hold, whatever happens. Checked at every effect, and once more when all is quiet.

use std::any::Any;

use hb_domain::{Entry, HostKey, Kind, Notice, Phase, State, Transition};

use crate::run::LEASE;
use crate::world::{Accepted, Message, World};

/// Each transition of a host is decided once.
pub(crate) const ONE_TRANSITION: &str = "one transition per host and epoch";
/// People are told only what was decided.
pub(crate) const NOTICE_OF_TRANSITION: &str = "no notice without a transition";
/// A further copy only where the echo of every earlier one was later than W, and it says so.
pub(crate) const ACCEPTED_ONCE: &str = "accepted once, but for late echoes";
/// `recovered` never comes before `missing`.
pub(crate) const IN_ORDER: &str = "in order per host";
/// Nobody is told of a host that goes on beating.
pub(crate) const NO_FALSE_ALARM: &str = "a beating host is never missing";
/// A digest's member is told by it and by nothing else.
pub(crate) const TOLD_BY_ONE: &str = "each transition is told by one notice";
/// SNS would deactivate the subscription.
pub(crate) const NOT_TOO_FAST: &str = "at most 10 messages a second to a topic";
/// When faults end, everything pending is told.
pub(crate) const NOTHING_PENDING: &str = "nothing pending for ever";
/// When faults end, people know how each host stands.
pub(crate) const TRUTH_IS_TOLD: &str = "a silent host is told in time, and its return";

/// Also when it was well again before the next sweep.
pub(crate) const FAILURE_IS_TOLD: &str = "a failure is told";

/// The wait for an echo, and a little less than the clocks of two machines may make of it.
const ECHO_WAIT: i64 = 180_000 - 12_000;
/// How long a host has to be up, beating, to be surely known to be: its interval, and time for skew and tries.
const SURELY_UP: i64 = 60_000 + 30_000;

/// How soon a silence is decided on when all is well: an interval, the skew, two sweeps, and what clocks may differ.
const IN_TIME: i64 = 60_000 + 2_000 + 120_000 + 5_000;

/// How long a region is waited for ([`hb_domain::limits::REGION_DEAD_AFTER`]).
const PRESUMED_DEAD: i64 = 300_000;

/// A record was stored.
pub(crate) fn swapped(world: &mut World, record: &dyn Any) {
    let Some(entry) = record.downcast_ref::<Entry>() else {
        return;
    };
    let Some(told) = entry
        .history
        .last()
        .filter(|last| last.epoch == entry.epoch)
    else {
        return;
    };
    let place = (entry.key.clone(), told.epoch);
    match world.claims.get(&place) {
        None => {
            world.claims.insert(place, told.clone());
            world.say(|| {
                format!(
                    "claimed: {} is {:?}, epoch {}, last beat {}, at {}",
                    entry.key, told.kind, told.epoch, told.last_beat, told.at
                )
            });
            false_alarm(world, &entry.key, told);
        }
        Some(known) if decided(known) != decided(told) => {
            let words = format!("{} epoch {}: {known:?} and {told:?}", entry.key, told.epoch);
            world.violated(ONE_TRANSITION, words);
        }
        Some(_) => {}
    }
}

/// A transition as it was decided, without how it was told.
fn decided(told: &Transition) -> Transition {
    Transition {
        accepted: None,
        ..told.clone()
    }
}

fn false_alarm(world: &mut World, key: &HostKey, told: &Transition) {
    let Some(truth) = world.truth.get(key).filter(|truth| truth.up) else {
        return;
    };
    if told.kind != Kind::Missing || told.caveat.is_some() {
        return;
    }
    let (decided, last) = (told.at.as_millis(), told.last_beat.as_millis());
    // A region that waits for another tells a silence that was real so much later, at most.
    let waited = if world.regions.len() > 1 {
        PRESUMED_DEAD
    } else {
        0
    };
    let never_silent = truth.since <= last;
    // Of a silence that was real it may learn only later that it ended.
    let heard_since = truth.since.max(if world.deaf.is_empty() {
        world.last_deaf
    } else {
        decided
    });
    if never_silent || decided - heard_since > SURELY_UP + waited {
        let (up, gap) = ((decided - truth.since) / 1_000, (decided - last) / 1_000);
        world.violated(
            NO_FALSE_ALARM,
            format!("{key} is told missing after {gap} s, and beats for {up} s"),
        );
    }
}

/// Whether people must not get another copy: the echo of this one was read within W or, as it came within W, could have
/// been. That a sender took the lease just before it was read may be.
fn echoed_in_time(world: &World, copy: &Accepted) -> bool {
    if copy.echo.is_none_or(|at| at > copy.at + ECHO_WAIT) {
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
    for (host, epoch) in &copy.tells {
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
        let untold = world
            .claims
            .keys()
            .find(|place| before(place) && !world.told_by.contains_key(place));
        let untold = untold.filter(|(host, _)| !world.forgotten.contains(host));
        if let Some((_, earlier)) = untold.cloned() {
            world.violated(
                IN_ORDER,
                format!("{host}: epoch {epoch} before epoch {earlier}"),
            );
        }
        let told_by = world.told_by.entry((host.clone(), *epoch)).or_default();
        told_by.insert(copy.subject.clone());
        if told_by.len() > 1 {
            let words = format!("{host} epoch {epoch}: {told_by:?}");
            world.violated(TOLD_BY_ONE, words);
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

/// All is quiet, for long enough.
pub(crate) fn at_rest(world: &mut World) {
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
            if let Some(pending) = &entry.pending {
                let batched = matches!(pending.phase, Phase::Batched { .. });
                broken.push((
                    NOTHING_PENDING,
                    format!("{key}: {pending:?}, batched: {batched}"),
                ));
            }
            if let Some(truth) = world.truth.get(&entry.key) {
                let expected = match truth.up {
                    true => State::Up,
                    false
                        if world.forgotten.contains(&entry.key)
                            && entry.state == State::Forgotten =>
                    {
                        State::Forgotten
                    }
                    false => State::Missing,
                };
                if entry.state != expected {
                    let words = format!("{key} is {} and is told {}", expected, entry.state);
                    broken.push((TRUTH_IS_TOLD, words));
                }
            }
            let failed = world
                .failed
                .get(&entry.key)
                .filter(|_| !world.administered.contains(&entry.key));
            // Of a host that is missing people know worse.
            let failed = failed.filter(|_| entry.state == State::Up);
            // The beat carries the time at which it was sent, a moment before it was stored.
            if failed.is_some_and(|at| {
                entry
                    .failure
                    .is_none_or(|known| known.as_millis() + 20 < *at)
            }) {
                broken.push((
                    FAILURE_IS_TOLD,
                    format!("{key} failed at {failed:?}, known is {:?}", entry.failure),
                ));
            }
        } else if *table == "digests" && row.open {
            broken.push((NOTHING_PENDING, format!("digest {key} is open")));
        }
    }
    for (host, epoch) in world
        .claims
        .keys()
        .filter(|(host, _)| !world.forgotten.contains(host))
    {
        if !world.told_by.contains_key(&(host.clone(), *epoch)) {
            broken.push((
                NOTHING_PENDING,
                format!("{host} epoch {epoch} was never told"),
            ));
        }
    }
    if let Some((key, since)) = &world.last_silent {
        let claim = world
            .claims
            .range((key.clone(), 0)..=(key.clone(), u64::MAX))
            .next_back()
            .map(|(_, told)| told);
        let late = claim
            .is_none_or(|last| last.kind != Kind::Missing || last.at.as_millis() > since + IN_TIME);
        if late {
            broken.push((
                TRUTH_IS_TOLD,
                format!("{key} is silent since {since}, and the last news is {claim:?}"),
            ));
        }
    }
    for (invariant, words) in broken {
        world.violated(invariant, words);
    }
}
