//! A state of the search, the steps that need no process, and the invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hb_domain::{DigestStage, Echoed, Entry, Kind, Timestamp};

use crate::process::Process;
use crate::record::{Heard, Name, Record, Subject, now, older};

/// How many faults and digests may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Processes that crash.
    pub(crate) crashes: u8,
    /// Processes that are paused at work.
    pub(crate) pauses: u8,
    /// Publishes without a reply: accepted, lost, or accepted later.
    pub(crate) unknown: u8,
    /// Publishes that are refused.
    pub(crate) refused: u8,
    /// Swaps that succeed without a reply.
    pub(crate) lost_replies: u8,
    /// Notices whose echo takes longer than W.
    pub(crate) late_echoes: u8,
    /// Sweeps that cannot reach the echo queue.
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
    /// Received by a sweep, and hidden from the others.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Echo {
    pub(crate) name: Name,
    pub(crate) attempt: u32,
    pub(crate) place: EchoLocation,
}

/// A record with its version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    pub(crate) version: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) store: BTreeMap<Subject, Arc<Stored>>,
    pub(crate) heard: Vec<Heard>,
    /// Beats still to come: whether they are `ok`. After the last of them a host keeps beating.
    pub(crate) script: &'static [bool],
    pub(crate) silent: bool,
    pub(crate) echoes: Vec<Echo>,
    pub(crate) processes: Vec<Process>,
    pub(crate) left: Budget,
    /// Whether a notice that a digest may take is never sent alone, as in production when there are many.
    pub(crate) only_digests: bool,
    /// Whether an echo without news is dropped: it stays without news.
    pub(crate) drop_known: bool,
    /// What the topic accepted: notices with their attempts.
    pub(crate) copies: BTreeSet<(Name, u32)>,
    /// The accepted notices of each epoch of a host.
    pub(crate) accepted: BTreeSet<(u8, u64, Name)>,
    /// Notices whose echo did not arrive within W: leasing them again makes a second copy unavoidable.
    pub(crate) overdue: BTreeSet<Name>,
    /// How many such leases there were of each.
    pub(crate) late: BTreeMap<Name, u8>,
    /// Second copies that were counted.
    pub(crate) counted: BTreeSet<(Name, u32)>,
    /// The transitions of each host, by epoch.
    pub(crate) decided: Vec<Vec<Kind>>,
    pub(crate) violation: Option<&'static str>,
}

/// Processes are interchangeable.
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

/// A step, for the trace.
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

    /// The steps that need no process.
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

    /// The world one step of time later; `None` if the budget does not allow that.
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
            .filter_map(Process::unrecorded_unknown)
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
            // It keeps beating, but its failure gets older.
            world
                .heard
                .iter_mut()
                .for_each(|heard| heard.failed = heard.failed.map(older));
        }
        Some(world)
    }

    /// Merges states that no longer differ in anything that matters.
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

    /// Starts the sweeps of idle processes when no echo is to be received. This loses no behaviour: a sweep with
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
            self.violation = Some("two copies of a notice have the same attempt");
        }
        for (host, epoch) in about {
            let history = self.entry(host).map_or(&[][..], |entry| &entry.history);
            let unknown = !history.iter().any(|last| last.epoch == epoch);
            let overtakes = history
                .iter()
                .any(|last| last.epoch < epoch && last.accepted.is_none() && !last.withdrawn);
            if history
                .iter()
                .any(|last| last.epoch == epoch && last.withdrawn)
            {
                self.violation = Some("a notice is accepted that was withdrawn");
            }
            if unknown {
                self.violation = Some("a notice is accepted whose transition is not in the ledger");
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

    /// Checks the history of a record that was swapped in.
    pub(crate) fn swapped(&mut self, subject: Subject, record: &Record) {
        let (Subject::Host(host), Record::Host(entry)) = (subject, record) else {
            return;
        };
        let decided = &mut self.decided[usize::from(host)];
        for transition in &entry.history {
            let place = usize::try_from(transition.epoch)
                .unwrap_or(usize::MAX)
                .wrapping_sub(1);
            match decided.get(place) {
                Some(kind) if *kind == transition.kind => {}
                None if place == decided.len() => decided.push(transition.kind),
                _ => self.violation = Some("an epoch of a host has two transitions, or none"),
            }
        }
    }

    /// The invariant that this state violates.
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
                return Some(format!("two notices cover epoch {epoch} of host {host}"));
            }
        }
        for host in 0..u8::try_from(self.heard.len()).unwrap_or(u8::MAX) {
            let accepted = self
                .entry(host)?
                .history
                .iter()
                .filter(|transition| transition.accepted.is_some());
            for epoch in accepted.map(|transition| transition.epoch) {
                if !self
                    .accepted
                    .iter()
                    .any(|(h, e, _)| (*h, *e) == (host, epoch))
                {
                    return Some(format!(
                        "the ledger has an acceptance of epoch {epoch} of host {host}, the topic has none"
                    ));
                }
            }
        }
        None
    }

    /// Whether every notice is accepted, and all second copies are counted.
    pub(crate) fn is_settled(&self) -> bool {
        let delivered = self.store.values().all(|stored| match &stored.record {
            Record::Host(entry) => {
                entry.pending.is_none()
                    && entry
                        .history
                        .iter()
                        .all(|last| last.accepted.is_some() || last.withdrawn)
            }
            Record::Digest(digest) => !digest.is_open(),
        });
        let second =
            |(name, _): &(Name, u32)| self.copies.iter().filter(|(n, _)| n == name).count() - 1;
        let counted = |name: &Name| self.counted.iter().filter(|(n, _)| n == name).count();
        let idle = self.processes.iter().all(Process::has_nothing_in_hand);
        delivered
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
