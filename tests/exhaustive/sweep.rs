//! A process that sweeps. The order of its steps is that of `hb_service::sweep`, each with one access to the store, topic
//! or queue, and every change of a record is a rule of `hb_domain`.
//!
//! Within one sweep the tasks (publish, claim, digest, orphan) run in any order, which allows more than production; the
//! joins to a digest run one after the other, which allows less, but any two of them are independent.

use std::sync::Arc;

use hb_domain::{Digest, DigestStage, Echoed, Entry, Publication, Rules, Timestamp, decide};

use crate::follow::{conflict, done, lease, owner, released, settle, swap};
use crate::process::{At, InHand, Process, Swap, Then};
use crate::record::{Heard, POLICY, Record, Subject, digest_id, now};
use crate::world::{Echo, EchoLocation, Step, Stored, World};

/// One process in one world, about to take a step.
struct Turn<'a> {
    me: u8,
    world: &'a World,
    next: Vec<(Step, World)>,
}

/// All next steps of process `me`.
pub(crate) fn turn(world: &World, me: u8) -> Vec<(Step, World)> {
    let mut turn = Turn {
        me,
        world,
        next: Vec::new(),
    };
    let process = turn.process().clone();
    turn.crash();
    match process.at {
        At::Idle => turn.receive(),
        At::Sweeping => turn.tasks(&process),
        At::Heard(echo) => turn.hear(echo, world.store.get(&echo.name.0)),
        At::Acknowledge(echo) => turn.acknowledge(echo),
        At::Confirm(host, heard, at) => turn.confirm(host, heard, at),
        At::Orphan(subject, entry, version) => turn.orphan(subject, &entry, version),
        At::Leased(subject, record, version) => turn.publish(subject, &record, version),
        At::Freeze(subject, digest, version, entries) => {
            turn.freeze(subject, digest, version, entries);
        }
        At::Release(subject, digest, version, nth) => turn.release(subject, digest, version, nth),
        At::Swap(swap) => turn.swap(&swap),
    }
    turn.next
}

