use async_trait::async_trait;
use hb_domain::{HostKey, Region, Signal, Timestamp};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortResult, Segment};

use super::{SimulatedPorts, delay};
use crate::faults::Fault;
use crate::store::Copy;
use crate::unreadable::HEARTBEATS;
use crate::world::{World, instant};

/// Writes an item here, and a copy of it to each other region.
fn put(world: &mut World, region: &Region, heard: Heard) {
    let now = world.now;
    let regions = world.regions.iter();
    let others: Vec<_> = regions.filter(|other| *other != region).cloned().collect();
    for other in others {
        let at = now + delay(world, heard.key.host.as_str());
        let copy = Copy::Beat(heard.clone(), now);
        world.tables.copies.push((other, at, copy));
    }
    world.tables.put(region, heard, now);
}

#[async_trait]
impl Heartbeats for SimulatedPorts {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.call("heartbeats.record").await;
        self.may_fail("heartbeats")?;
        {
            let mut world = self.world.get();
            let place = (heard.key.clone(), heard.region.clone());
            let now = instant(world.now + world.clocks + self.skew);
            let beats = world.tables.beats.entry(self.region.clone()).or_default();
            let kept = match beats.get(&place).cloned() {
                Some(kept) => Heard {
                    heartbeat: kept.heartbeat.recorded(heard.heartbeat.clone(), now),
                    ..kept
                },
                None => heard.clone(),
            };
            put(&mut world, &self.region, kept);
            if heard.heartbeat.signal == Signal::Fail {
                let at = (world.now, world.now + world.clocks);
                world.failed.insert(heard.key.clone(), at);
            }
        }
        self.reply("heartbeats.record").await;
        Ok(())
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        self.call("heartbeats.load").await;
        self.may_fail("heartbeats")?;
        let world = self.world.get();
        world.damage.check(HEARTBEATS, &host.to_string())?;
        let beats = world.tables.beats.get(&self.region);
        Ok(beats
            .into_iter()
            .flatten()
            .filter(|((key, _), _)| key == host)
            .map(|(_, heard)| heard.clone())
            .collect())
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.call("heartbeats.scan").await;
        self.may_fail("heartbeats")?;
        let mut world = self.world.get();
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let stale = world.strikes(Fault::StaleScan);
        let World {
            tables,
            rng,
            damage,
            ..
        } = &mut *world;
        let old = tables.old_beats.get(&self.region);
        let mut page = Page::default();
        for (place, heard) in tables.beats.get(&self.region).into_iter().flatten() {
            let key = place.0.to_string();
            if after.as_ref().is_some_and(|after| key <= after.0) {
                continue;
            }
            // Of a stale page each item is as of now or as of then.
            let heard = if stale && rng.bool() {
                old.and_then(|old| old.get(place))
            } else {
                Some(heard)
            };
            match damage.of(HEARTBEATS, &key) {
                Some(item) => page.unreadable.push(item),
                None => page.items.extend(heard.cloned()),
            }
        }
        Ok(page)
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.call("heartbeats.mend").await;
        self.may_fail("heartbeats")?;
        let mut world = self.world.get();
        for heard in ahead {
            let place = (heard.key.clone(), heard.region.clone());
            let beats = world.tables.beats.entry(self.region.clone()).or_default();
            let kept = beats.get(&place).cloned();
            let kept = kept.filter(|kept| kept.heartbeat.has_instants_of(&heard.heartbeat));
            if let Some(kept) = kept {
                let heartbeat = kept.heartbeat.clone().as_of(now);
                put(&mut world, &self.region, Heard { heartbeat, ..kept });
                let at = world.now;
                world.mended.insert(heard.key.clone(), at);
                world.say(|| format!("{}: {} is brought to {now}", self.region, heard.key));
            }
        }
        Ok(())
    }

    /// A scan is one page.
    fn behind(&self, host: &HostKey) -> Cursor {
        Cursor(host.to_string())
    }

    /// Deletes nothing, as if the admin's machine had crashed: the ledger must suffice.
    async fn forget(&self, _: &HostKey, _: Timestamp) -> PortResult<()> {
        Ok(())
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}
