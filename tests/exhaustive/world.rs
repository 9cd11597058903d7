//! All that a state consists of, what happens to it from outside, and what must hold in it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hb_domain::{DigestStage, Echoed, Entry, Kind, Timestamp};

use crate::process::Process;
use crate::record::{Heard, Name, Record, Subject, now, older};

/// How often what may go wrong does, and how much happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Processes that die.
    pub(crate) crashes: u8,
    /// Processes that time passes over while they are at work.
    pub(crate) pauses: u8,
    /// Publishes that nobody hears of again: accepted, lost, or accepted later.
    pub(crate) unknown: u8,
    /// Publishes that are refused.
    pub(crate) refused: u8,
    /// Swaps that are done, but their reply is lost.
    pub(crate) lost_replies: u8,
    /// Notices for which W runs out while their echo is still on its way.
    pub(crate) late_echoes: u8,
    /// Sweeps that cannot reach the queue of echoes.
    pub(crate) echo_outages: u8,
    /// Digests that are built.
    pub(crate) digests: u8,
}

/// Where the echo of a publish is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EchoLocation {
    /// The publish itself has yet to arrive at the topic.
    Flying,
    /// Accepted, not in the queue yet.
    Travelling,
    Queued,
    /// Received by a sweep, and hidden from all others.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Echo {
    pub(crate) name: Name,
    pub(crate) attempt: u32,
    pub(crate) place: EchoLocation,
}

/// A record, and how often it was swapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    pub(crate) version: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) store: BTreeMap<Subject, Arc<Stored>>,
    pub(crate) heard: Vec<Heard>,
    /// Beats that are still to come: whether they are `ok`. After the last of them a host beats for ever.
    pub(crate) script: &'static [bool],
    pub(crate) silent: bool,
    pub(crate) echoes: Vec<Echo>,
    pub(crate) processes: Vec<Process>,
    pub(crate) left: Budget,
    /// Whether a notice that a digest may take is never sent by itself. Production has it so when there are many.
    pub(crate) only_digests: bool,
    /// Whether an echo that says nothing new is not waited for: no later one says more.
    pub(crate) drop_known: bool,
    /// What the topic accepted: notices with their attempts.
    pub(crate) copies: BTreeSet<(Name, u32)>,
    /// By which notices people were told of an epoch of a host.
    pub(crate) accepted: BTreeSet<(u8, u64, Name)>,
    /// Notices whose echo was not there when W was over: to lease them again makes a second copy unavoidable.
    pub(crate) overdue: BTreeSet<Name>,
    /// How many such leases there were.
    pub(crate) late: BTreeMap<Name, u8>,
    /// Second copies that were counted.
    pub(crate) counted: BTreeSet<(Name, u32)>,
    /// The transitions of each host, by epoch.
    pub(crate) decided: Vec<Vec<Kind>>,
    pub(crate) violation: Option<&'static str>,
}

/// Which process is which makes no difference.
impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            store,
            heard,
            script,
            silent,
            echoes,
            processes,
            left,
            ..
        } = self;
        let Self {
            copies,
            accepted,
            overdue,
            late,
            counted,
            decided,
            violation,
            ..
        } = self;
        let one = |process: &Process| {
            let mut hasher = DefaultHasher::new();
            process.hash(&mut hasher);
            hasher.finish()
        };
        let mut all: Vec<_> = processes.iter().map(one).collect();
        all.sort_unstable();
        (store, heard, script, silent, echoes, all, left).hash(hasher);
        (copies, accepted, overdue, late, counted, decided, violation).hash(hasher);
    }
}

