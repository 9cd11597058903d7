//! The ports over the simulated world. Every call is a place where others may come between, where a process may die, and
//! where faults strike.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostKey, Notice, Publication, Region, Signal, Timestamp};
use hb_service::ports::{
    Clock, CompletedSweep, Cursor, Echo, Echoes, Heard, Heartbeats, Ids, Ledger, Page, PortError,
    PortResult, Ports, Record, Segment, Stored, Swap, System, Topic, Version,
};
use hb_service::testing::memory::Memory;
use uuid::Uuid;

use crate::executor::Wait;
use crate::faults::Fault;
use crate::invariants;
use crate::store::{Copy, Row};
use crate::world::{Accepted, Message, Shared, World, instant};

/// For how long a message that was received is hidden from others: SQS's default.
const VISIBILITY_TIMEOUT: i64 = 30_000;

/// All ports, for a process in a region.
#[derive(Clone)]
pub(crate) struct SimulatedPorts {
    pub(crate) world: Shared,
    pub(crate) region: Region,
    /// How far its clock is wrong, in milliseconds.
    pub(crate) skew: i64,
}

impl SimulatedPorts {
    /// All ports, for the use cases. Nothing here asks for keys or subscriptions.
    pub(crate) fn all(&self) -> Ports {
        let all = Arc::new(self.clone());
        let unused = Arc::new(Memory::default());
        Ports {
            heartbeats: all.clone(),
            ledger: all.clone(),
            digests: all.clone(),
            receivers: all.clone(),
            keys: unused.clone(),
            topic: all.clone(),
            echoes: all.clone(),
            subscriptions: unused,
            deliveries: None,
            system: all.clone(),
            clock: all.clone(),
            ids: all,
        }
    }
}

impl SimulatedPorts {
    /// The way there: time passes.
    async fn call(&self, name: &'static str) {
        let millis = self.world.get().rng.i64(0..8);
        Wait::new(&self.world, millis).await;
        self.world.get().last_call = name;
    }

    /// The way back.
    async fn reply(&self, name: &'static str) {
        let millis = self.world.get().rng.i64(0..8);
        Wait::new(&self.world, millis).await;
        self.world.get().last_call = name;
    }

    fn unavailable(what: &str) -> PortError {
        PortError::unavailable(what, "simulated")
    }