impl Turn<'_> {
    fn process(&self) -> &Process {
        &self.world.processes[usize::from(self.me)]
    }

    /// Adds a step that leads to `at`, and changes the world by `change`.
    fn step(
        &mut self,
        what: &'static str,
        on: Option<Subject>,
        at: At,
        change: impl FnOnce(&mut World, &mut Process),
    ) {
        let mut world = self.world.clone();
        let mut process = self.process().clone();
        process.at = at;
        change(&mut world, &mut process);
        if process.at == At::Sweeping && process.stale {
            process.at = At::Idle;
        }
        if process.at == At::Idle {
            process = Process::new();
        }
        world.processes[usize::from(self.me)] = process;
        self.next.push((Step::Process(self.me, what, on), world));
    }

    fn crash(&mut self) {
        if self.process().has_nothing_in_hand() || self.world.left.crashes == 0 {
            return;
        }
        let in_hand = match &self.process().at {
            At::Heard(echo) | At::Acknowledge(echo) => Some(*echo),
            At::Swap(swap) => match &swap.then {
                Then::Echo(echo) => Some(*echo),
                _ => None,
            },
            _ => None,
        };
        self.step("crashes", None, At::Idle, |world, _| {
            world.left.crashes -= 1;
            world
                .echoes
                .iter_mut()
                .filter(|echo| Some(**echo) == in_hand)
                .for_each(|echo| echo.place = EchoLocation::Queued);
            world.echoes.sort_unstable();
        });
    }

    fn receive(&mut self) {
        let mut empty = true;
        for (nth, echo) in self.world.echoes.iter().enumerate() {
            if echo.place == EchoLocation::Queued {
                empty = false;
                let held = Echo {
                    place: EchoLocation::Held,
                    ..*echo
                };
                self.step(
                    "receives an echo",
                    Some(echo.name.0),
                    At::Heard(held),
                    |world, _| {
                        world.echoes[nth] = held;
                        world.echoes.sort_unstable();
                    },
                );
            }
        }
        if empty {
            self.step(
                "has received all echoes",
                None,
                At::Sweeping,
                |world, process| {
                    process.drained = true;
                    let held = |echo: &&Echo| matches!(echo.place, EchoLocation::Held);
                    process.blind = world
                        .echoes
                        .iter()
                        .filter(held)
                        .map(|echo| echo.name)
                        .collect();
                },
            );
        }
        if self.world.left.echo_outages > 0 {
            self.step("cannot reach the queue", None, At::Sweeping, |world, _| {
                world.left.echo_outages -= 1;
            });
        }
    }

    fn hear(&mut self, echo: Echo, stored: Option<&Arc<Stored>>) {
        let (subject, epoch) = echo.name;
        let second = (echo.name, echo.attempt);
        match stored.map(|stored| (stored.record.echoed(epoch, echo.attempt), stored.version)) {
            Some((Echoed::Accepted(next), version)) => {
                let at = swap(subject, next, version, Then::Echo(echo));
                self.step("learns of an acceptance", Some(subject), at, |_, _| {});
            }
            Some((Echoed::SecondCopy, _)) => {
                self.step(
                    "counts a second copy",
                    Some(subject),
                    At::Acknowledge(echo),
                    |world, _| {
                        world.counted.insert(second);
                    },
                );
            }
            Some((Echoed::Known, _)) | None => {
                self.step(
                    "learns nothing new",
                    Some(subject),
                    At::Acknowledge(echo),
                    |_, _| {},
                );
            }
        }
    }

    fn acknowledge(&mut self, echo: Echo) {
        self.step(
            "acknowledges the echo",
            Some(echo.name.0),
            At::Idle,
            |world, _| {
                world.echoes.retain(|other| *other != echo);
            },
        );
    }

    /// The tasks of a sweep.
    fn tasks(&mut self, process: &Process) {
        let world = self.world;
        let hosts = self.hosts_for_a_digest();
        for (subject, stored) in &world.store {
            let (subject, version) = (*subject, stored.version);
            let sendable = process.drained || !stored.record.is_in_doubt();
            let single = !(world.only_digests
                && hosts
                    .iter()
                    .any(|(host, ..)| Subject::Host(*host) == subject));
            if stored.record.is_ready() && sendable && single {
                let at = lease(subject, &stored.record, version, false);
                self.step("finds a notice", Some(subject), at, |_, _| {});
            }
            match &stored.record {
                Record::Host(entry) if entry.digest().is_some() => {
                    let at = At::Orphan(subject, entry.clone(), version);
                    self.step(
                        "finds a host whose notice a digest took",
                        Some(subject),
                        at,
                        |_, _| {},
                    );
                }
                Record::Digest(digest) if digest.is_abandoned(now(), &POLICY) => {
                    let at = At::Freeze(subject, stored.record.clone(), version, Vec::new());
                    self.step("takes over a digest", Some(subject), at, |_, _| {});
                }
                Record::Digest(digest) if digest.stage == DigestStage::Accepted => {
                    let at = At::Release(subject, stored.record.clone(), version, 0);
                    self.step("finds an accepted digest", Some(subject), at, |_, _| {});
                }
                Record::Host(_) | Record::Digest(_) => {}
            }
        }
        for (host, heard) in (0..).zip(&world.heard) {
            let news = |entry| decide(entry, &heard.heartbeat(), now(), &Rules::default());
            if world.entry(host).and_then(news).is_some() {
                let at = At::Confirm(host, *heard, now());
                self.step(
                    "finds a candidate",
                    Some(Subject::Host(host)),
                    at,
                    |_, _| {},
                );
            }
        }
        self.build(hosts);
        self.step("ends", None, At::Idle, |_, _| {});
    }

    /// The hosts of the next digest, if there may be one.
    fn hosts_for_a_digest(&self) -> Vec<InHand> {
        let hosts = (0..).zip(&self.world.heard).filter_map(|(host, _)| {
            let stored = self.world.store.get(&Subject::Host(host))?;
            match &stored.record {
                Record::Host(entry) if entry.can_batch(now()) => {
                    Some((host, entry.clone(), stored.version))
                }
                _ => None,
            }
        });
        let hosts: Vec<InHand> = hosts.collect();
        if hosts.len() < 2 || self.world.left.digests == 0 {
            Vec::new()
        } else {
            hosts
        }
    }

    fn build(&mut self, hosts: Vec<InHand>) {
        let n = self.world.left.digests;
        let entries: Vec<&Entry> = hosts.iter().map(|(_, entry, _)| &**entry).collect();
        let Some(digest) = Digest::new(digest_id(n), &entries, now()) else {
            return;
        };
        let subject = Subject::Digest(n);
        let at = swap(subject, digest, 0, Then::Create(hosts));
        self.step("creates a digest", Some(subject), at, |world, _| {
            world.left.digests -= 1;
        });
    }

    fn confirm(&mut self, host: u8, heard: Heard, at: Timestamp) {
        let subject = Subject::Host(host);
        let Some(stored) = self.world.store.get(&subject) else {
            return;
        };
        let Record::Host(entry) = &stored.record else {
            return;
        };
        let decided = decide(entry, &heard.heartbeat(), at, &Rules::default());
        let next = decided.map_or(At::Sweeping, |next| {
            swap(subject, next, stored.version, Then::Claim)
        });
        self.step("decides", Some(subject), next, |_, _| {});
    }

    fn orphan(&mut self, subject: Subject, entry: &Arc<Entry>, version: u32) {
        let mut digests = self
            .world
            .store
            .values()
            .filter_map(|stored| match &stored.record {
                Record::Digest(digest) => Some(digest),
                Record::Host(_) => None,
            });
        let digest = digests.find(|digest| entry.digest() == Some(&digest.id));
        let released = Entry::clone(entry).released(digest.map(|digest| &**digest), now());
        let next = released.map_or(At::Sweeping, |next| {
            swap(subject, next, version, Then::Orphan)
        });
        self.step("looks up the digest", Some(subject), next, |_, _| {});
    }

    fn publish(&mut self, subject: Subject, sent: &Record, version: u32) {
        let (name, on) = (sent.name(subject), Some(subject));
        let Some(pending) = sent.pending() else {
            return;
        };
        let attempt = pending.attempt;
        if pending.holder(now()) != Some(owner(version)) {
            return self.step("was paused past its lease", on, At::Sweeping, |_, _| {});
        }
        let then = |outcome| settle(subject, sent.clone(), sent.clone(), version, outcome, now());
        let unknown = || then(Publication::Unknown(String::new()));
        self.step("publishes", on, then(Publication::Accepted), |world, _| {
            world.accept(name, attempt);
        });
        if self.world.left.refused > 0 {
            let at = then(Publication::Refused(String::new()));
            self.step("is refused", on, at, |world, _| world.left.refused -= 1);
        }
        if self.world.left.unknown > 0 {
            self.step(
                "publishes, and the reply is lost",
                on,
                unknown(),
                |world, _| {
                    world.left.unknown -= 1;
                    world.accept(name, attempt);
                },
            );
            self.step(
                "publishes, and the message is lost",
                on,
                unknown(),
                |world, _| world.left.unknown -= 1,
            );
            self.step(
                "publishes, and gives up before the message arrives",
                on,
                unknown(),
                |world, _| {
                    world.left.unknown -= 1;
                    world.echoes.push(Echo {
                        name,
                        attempt,
                        place: EchoLocation::Flying,
                    });
                    world.echoes.sort_unstable();
                },
            );
        }
    }

    fn freeze(
        &mut self,
        subject: Subject,
        digest: Record,
        version: u32,
        mut entries: Vec<Option<Entry>>,
    ) {
        let Record::Digest(open) = &digest else {
            return;
        };
        if self.process().stale {
            return self.step("is out of time", Some(subject), At::Idle, |_, _| {});
        }
        let Some(member) = open.members.get(entries.len()) else {
            return;
        };
        let host = member.host.as_str().parse().unwrap_or(u8::MAX);
        // Entries that did not join are not needed.
        entries.push(
            self.world
                .entry(host)
                .filter(|entry| entry.digest() == Some(&open.id))
                .cloned(),
        );
        let next = if entries.len() < open.members.len() {
            At::Freeze(subject, digest, version, entries)
        } else {
            let entries: Vec<_> = entries.into_iter().flatten().collect();
            let frozen = Digest::clone(open).frozen(&entries, now());
            frozen.map_or(At::Sweeping, |frozen| {
                swap(subject, frozen, version, Then::Freeze)
            })
        };
        self.step(
            "reads a host to freeze the list",
            Some(Subject::Host(host)),
            next,
            |_, _| {},
        );
    }

    fn release(&mut self, subject: Subject, digest: Record, version: u32, nth: usize) {
        let Record::Digest(accepted) = &digest else {
            return;
        };
        if self.process().stale {
            return self.step("is out of time", Some(subject), At::Idle, |_, _| {});
        }
        let Some(member) = accepted.members.get(nth) else {
            let closed = Digest::clone(accepted).closed();
            let next = closed.map_or(At::Sweeping, |closed| {
                swap(subject, closed, version, Then::Close)
            });
            return self.step("has released all hosts", Some(subject), next, |_, _| {});
        };
        let host = Subject::Host(member.host.as_str().parse().unwrap_or(u8::MAX));
        let next = match self.world.store.get(&host) {
            Some(stored) => released(host, stored, subject, &digest, version, nth),
            None => At::Release(subject, digest, version, nth + 1),
        };
        self.step("releases a host", Some(host), next, |_, _| {});
    }

    fn swap(&mut self, swap: &Swap) {
        let (subject, on) = (swap.subject, Some(swap.subject));
        let stored = self.world.store.get(&subject).cloned();
        let fits = stored.as_ref().map_or(0, |stored| stored.version) == swap.expected;
        let (version, stale) = (swap.expected + 1, self.process().stale);
        // The conflict returns the record with its own writer token.
        if swap.again
            && stored
                .as_ref()
                .is_some_and(|stored| stored.version == version)
        {
            return self.step(
                "learns that its swap succeeded",
                on,
                done(swap, version, stale),
                |_, _| {},
            );
        }
        if !fits {
            let at = conflict(swap, stored.as_deref(), stale);
            return self.step("loses a race", on, at, |_, _| {});
        }
        let doubt = stored
            .as_ref()
            .is_some_and(|stored| stored.record.is_in_doubt());
        let store = |world: &mut World, process: &mut Process| {
            let name = swap.next.name(subject);
            let leased = swap.then == Then::Lease && doubt;
            if leased && (world.overdue.remove(&name) || process.blind.contains(&name)) {
                *world.late.entry(name).or_default() += 1;
            }
            world.swapped(subject, &swap.next);
            world.store.insert(
                subject,
                Arc::new(Stored {
                    record: swap.next.clone(),
                    version,
                }),
            );
        };
        self.step("swaps", on, done(swap, version, stale), store);
        if !swap.again && self.world.left.lost_replies > 0 {
            let at = At::Swap(Box::new(Swap {
                again: true,
                ..swap.clone()
            }));
            self.step("swaps, and the reply is lost", on, at, |world, process| {
                world.left.lost_replies -= 1;
                store(world, process);
            });
        }
    }
}