/// What happened, and to whom.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "read by people, in a trace")]
pub(crate) enum Step {
    Outside(&'static str),
    Process(u8, &'static str, Option<Subject>),
}

impl World {
    pub(crate) fn entry(&self, host: u8) -> Option<&Entry> {
        match &self.store.get(&Subject::Host(host))?.record {
            Record::Host(entry) => Some(entry),
            Record::Digest(_) => None,
        }
    }

    /// What happens without any process.
    pub(crate) fn outside(&self) -> Vec<(Step, Self)> {
        let mut next = Vec::new();
        for (nth, echo) in self.echoes.iter().enumerate() {
            let mut world = self.clone();
            match echo.place {
                EchoLocation::Flying => {
                    world.echoes.remove(nth);
                    world.accept(echo.name, echo.attempt);
                    next.push((
                        Step::Outside("a publish of unknown outcome arrives at the topic"),
                        world,
                    ));
                }
                EchoLocation::Travelling => {
                    world.echoes[nth].place = EchoLocation::Queued;
                    world.echoes.sort_unstable();
                    next.push((Step::Outside("an echo arrives in the queue"), world));
                }
                EchoLocation::Queued | EchoLocation::Held => {}
            }
        }
        if let Some((signal_is_ok, script)) = self.script.split_first() {
            let mut world = self.clone();
            for heard in &mut world.heard {
                let failed = if *signal_is_ok {
                    heard.failed
                } else {
                    Some(now())
                };
                *heard = Heard {
                    last: now(),
                    failed,
                    signal_is_ok: *signal_is_ok,
                };
            }
            (world.script, world.silent) = (script, !script.is_empty());
            next.push((
                Step::Outside(if *signal_is_ok {
                    "a beat"
                } else {
                    "a beat that says fail"
                }),
                world,
            ));
        }
        next.extend(
            self.later()
                .map(|world| (Step::Outside("time passes"), world)),
        );
        next
    }

    /// The world one step of time later; `None` if what this takes is used up.
    fn later(&self) -> Option<Self> {
        let mut world = self.clone();
        for process in &mut world.processes {
            if process.rest() {
                world.left.pauses = world.left.pauses.checked_sub(1)?;
            }
            process.older();
        }
        let mut over: Vec<Name> = self
            .processes
            .iter()
            .filter_map(Process::knows_nothing_of)
            .collect();
        for (subject, stored) in &mut world.store {
            let record = stored.record.older();
            let name = record.name(*subject);
            if record.is_ready() && !stored.record.is_ready() && record.is_in_doubt() {
                over.push(name);
            }
            *stored = Arc::new(Stored {
                record,
                ..Stored::clone(stored)
            });
        }
        for name in over {
            let on_its_way = |echo: &Echo| echo.name == name && echo.place != EchoLocation::Queued;
            if self.echoes.iter().any(on_its_way) && world.overdue.insert(name) {
                world.left.late_echoes = world.left.late_echoes.checked_sub(1)?;
            }
        }
        if world.silent {
            world
                .heard
                .iter_mut()
                .for_each(|heard| *heard = heard.older());
        } else {
            // It goes on beating, but what it failed at gets older.
            world
                .heard
                .iter_mut()
                .for_each(|heard| heard.failed = heard.failed.map(older));
        }
        Some(world)
    }

    /// Takes away what makes no difference any more, and so makes many states one.
    pub(crate) fn reduced(&mut self) {
        if self.drop_known {
            let known = |echo: &Echo| {
                let stored = self.store.get(&echo.name.0);
                let waits = matches!(echo.place, EchoLocation::Travelling | EchoLocation::Queued);
                waits
                    && stored.is_some_and(|stored| {
                        stored.record.echoed(echo.name.1, echo.attempt) == Echoed::Known
                    })
            };
            let known: Vec<Echo> = self.echoes.iter().copied().filter(known).collect();
            self.echoes.retain(|echo| !known.contains(echo));
        }
        self.begin_sweeps();
    }

    /// Those that are idle begin to sweep when there is no echo to be taken in. It makes no difference: a sweep with
    /// nothing in hand can end at any time.
    fn begin_sweeps(&mut self) {
        let none = self
            .echoes
            .iter()
            .all(|echo| !matches!(echo.place, EchoLocation::Queued | EchoLocation::Held));
        if none && self.left.echo_outages == 0 {
            self.processes
                .iter_mut()
                .filter(|process| process.is_idle())
                .for_each(Process::begin);
        }
    }

    /// The topic accepts a copy of a notice.
    pub(crate) fn accept(&mut self, name: Name, attempt: u32) {
        let about: Vec<(u8, u64)> =
            match (name.0, self.store.get(&name.0).map(|stored| &stored.record)) {
                (Subject::Host(host), _) => vec![(host, name.1)],
                (Subject::Digest(_), Some(Record::Digest(digest)))
                    if digest.stage != DigestStage::Closed =>
                {
                    let host = |id: &hb_domain::HostId| id.as_str().parse().unwrap_or(u8::MAX);
                    digest
                        .members
                        .iter()
                        .map(|member| (host(&member.host), member.epoch))
                        .collect()
                }
                (Subject::Digest(_), _) => vec![],
            };
        if !self.copies.insert((name, attempt)) {
            self.violation = Some("two copies of a notice say the same attempt");
        }
        for (host, epoch) in about {
            let history = self.entry(host).map_or(&[][..], |entry| &entry.history);
            let unknown = !history.iter().any(|last| last.epoch == epoch);
            let overtakes = history
                .iter()
                .any(|last| last.epoch < epoch && last.accepted.is_none());
            if unknown {
                self.violation =
                    Some("a notice is accepted of which the ledger knows no transition");
            }
            if overtakes {
                self.violation = Some("a notice overtakes the one before it");
            }
            self.accepted.insert((host, epoch, name));
        }
        self.echoes.push(Echo {
            name,
            attempt,
            place: EchoLocation::Travelling,
        });
        self.echoes.sort_unstable();
    }

    /// What must hold when `record` was swapped in.
    pub(crate) fn swapped(&mut self, subject: Subject, record: &Record) {
        let (Subject::Host(host), Record::Host(entry)) = (subject, record) else {
            return;
        };
        let decided = &mut self.decided[usize::from(host)];
        for told in &entry.history {
            let place = usize::try_from(told.epoch)
                .unwrap_or(usize::MAX)
                .wrapping_sub(1);
            match decided.get(place) {
                Some(kind) if *kind == told.kind => {}
                None if place == decided.len() => decided.push(told.kind),
                _ => self.violation = Some("an epoch of a host has two transitions, or none"),
            }
        }
    }

    /// What is wrong with this state.
    pub(crate) fn wrong(&self) -> Option<String> {
        if let Some(violation) = self.violation {
            return Some(violation.to_owned());
        }
        for (name, _) in &self.copies {
            let copies = self
                .copies
                .iter()
                .filter(|(other, _)| other == name)
                .count();
            let allowed = 1 + usize::from(self.late.get(name).copied().unwrap_or(0));
            if copies > allowed {
                return Some(format!(
                    "{copies} copies of {name:?} were accepted, {allowed} could be"
                ));
            }
        }
        for (host, epoch, name) in &self.accepted {
            if self
                .accepted
                .iter()
                .any(|(h, e, other)| (h, e) == (host, epoch) && other != name)
            {
                return Some(format!("two notices tell epoch {epoch} of host {host}"));
            }
        }
        for host in 0..u8::try_from(self.heard.len()).unwrap_or(u8::MAX) {
            let told = self
                .entry(host)?
                .history
                .iter()
                .filter(|transition| transition.accepted.is_some());
            for epoch in told.map(|transition| transition.epoch) {
                if !self
                    .accepted
                    .iter()
                    .any(|(h, e, _)| (*h, *e) == (host, epoch))
                {
                    return Some(format!(
                        "the ledger says that epoch {epoch} of host {host} was told: it was not"
                    ));
                }
            }
        }
        None
    }

    /// Whether nothing is left to be told, and all second copies are counted.
    pub(crate) fn is_settled(&self) -> bool {
        let at_rest = self.store.values().all(|stored| match &stored.record {
            Record::Host(entry) => {
                entry.pending.is_none()
                    && entry
                        .history
                        .iter()
                        .all(|transition| transition.accepted.is_some())
            }
            Record::Digest(digest) => !digest.is_open(),
        });
        let second =
            |(name, _): &(Name, u32)| self.copies.iter().filter(|(n, _)| n == name).count() - 1;
        let counted = |name: &Name| self.counted.iter().filter(|(n, _)| n == name).count();
        let idle = self.processes.iter().all(Process::has_nothing_in_hand);
        at_rest
            && idle
            && self.echoes.is_empty()
            && self
                .copies
                .iter()
                .all(|copy| second(copy) <= counted(&copy.0))
    }

    /// The instant one step of time after `at`.
    pub(crate) fn aged(at: Timestamp) -> Timestamp {
        older(at)
    }
}
