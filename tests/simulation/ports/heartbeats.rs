use async_trait::async_trait;
use hb_domain::{HostKey, Signal, Timestamp};
use hb_service::ports::{Cursor, Heard, Heartbeats, Page, PortResult, Segment};

use super::{SimulatedPorts, delay};
use crate::faults::Fault;
use crate::store::Copy;

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
                let at = world.now + delay(&mut world, heard.key.host.as_str());
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

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
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
            .filter(|heard| {
                let key = heard.key.to_string();
                after.as_ref().is_none_or(|after| key > after.0)
            })
            .collect();
        Ok(Page {
            items,
            ..Page::default()
        })
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
