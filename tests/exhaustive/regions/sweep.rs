//! The sweep of a region, with the order of the steps of `hb_service::sweep`: each has one access to the ledger or to the
//! heartbeats, and every change of the entry is a rule of `hb_domain`.
//!
//! A notice is leased, published and cleared in one step; the other searches interleave those. There is one sweep of a
//! region at a time.

use std::sync::Arc;

use hb_domain::{
    Breaker, DeliveryPolicy, Entry, Heartbeat, Kind, Publication, Region, Regions, Rules,
    SilentHosts, State, decide_among,
};
use std::time::Duration;
use uuid::Uuid;

use super::site::{At, Beats, Candidate, Draft, NO_SWEEP, Policy, Site, region};
use super::world::{Step, World, host};
use super::{Broken, Setting};

/// Nothing happens during a lease here.
const DELIVERY: DeliveryPolicy = DeliveryPolicy {
    lease: Duration::ZERO,
    echo_wait: Duration::ZERO,
};

/// The sweep of one region in one world, about to take a step.
struct Turn<'a> {
    setting: &'a Setting,
    world: &'a World,
    me: usize,
    next: Vec<(Step, World)>,
}

/// All next steps of the sweep of region `me`. The first one has no fault.
pub(crate) fn turn(setting: &Setting, world: &World, me: usize) -> Vec<(Step, World)> {
    let mut turn = Turn {
        setting,
        world,
        me,
        next: Vec::new(),
    };
    match &world.sites[me].sweep.at {
        At::Idle => turn.begin(),
        At::Scan(open) => turn.scan(open.as_deref()),
        At::Confirm(candidate) => turn.confirm(*candidate),
        At::Decide(entry, current) => turn.decide(entry, *current),
        At::Claim(draft) => turn.claim(draft),
        At::Change(draft) => turn.change(draft),
        At::Keep(failure) => {
            let home = region(me);
            let kept = world.entry.as_deref().cloned();
            let kept = kept.and_then(|entry| entry.with_failure_left(*failure, home));
            turn.end("keeps a failure", |world| {
                if let Some(entry) = kept {
                    world.store(entry);
                }
            });
        }
        At::Deliver(current) => turn.deliver(*current),
    }
    // Before its first swap a sweep that crashes is like one that never began.
    let holds_news = matches!(turn.site().sweep.at, At::Keep(_) | At::Deliver(_));
    if holds_news && world.left.crashes > 0 {
        turn.step("crashes", At::Idle, |world| world.left.crashes -= 1);
    }
    turn.next
}

