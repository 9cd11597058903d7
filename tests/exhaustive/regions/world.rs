//! A state of the search with two regions, the steps that need no sweep, and the invariants.

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{
    Caveat, Entry, Fleet, HostKey, Kind, Receiver, State, Timestamp, Transition, limits,
};

use super::Setting;
use super::site::{At, Beats, NO_SWEEP, Site, ahead, region};
use super::sweep::turn;

/// How many faults and beats may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Beats that say `fail`.
    pub(crate) fails: u8,
    /// Sweeps that do not run.
    pub(crate) skips: u8,
    /// Sweeps that crash.
    pub(crate) crashes: u8,
    /// Sweeps that time passes in.
    pub(crate) pauses: u8,
    /// Publishes that are refused.
    pub(crate) refusals: u8,
    /// Receivers that stop.
    pub(crate) stops: u8,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct World {
    /// Steps of time until now.
    pub(crate) time: u32,
    /// The entry of the host; the ledger is the same in both regions.
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) sites: [Site; 2],
    pub(crate) left: Budget,
    /// Whether the host has sent a beat since the last step of time.
    pub(crate) beaten: bool,
    /// The last beat that it sent, and since when it has sent one in each interval; of a host that never did `MIN`.
    pub(crate) sent: Timestamp,
    pub(crate) well_since: Timestamp,
    /// The last failure that was received, until people are notified of it or of something that says more.
    pub(crate) failed: Option<Timestamp>,
    /// The last epoch that was decided, and the last of which the topic accepted a notice.
    pub(crate) epoch: u64,
    pub(crate) told: u64,
    pub(crate) violation: Option<String>,
}

