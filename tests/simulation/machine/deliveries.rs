//! What must hold between the acceptance of a notice and its receipts.

use std::collections::BTreeSet;

use hb_domain::{Notice, SubscriptionId};
use hb_service::ports::{Content, DeliveryOutcome, LeasedDelivery};

use super::receivers::{Dislike, Receipt, transitions};
use super::world::{Fate, Id, World};

/// Unless it is given up.
pub(crate) const DELIVERED: &str = "each receiver gets each notice";
/// And the copy has the same id.
pub(crate) const ONE_COPY: &str = "a second copy only after a lost answer or a crash";
/// A later notice passes one that was refused for ten minutes; that one is not delivered any more.
pub(crate) const DELIVERED_IN_ORDER: &str = "in order per host and receiver";
/// And after three of them it is.
pub(crate) const GIVEN_UP: &str = "given up after three final answers, and only then";
/// When faults have ended, one that is refused delays the next one by ten minutes at most, and nothing else does.
pub(crate) const NOT_HELD: &str = "a refused notice holds the next one for ten minutes at most";

/// How long a notice that is refused keeps later ones waiting.
const FIRST_FOR: i64 = 600_000;
/// The longest pause between two tries, a lease that a process left, and two sends that time out.
const PAUSES: i64 = 300_000 + 45_000 + 30_000;
/// A send or two, and a poll.
const PROMPT: i64 = 5_000;
/// When pauses of the time with faults are over.
const CALMED: i64 = 400_000;

impl World {
    pub(crate) fn fate(&mut self, to: &SubscriptionId, id: &Id) -> &mut Fate {
        self.fates.entry((to.clone(), id.clone())).or_default()
    }

    /// Whether the receiver has got it.
    fn has(&self, to: &SubscriptionId, id: &Id) -> bool {
        let fate = self.fates.get(&(to.clone(), id.clone()));
        fate.is_some_and(|fate| !fate.receipts.is_empty())
    }

    /// The earlier transitions of the host that the topic accepted.
    fn earlier(&self, id: &Id) -> Vec<Id> {
        let earlier = self.accepted.range((id.0.clone(), 0)..id.clone());
        earlier.map(|(id, _)| id.clone()).collect()
    }

    /// The transitions of the notice with this one.
    fn same_notice(&self, id: &Id) -> Vec<Id> {
        let Some((_, identity)) = self.accepted.get(id) else {
            return vec![id.clone()];
        };
        let all = self.accepted.iter();
        let same = all.filter(|(_, (_, other))| other == identity);
        same.map(|(id, _)| id.clone()).collect()
    }

    /// Those of them that the receiver does not have.
    fn rest(&mut self, to: &SubscriptionId, id: &Id) -> Vec<Id> {
        let mut rest = self.same_notice(id);
        rest.retain(|id| self.fate(to, id).receipts.is_empty());
        rest
    }
}

/// A receiver did not take a notice.
pub(crate) fn refused(world: &mut World, to: &SubscriptionId, notice: &Notice) {
    let now = world.now();
    // The parts of a digest that are yet to come wait as well, and yield with it.
    let ids = transitions(notice);
    let waiting: Vec<Id> = ids.iter().flat_map(|id| world.rest(to, id)).collect();
    for id in ids.iter().chain(&waiting) {
        let fate = world.fate(to, id);
        fate.failed = fate.failed.or(Some(now));
    }
}

/// A receiver takes a notice.
pub(crate) fn received(world: &mut World, to: &SubscriptionId, notice: &Notice, life: u64) {
    let ids = transitions(notice);
    if !ids.iter().any(|id| world.has(to, id)) {
        not_held(world, to, notice, &ids);
    }
    for id in &ids {
        in_order(world, to, id);
        copy(world, to, id, notice, life);
    }
}

/// No transition that is still to be delivered is passed too early, and none that was passed comes after all.
fn in_order(world: &mut World, to: &SubscriptionId, id: &Id) {
    let now = world.now();
    for earlier in world.earlier(id) {
        let stepped = world.stepped_since(world.accepted[&earlier].0);
        let fate = world.fate(to, &earlier);
        if !fate.receipts.is_empty() || fate.dead {
            continue;
        }
        let failed = fate.failed.map(|at| now - at);
        world.note("one machine: a later notice passes");
        if failed < Some(FIRST_FOR) && !stepped {
            let words = format!("{to}: {id:?} before {earlier:?}, failed for {failed:?}");
            world.violated(DELIVERED_IN_ORDER, words);
        }
    }
    let later = (id.0.clone(), id.1 + 1)..=(id.0.clone(), u64::MAX);
    let later: Vec<_> = world
        .accepted
        .range(later)
        .map(|(id, _)| id.clone())
        .collect();
    for later in later {
        if world.fate(to, &later).recorded {
            let words = format!("{to}: {id:?} after {later:?} was delivered");
            world.violated(DELIVERED_IN_ORDER, words);
        }
    }
}