    /// Fails now and then, without an effect.
    fn may_fail(&self, what: &str) -> PortResult<()> {
        if self.world.get().strikes(Fault::StoreFails) {
            Err(Self::unavailable(what))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Heartbeats for SimulatedPorts {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.call("heartbeats.record").await;
        self.may_fail("heartbeats")?;
        {
            let mut world = self.world.get();
            let place = (heard.key.clone(), heard.region.clone());
            let beats = world.tables.beats.entry(self.region.clone()).or_default();
            let kept = match beats.remove(&place) {
                Some(kept) => Heard {
                    heartbeat: kept.heartbeat.merge(heard.heartbeat.clone()),
                    ..kept
                },
                None => heard.clone(),
            };
            beats.insert(place, kept.clone());
            if heard.heartbeat.signal == Signal::Fail {
                let now = world.now;
                world.failed.insert(heard.key.clone(), now);
            }
            let others: Vec<_> = world
                .regions
                .iter()
                .filter(|other| **other != self.region)
                .cloned()
                .collect();
            for other in others {
                let at = world.now + delay(&mut world);
                world
                    .tables
                    .copies
                    .push((other, at, Copy::Beat(kept.clone())));
            }
        }
        self.reply("heartbeats.record").await;
        Ok(())
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        self.call("heartbeats.load").await;
        self.may_fail("heartbeats")?;
        let world = self.world.get();
        let beats = world.tables.beats.get(&self.region);
        Ok(beats
            .into_iter()
            .flatten()
            .filter(|((key, _), _)| key == host)
            .map(|(_, heard)| heard.clone())
            .collect())
    }

    async fn scan(&self, segment: Segment, _: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.call("heartbeats.scan").await;
        self.may_fail("heartbeats")?;
        let mut world = self.world.get();
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let stale = world.strikes(Fault::StaleScan);
        let beats = if stale {
            &world.tables.old_beats
        } else {
            &world.tables.beats
        };
        let items = beats
            .get(&self.region)
            .into_iter()
            .flat_map(|beats| beats.values().cloned())
            .collect();
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    /// A scan here is one page.
    fn behind(&self, host: &HostKey) -> Cursor {
        Cursor(host.to_string())
    }

    /// As when the admin's machine dies here: what the ledger says has to do.
    async fn forget(&self, _: &HostKey, _: Timestamp) -> PortResult<()> {
        Ok(())
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

/// How long a copy is on its way to another region: none overtakes those before it by more than a moment.
fn delay(world: &mut World) -> i64 {
    const MOMENT: i64 = 1_500;
    let alone = world.now + world.lag + world.rng.i64(50..MOMENT);
    let arrives = alone.max(world.horizon - MOMENT);
    world.horizon = world.horizon.max(arrives);
    arrives - world.now
}

fn stored<T: Record>(row: &Row) -> Option<Stored<T>> {
    let record: &T = (&*row.record as &dyn Any).downcast_ref()?;
    Some(Stored {
        record: record.clone(),
        version: row.version,
        writer: row.writer,
    })
}

impl SimulatedPorts {
    /// A region that is cut off has no quorum.
    fn quorum(&self) -> PortResult<()> {
        let world = self.world.get();
        if world.cut_off.contains(&self.region) && !world.tables.eventual {
            return Err(Self::unavailable("ledger: no quorum"));
        }
        Ok(())
    }

    /// Compares and swaps, at once.
    pub(crate) fn write<T: Record>(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> Swap<T> {
        let mut world = self.world.get();
        let ledger = world.tables.ledger_of(&self.region);
        let place = (T::TABLE, entry.key().to_string());
        let current = world
            .tables
            .records
            .entry(ledger.clone())
            .or_default()
            .get(&place)
            .cloned();
        if current.as_ref().map(|row| row.version) != expected {
            return Swap::Conflict(current.as_ref().and_then(stored));
        }
        let version = expected.unwrap_or(0) + 1;
        let record: Arc<dyn Any + Send + Sync> = Arc::new(entry.clone());
        let row = Row {
            record,
            open: entry.is_open(),
            version,
            writer,
            at: world.now,
        };
        if world.tables.eventual {
            let others: Vec<_> = world
                .regions
                .iter()
                .filter(|other| **other != self.region)
                .cloned()
                .collect();
            for other in others {
                let at = world.now + delay(&mut world);
                world.tables.copies.push((
                    other,
                    at,
                    Copy::Record(place.0, place.1.clone(), row.clone()),
                ));
            }
        }
        world
            .tables
            .records
            .entry(ledger)
            .or_default()
            .insert(place, row);
        invariants::swapped(&mut world, entry as &dyn Any);
        Swap::Done(version)
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for SimulatedPorts {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        self.call("ledger.load").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let mut world = self.world.get();
        let ledger = world.tables.ledger_of(&self.region);
        let records = world.tables.records.entry(ledger).or_default();
        Ok(records.get(&(T::TABLE, key.to_string())).and_then(stored))
    }

    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        self.call("ledger.swap").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let swap = self.write(entry, expected, writer);
        self.reply("ledger.swap done").await;
        if self.world.get().strikes(Fault::StoreReplyLost) {
            return Err(Self::unavailable("ledger: reply lost"));
        }
        Ok(swap)
    }

    async fn open(&self, _: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        self.call("ledger.open").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let mut world = self.world.get();
        let ledger = world.tables.ledger_of(&self.region);
        let stale = world.strikes(Fault::StaleIndex);
        let records = if stale {
            &world.tables.old_records
        } else {
            &world.tables.records
        };
        let rows = records.get(&ledger).into_iter().flatten();
        let open = rows.filter(|((table, _), row)| *table == T::TABLE && row.open);
        Ok(Page {
            items: open.filter_map(|(_, row)| stored(row)).collect(),
            ..Page::default()
        })
    }
}

#[async_trait]
impl Topic for SimulatedPorts {
    async fn publish(&self, notice: &Notice) -> Publication {
        self.call("topic.publish").await;
        let lost = {
            let mut world = self.world.get();
            if world.strikes(Fault::Refused) {
                return Publication::Refused("simulated".to_owned());
            }
            if world.strikes(Fault::UnknownNotAccepted) {
                return Publication::Unknown("simulated".to_owned());
            }
            accept(&mut world, &self.region, notice);
            world.strikes(Fault::AcceptedReplyLost)
        };
        self.reply("topic.publish accepted").await;
        if lost {
            Publication::Unknown("simulated".to_owned())
        } else {
            Publication::Accepted
        }
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

/// The topic has it: from here on people are told.
pub(crate) fn accept(world: &mut World, region: &Region, notice: &Notice) {
    let late = world.strikes(Fault::EchoLate);
    let lost = !late && world.strikes(Fault::EchoLost);
    let wait = if late {
        world.rng.i64(1_000..900_000)
    } else {
        world.rng.i64(20..900)
    };
    let echo = (!lost).then_some(world.now + wait);
    let (subject, attempt) = (notice.subject(), notice.attempt);
    if let Some(at) = echo {
        let times = if world.strikes(Fault::EchoAgain) {
            2
        } else {
            1
        };
        for _ in 0..times {
            world.receipts += 1;
            let receipt = world.receipts.to_string();
            let (region, subject) = (region.clone(), subject.clone());
            world.echoes.push(Message {
                region,
                visible: at,
                subject,
                attempt,
                receipt,
            });
        }
    }
    let tells = match &notice.about {
        hb_domain::About::Host(host) => {
            vec![(
                HostKey::new(notice.fleet.clone(), host.host_id.clone()),
                host.epoch,
            )]
        }
        hb_domain::About::Digest(members) => members
            .iter()
            .map(|member| {
                (
                    HostKey::new(notice.fleet.clone(), member.host.clone()),
                    member.epoch,
                )
            })
            .collect(),
    };
    let accepted = Accepted {
        subject,
        attempt,
        tells,
        region: region.clone(),
        at: world.now,
        echo,
    };
    world.say(|| {
        format!(
            "{region}: the topic accepts {:?} {}, attempt {attempt}",
            notice.kind,
            notice.about_whom()
        )
    });
    invariants::accepted(world, notice, accepted);
}

#[async_trait]
impl Echoes for SimulatedPorts {
    async fn receive(&self) -> PortResult<Page<Echo>> {
        self.call("echoes.receive").await;
        let mut world = self.world.get();
        if world.strikes(Fault::EchoQueueFails) {
            return Err(Self::unavailable("queue echo"));
        }
        let now = world.now;
        let here = |message: &&mut Message| message.region == self.region && message.visible <= now;
        let mut items = Vec::new();
        for message in world.echoes.iter_mut().filter(here).take(10) {
            message.visible = now + VISIBILITY_TIMEOUT;
            items.push(Echo {
                subject: message.subject.clone(),
                attempt: message.attempt,
                receipt: message.receipt.clone(),
            });
        }
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.call("echoes.acknowledge").await;
        let mut world = self.world.get();
        if world.strikes(Fault::EchoQueueFails) {
            return Err(Self::unavailable("queue echo"));
        }
        let (done, left) = std::mem::take(&mut world.echoes)
            .into_iter()
            .partition::<Vec<_>, _>(|message| receipts.contains(&message.receipt));
        world.echoes = left;
        let now = world.now;
        for message in done {
            world
                .echoed
                .entry((message.subject, message.attempt))
                .or_insert(now);
        }
        Ok(())
    }
}

#[async_trait]
impl System for SimulatedPorts {
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        self.call("system.last_sweep").await;
        self.may_fail("system")?;
        Ok(self.world.get().tables.sweeps.get(region).copied())
    }

    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        self.call("system.record_sweep").await;
        self.may_fail("system")?;
        {
            let mut world = self.world.get();
            // By the world's clock, and surely not before it began.
            let began = sweep.began.as_millis() - self.skew;
            let completed = world.completed.entry(region.clone()).or_default();
            *completed = began.max(*completed);
            let known = world.tables.sweeps.entry(region.clone()).or_insert(*sweep);
            if sweep.began > known.began {
                *known = *sweep;
            }
        }
        self.reply("system.record_sweep").await;
        Ok(())
    }
}

#[async_trait]
impl Clock for SimulatedPorts {
    fn now(&self) -> Timestamp {
        instant(self.world.get().now + self.skew)
    }

    async fn sleep(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap().max(1);
        Wait::new(&self.world, millis).await;
    }
}

impl Ids for SimulatedPorts {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.world.get().rng.fill(&mut bytes);
        bytes
    }
}