impl Turn<'_> {
    fn site(&self) -> &Site {
        &self.world.sites[self.me]
    }

    fn policy(&self) -> Option<Policy> {
        let sweep = &self.site().sweep;
        let receivers = sweep.receivers.as_ref()?;
        Some(Policy::new(self.setting, self.me, receivers, sweep.began))
    }

    fn heartbeat(&self, stored: Option<(Beats, usize)>) -> Option<(Heartbeat, &'static Region)> {
        let interval = self.setting.interval();
        stored.map(|(beats, heard_in)| (beats.heartbeat(interval), region(heard_in)))
    }

    /// Adds a step that leads to `at`, and changes the world by `change`.
    fn step(&mut self, what: &'static str, at: At, change: impl FnOnce(&mut World)) {
        let mut world = self.world.clone();
        change(&mut world);
        let sweep = &mut world.sites[self.me].sweep;
        sweep.at = at;
        if sweep.at == At::Idle {
            *sweep = NO_SWEEP;
        }
        self.next.push((Step::Sweep(self.me, what), world));
    }

    /// Adds a step that completes the sweep.
    fn end(&mut self, what: &'static str, change: impl FnOnce(&mut World)) {
        let (me, began) = (self.me, self.site().sweep.began);
        self.step(what, At::Idle, |world| {
            change(world);
            world.sites[me].last_sweep = began;
        });
    }

    fn begin(&mut self) {
        if self.site().swept {
            return;
        }
        let open = self.world.entry.clone().filter(|entry| entry.is_open());
        let pending = open.as_ref().and_then(|entry| entry.pending.as_ref());
        let (me, began) = (self.me, self.world.now_in(self.setting, self.me));
        let waits = pending.map(|pending| pending.ready_at(&DELIVERY) > Some(began));
        let at = match waits {
            None => At::Scan(open),
            Some(false) => At::Deliver(true),
            Some(true) => At::Idle,
        };
        self.step("begins", at, |world| {
            world.sites[me].swept = true;
            world.sites[me].sweep.began = began;
            if waits == Some(true) {
                world.sites[me].last_sweep = began;
            }
        });
    }

    fn scan(&mut self, open: Option<&Entry>) {
        let me = self.me;
        let receivers = Arc::new([0, 1].map(|n| self.world.sites[n].receiver.clone()));
        let policy = Policy::new(self.setting, me, &receivers, self.site().sweep.began);
        match self.judge(open, &policy) {
            None => self.end("finds nothing", |_| {}),
            Some(candidate) => self.step("finds a candidate", At::Confirm(candidate), |world| {
                world.sites[me].sweep.receivers = Some(receivers);
            }),
        }
    }

    /// As `Judge::judge` of `hb_service`.
    fn judge(&self, open: Option<&Entry>, policy: &Policy) -> Option<Candidate> {
        if open.is_some_and(|entry| entry.inquiry.is_some()) {
            return Some(Candidate {
                scanned: None,
                seems_missing: true,
                doubtful: false,
            });
        }
        let scanned = self.site().stored(self.me, self.setting.interval());
        let (beats, heard_in) = self.heartbeat(scanned)?;
        let last_sweep = Some(self.site().last_sweep);
        let now = self.site().sweep.began;
        let entry = match open {
            Some(entry) => Entry {
                state: entry.state,
                needs_recheck: entry.needs_recheck,
                basis: entry.basis,
                failure: entry.failure,
                ..Entry::new(host())
            },
            None => Entry::assumed(&host(), &beats, last_sweep, now),
        };
        let seems = |rules: &Rules| {
            let stored = Some((&beats, heard_in));
            let next = decide_among(&entry, stored, now, rules, &policy.regions)?;
            Some(next.epoch == entry.epoch || kind(&next) == Some(Kind::Missing))
        };
        let sure = seems(&policy.sure);
        let raw = || policy.raw.as_ref().and_then(seems);
        let recheck = entry.needs_recheck && entry.state != State::Forgotten;
        match (sure, sure.or_else(raw)) {
            (sure, Some(seems_missing)) => Some(Candidate {
                scanned,
                seems_missing,
                doubtful: sure.is_none(),
            }),
            (_, None) => recheck.then_some(Candidate {
                scanned,
                seems_missing: false,
                doubtful: false,
            }),
        }
    }

    fn confirm(&mut self, candidate: Candidate) {
        let Some(policy) = self.policy() else {
            return;
        };
        let now = self.site().sweep.began;
        let silent = SilentHosts {
            now: 1,
            before: 0,
            hosts: 1,
        };
        let held = policy.may_hold(candidate)
            && Breaker::of(silent, policy.health, false, None, now) != Breaker::Closed;
        if held {
            return self.end("holds the host", |_| {});
        }
        let new = || Arc::new(Entry::new(host()));
        let entry = self.world.entry.clone().unwrap_or_else(new);
        let beats = self.heartbeat(candidate.scanned);
        let stored = beats.as_ref().map(|(beats, heard_in)| (beats, *heard_in));
        let changes = decide_among(&entry, stored, now, &policy.sure, &policy.regions).is_some();
        let forgotten = entry.state == State::Forgotten;
        if changes || entry.inquiry.is_some() || forgotten != entry.needs_recheck {
            return self.step("reads the entry", At::Decide(entry, true), |_| {});
        }
        self.leave("has nothing to do", &entry, candidate.scanned);
    }

    /// Nothing is decided, but a failure may have to be kept for a later sweep.
    fn leave(&mut self, what: &'static str, entry: &Entry, beats: Option<(Beats, usize)>) {
        let failed = beats.and_then(|(beats, _)| beats.failed);
        match failed.filter(|_| entry.pending.is_some() && self.keeps_failures()) {
            Some(failure) => self.step(what, At::Keep(failure), |_| {}),
            None => self.end(what, |_| {}),
        }
    }

    fn keeps_failures(&self) -> bool {
        self.setting.broken != Some(Broken::DropsFailures)
    }

    fn decide(&mut self, entry: &Arc<Entry>, current: bool) {
        let Some(policy) = self.policy() else {
            return;
        };
        let stored = self.site().stored(self.me, self.setting.interval());
        let beats = self.heartbeat(stored);
        let beats = beats.as_ref().map(|(beats, heard_in)| (beats, *heard_in));
        let now = self.site().sweep.began;
        let draft = |next| Draft {
            next: Arc::new(next),
            current,
        };
        match decide_among(entry, beats, now, &policy.sure, &policy.regions) {
            Some(next) if next.epoch > entry.epoch => {
                self.step("decides", At::Claim(draft(next)), |_| {});
            }
            Some(next) => self.step("asks or answers", At::Change(draft(next)), |_| {}),
            None if stored.is_none() => self.end("knows no beat", |_| {}),
            None => {
                let alone = self.setting.broken == Some(Broken::RechecksAlone);
                let regions = Regions {
                    living: if alone {
                        vec![]
                    } else {
                        policy.regions.living.clone()
                    },
                    ..policy.regions
                };
                let rechecked = if entry.state == State::Forgotten {
                    Entry::clone(entry).reopened()
                } else {
                    Entry::clone(entry).rechecked_by(&regions)
                };
                match rechecked {
                    Some(next) => self.step("rechecks", At::Change(draft(next)), |_| {}),
                    None => self.leave("decides nothing", entry, stored),
                }
            }
        }
    }

    fn claim(&mut self, draft: &Draft) {
        let (setting, me) = (self.setting, self.me);
        if draft.current || setting.broken == Some(Broken::ClaimsWithoutCompare) {
            let next = Entry::clone(&draft.next);
            return self.step("claims", At::Deliver(true), |world| {
                world.decided(setting, me, &next);
                world.store(next);
            });
        }
        match draft.next.failure.filter(|_| self.keeps_failures()) {
            Some(failure) => self.step("loses the race", At::Keep(failure), |_| {}),
            None => self.end("loses the race", |_| {}),
        }
    }

    fn change(&mut self, draft: &Draft) {
        if draft.current {
            let next = Entry::clone(&draft.next);
            self.end("changes the entry", |world| world.store(next));
        } else {
            self.end("loses the race", |_| {});
        }
    }

    fn deliver(&mut self, current: bool) {
        let now = self.world.now_in(self.setting, self.me);
        let leased = self.world.entry.as_deref().cloned();
        let leased = leased.and_then(|entry| entry.leased(Uuid::nil(), now, &DELIVERY));
        let Some(leased) = leased.filter(|_| current) else {
            return self.end("finds the notice taken", |_| {});
        };
        let attempt = leased.pending.as_ref().map_or(0, |pending| pending.attempt);
        let after = |outcome| {
            let entry = leased.clone();
            entry.published(leased.epoch, Uuid::nil(), attempt, &outcome, now)
        };
        if let Some(accepted) = after(Publication::Accepted) {
            self.end("delivers the notice", |world| {
                world.accepted(leased.epoch);
                world.store(accepted);
            });
        }
        let refused = after(Publication::Refused(String::new()));
        if let Some(refused) = refused.filter(|_| self.world.left.refusals > 0) {
            self.end("is refused by the topic", |world| {
                world.left.refusals -= 1;
                world.store(refused);
            });
        }
    }
}

/// What an entry's last transition is.
pub(crate) fn kind(entry: &Entry) -> Option<Kind> {
    entry.history.last().map(|last| last.kind)
}