/// When faults have ended, a first copy is not late: nothing has held it longer than it may.
fn not_held(world: &mut World, to: &SubscriptionId, notice: &Notice, ids: &[Id]) {
    let now = world.now();
    // Until when it may have been held, and whether anything at all did that.
    let mut start = world.calm_from;
    let mut prompt = true;
    if world.known_dislike(to, notice) == Some(Dislike::ForNow) {
        start = start.max(world.liked_from);
    }
    // A digest waits for the hosts of all its parts.
    let whole: BTreeSet<Id> = ids.iter().flat_map(|id| world.same_notice(id)).collect();
    for id in &whole {
        let accepted = world.accepted.get(id).map_or(now, |(at, _)| *at);
        start = start.max(accepted);
        prompt &= accepted > world.calm_from.saturating_add(CALMED)
            && !world.stepped_since(accepted)
            && world.fate(to, id).failed.is_none();
        for earlier in world.earlier(id) {
            let fate = world.fate(to, &earlier);
            let waits = fate.failing.map(|at| at + FIRST_FOR);
            let received = fate.receipts.last().map(|last| last.at);
            let received = received.or(waits).unwrap_or(0);
            start = start.max(waits.map_or(received, |waits| waits.min(received)));
            prompt &= received < accepted && (fate.dead || !fate.receipts.is_empty());
        }
    }
    if world.on || world.stepped_since(start - FIRST_FOR) {
        return;
    }
    let bound = if prompt { PROMPT } else { PAUSES };
    world.note(if prompt {
        "one machine: a prompt delivery"
    } else {
        "one machine: a delayed delivery"
    });
    let waited = now - start;
    if waited > bound {
        let words = format!("{to}: {ids:?} waited for {waited} ms, of {bound}");
        world.violated(NOT_HELD, words);
    }
}

/// One more copy, perhaps the first.
fn copy(world: &mut World, to: &SubscriptionId, id: &Id, notice: &Notice, life: u64) {
    let at = world.now();
    let fate = world.fate(to, id);
    let notice = notice.id.to_string();
    let before = fate.receipts.last().cloned();
    let recorded = fate.recorded;
    fate.receipts.push(Receipt {
        at,
        life,
        answered: false,
        notice: notice.clone(),
    });
    let Some(before) = before else {
        return;
    };
    world.note("one machine: a second copy");
    if recorded || before.answered && before.life == life || before.notice != notice {
        let words = format!("{to}: {id:?} as {notice}, recorded: {recorded}, after {before:?}");
        world.violated(ONE_COPY, words);
    }
}

/// The process got the answer that the receiver has it.
pub(crate) fn answered(world: &mut World, to: &SubscriptionId, notice: &Notice) {
    for id in transitions(notice) {
        if let Some(last) = world.fate(to, &id).receipts.last_mut() {
            last.answered = true;
        }
    }
}

/// The outcome of a try is stored.
pub(crate) fn settled(
    world: &mut World,
    leased: &LeasedDelivery,
    outcome: &DeliveryOutcome,
    overtaken: &[String],
) {
    let to = &leased.subscription;
    let now = world.now();
    let Ok(Content::Notice(notice)) = leased.delivery.as_ref().map(|delivery| &delivery.content)
    else {
        return;
    };
    for identity in overtaken {
        world.say(|| format!("{to}: {identity} is overtaken"));
    }
    let ids = transitions(notice);
    let whole = world.whole(to, notice);
    match outcome {
        DeliveryOutcome::Delivered => {
            world.refused.remove(&whole);
            for id in &ids {
                world.fate(to, id).recorded = true;
                for earlier in world.earlier(id) {
                    let fate = world.fate(to, &earlier);
                    fate.dead |= fate.receipts.is_empty();
                }
                for other in world.rest(to, id) {
                    world.fate(to, &other).failing = None;
                }
            }
        }
        DeliveryOutcome::Retry { refused, .. } => {
            let waiting: Vec<Id> = ids.iter().flat_map(|id| world.rest(to, id)).collect();
            for id in waiting.iter().chain(&ids) {
                let known = world.fate(to, id).failing;
                // What was failing before the clock was set back counts as failing since its next try: a limit of the
                // product.
                let known = known.filter(|at| !world.set_back_since(*at));
                world.fate(to, id).failing = known.or(Some(now));
            }
            let finals = world.refused.entry(whole).or_default();
            *finals += u32::from(*refused);
            if *finals > 2 {
                world.violated(GIVEN_UP, format!("{to}: {ids:?} is tried again"));
            }
        }
        DeliveryOutcome::Split { .. } => {}
        DeliveryOutcome::Dead { error } => {
            world.say(|| format!("{to}: {ids:?} is dead: {error}"));
            world.note("one machine: a dead delivery");
            // Each step forward counts as half a day without a try: a limit of the product.
            let old = world.steps > 1;
            let finals = world.refused.get(&whole).copied();
            if finals < Some(2) && !old {
                world.violated(GIVEN_UP, format!("{to}: {ids:?} is dead: {error}"));
            }
            for id in &ids {
                for other in world.rest(to, id) {
                    world.fate(to, &other).dead = true;
                }
            }
        }
    }
}