/// A step, for the trace.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read by people, in a trace")]
pub(crate) enum Step {
    Beat(usize, &'static str),
    Copy(usize),
    Time([&'static str; 2]),
    Sweep(usize, &'static str),
}

pub(crate) fn host() -> HostKey {
    HostKey::new(Fleet::main(), "web-01".parse().unwrap())
}

/// When a search begins.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap()
}

/// When a host that is known first beat.
fn long_ago(setting: &Setting) -> Timestamp {
    start().minus(setting.step * 50)
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let known = setting.known.then(|| {
            Arc::new(Entry {
                state: State::Up,
                epoch: 1,
                basis: start(),
                ..Entry::new(host())
            })
        });
        let epoch = known.as_ref().map_or(0, |entry| entry.epoch);
        let site = |n: usize| Site {
            works: true,
            receiver: Receiver {
                first: Some(start().minus(setting.step * 100)),
                heard: Some(start().plus(ahead(n))),
                ..Receiver::new(region(n).clone())
            },
            received: (setting.known && n == 0).then(|| Beats {
                first: long_ago(setting),
                ..Beats::new(start(), true)
            }),
            copied: None,
            last_sweep: start().minus(setting.step).plus(ahead(n)),
            swept: true,
            sweep: NO_SWEEP,
        };
        Self {
            time: 0,
            entry: known,
            sites: [0, 1].map(site),
            left: setting.budget,
            beaten: true,
            sent: if setting.known {
                start()
            } else {
                Timestamp::MIN
            },
            well_since: start(),
            failed: None,
            epoch,
            told: epoch,
            violation: None,
        }
    }

    pub(crate) fn now(&self, setting: &Setting) -> Timestamp {
        start().plus(setting.step * self.time)
    }

    /// Now, by the clock of region `n`.
    pub(crate) fn now_in(&self, setting: &Setting, n: usize) -> Timestamp {
        self.now(setting).plus(ahead(n))
    }

    fn is_idle(&self, n: usize) -> bool {
        self.sites[n].sweep.at == At::Idle
    }

    /// Whether no step is left.
    pub(crate) fn is_over(&self, setting: &Setting) -> bool {
        self.time == setting.steps && (0..2).all(|n| self.is_idle(n) && self.sites[n].swept)
    }

    /// All next steps.
    pub(crate) fn next(&self, setting: &Setting) -> Vec<(Step, Self)> {
        let mut next = Vec::new();
        for n in 0..2 {
            next.extend(turn(setting, self, n));
            let beats = !self.beaten && self.matters_now(n);
            if beats {
                next.push((Step::Beat(n, "ok"), self.beat(setting, n, true)));
            }
            if beats && self.left.fails > 0 {
                next.push((Step::Beat(n, "fail"), self.beat(setting, n, false)));
            }
            if setting.copied && (!self.beaten || self.reads_next(n)) {
                next.extend(self.copy(n).map(|world| (Step::Copy(n), world)));
            }
        }
        if self.time < setting.steps {
            self.time_passes(setting, &mut next);
        }
        next
    }

    fn reads_next(&self, n: usize) -> bool {
        matches!(self.sites[n].sweep.at, At::Scan(_) | At::Decide(..))
    }

    /// Whether a beat to region `n` is best sent now: at other times it has the same effect as before the next read of
    /// that region, or after its sweep.
    fn matters_now(&self, n: usize) -> bool {
        let site = &self.sites[n];
        let sweeps_yet = !site.swept && self.left.skips == 0 && site.works;
        self.reads_next(n) || self.is_idle(n) && !sweeps_yet
    }

    /// The host beats to region `n`, which receives that if it can. A sweep that began before may miss it, or not.
    pub(crate) fn beat(&self, setting: &Setting, n: usize, is_ok: bool) -> Self {
        let mut world = self.clone();
        world.beaten = true;
        world.left.fails -= u8::from(!is_ok);
        let now = self.now(setting);
        if now.since(self.sent) > setting.interval().duration() {
            world.well_since = now;
        }
        world.sent = now;
        let site = &mut world.sites[n];
        if site.works {
            let at = now.plus(ahead(n)).plus(Duration::from_secs(1));
            let beat = Beats::new(at, is_ok);
            // When a known host first beat to this region makes no difference.
            let first = if setting.known { long_ago(setting) } else { at };
            let beat = Beats { first, ..beat };
            let known = site.received;
            site.received = Some(known.map_or(beat, |known| known.and(beat, setting.interval())));
            if !is_ok {
                world.failed = Some(at);
            }
        }
        world
    }

    /// What the other region received arrives in region `n`.
    pub(crate) fn copy(&self, n: usize) -> Option<Self> {
        let theirs = self.sites[1 - n].received;
        (self.sites[n].copied != theirs).then(|| {
            let mut world = self.clone();
            world.sites[n].copied = theirs;
            world
        })
    }

    /// Time passes, and perhaps a receiver stops or works again.
    fn time_passes(&self, setting: &Setting, next: &mut Vec<(Step, Self)>) {
        for works in [[true, true], [true, false], [false, true], [false, false]] {
            let stops = (0..2)
                .filter(|n| self.sites[*n].works && !works[*n])
                .count();
            let stops = u8::try_from(stops).unwrap_or(u8::MAX);
            let mut left = self.left;
            for (n, site) in self.sites.iter().enumerate() {
                let runs = !self.is_idle(n);
                let skipped = !site.swept && site.works;
                if runs && left.pauses == 0 || skipped && left.skips == 0 {
                    return;
                }
                left.pauses -= u8::from(runs);
                left.skips -= u8::from(skipped);
            }
            let Some(stops) = left.stops.checked_sub(stops) else {
                continue;
            };
            left.stops = stops;
            let words = works.map(|works| if works { "receives" } else { "is down" });
            let world = Self {
                left,
                ..self.later(setting, works)
            };
            next.push((Step::Time(words), world));
        }
    }

    /// One step of time later. A receiver that works gets a canary.
    pub(crate) fn later(&self, setting: &Setting, works: [bool; 2]) -> Self {
        let mut world = self.clone();
        world.time += 1;
        world.beaten = false;
        if world.now(setting).since(world.sent) > setting.interval().duration() {
            // It is silent; since when makes no difference.
            (world.sent, world.well_since) = (Timestamp::MIN, Timestamp::MIN);
        }
        for (n, works) in works.into_iter().enumerate() {
            let now = world.now_in(setting, n);
            let site = &mut world.sites[n];
            site.works = works;
            site.swept = site.sweep.at != At::Idle;
            if works {
                let receiver = site.receiver.clone();
                site.receiver = receiver.with_canary(now, setting.canaries().fresh);
            }
        }
        world
    }

    /// Stores the entry. What no rule reads is set to the same value everywhere.
    pub(crate) fn store(&mut self, mut entry: Entry) {
        for last in entry.history.iter().filter(|last| last.withdrawn) {
            // Nobody gets it.
            self.told += u64::from(last.epoch == self.told + 1);
        }
        // The last transition, and what people know besides it.
        if let Some(last) = entry.history.pop() {
            entry.history.retain(|known| !known.withdrawn);
            let known = entry.history.pop();
            entry.history = known.into_iter().chain([last]).collect();
        }
        for last in &mut entry.history {
            (last.since, last.last_beat, last.caveat) = (start(), start(), None);
            if let Some(accepted) = &mut last.accepted {
                (last.at, accepted.at, accepted.attempt) = (start(), start(), 1);
            }
        }
        self.entry = Some(Arc::new(entry));
        for site in &mut self.sites {
            match &mut site.sweep.at {
                At::Claim(draft) | At::Change(draft) => draft.current = false,
                At::Decide(_, current) | At::Deliver(current) => *current = false,
                At::Idle | At::Scan(_) | At::Confirm(_) | At::Keep(_) => {}
            }
        }
    }

    /// The topic accepts the notice of `epoch`.
    pub(crate) fn accepted(&mut self, epoch: u64) {
        if epoch != self.told + 1 {
            self.violation = Some(format!("notice {epoch} follows notice {}", self.told));
        }
        self.told = epoch;
    }

    /// Checks a transition that region `me` made by swapping in `next`.
    pub(crate) fn decided(&mut self, setting: &Setting, me: usize, next: &Entry) {
        let Some(last) = next.history.last() else {
            return;
        };
        if last.epoch != self.epoch + 1 {
            let words = format!("epoch {} is decided after epoch {}", last.epoch, self.epoch);
            self.violation = Some(words);
        }
        self.epoch = last.epoch;
        if last.kind == Kind::Missing {
            let wrong = match &last.caveat {
                None => self.false_alarm(setting, last),
                Some(caveat) => self.false_caveat(me, last, caveat),
            };
            self.violation = self.violation.take().or(wrong);
        }
        let was_failing = self
            .entry
            .as_ref()
            .is_some_and(|entry| entry.state == State::Failing);
        let told = |failure: &Timestamp| match last.kind {
            Kind::Missing => true,
            Kind::Failing => last.since >= *failure,
            // It was failing anyway.
            Kind::Recovered => was_failing && last.last_beat > *failure,
            Kind::Registered | Kind::Slowed => false,
        };
        self.failed.take_if(|failure| told(failure));
    }

    /// Whether the host sends beats, and the service could know.
    fn false_alarm(&self, setting: &Setting, last: &Transition) -> Option<String> {
        let well = last.at.since(self.sent) <= setting.interval().duration();
        if well && self.well_since <= last.last_beat {
            return Some("a host that beats is missing".to_owned());
        }
        let knew = |site: &Site| {
            let newest = site.received.map_or(Timestamp::MIN, |beats| beats.last);
            newest > last.last_beat && site.last_sweep > newest && site.receiver.lives(last.at)
        };
        let knew = well && self.sites.iter().any(knew);
        knew.then(|| "a host is missing of which a living region had swept a newer beat".to_owned())
    }

    /// Whether the reason of a caveat is false.
    fn false_caveat(&self, me: usize, last: &Transition, caveat: &Caveat) -> Option<String> {
        let other = &self.sites[1 - me];
        let asked = self.entry.as_ref().and_then(|entry| entry.inquiry.as_ref());
        let is_true = match caveat {
            Caveat::RegionUnreachable(_) => {
                // A sweep of the same step of time may have begun before.
                let silent = asked.is_some_and(|asked| {
                    other.last_sweep <= asked.at.plus(ahead(1))
                        && last.at.since(asked.at) > limits::REGION_DEAD_AFTER
                });
                silent || !other.receiver.lives(last.at)
            }
            Caveat::Blackout(blackout) => {
                let receivers = self.sites.iter().map(|site| &site.receiver);
                receivers
                    .flat_map(|known| &known.blackouts)
                    .any(|known| known.since == blackout.since)
            }
            Caveat::ReceiverDown => false,
        };
        (!is_true).then(|| format!("a false caveat: {caveat:?}"))
    }
}
