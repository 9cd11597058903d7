//! What operators do to a stage: they add or remove a region, and restore the ledger from a backup, as the pages say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hb_domain::{Digest, Entry, HostKey, Incarnation, Notice, Receiver, Region, Subject};
use hb_service::ports::{Checkpoint, CompletedSweep, Record};

use crate::executor::Executor;
use crate::faults::Fault;
use crate::store::{Beats, Copy, Records};
use crate::world::{Quiet, Shared, World};

/// How long the sweeps are stopped while the ledger is restored, and a canary of each region is heard again.
const STOP: Range<i64> = 65_000..200_000;
/// How long the record of a removed region stays: until copies of what it received have arrived, and the hosts have sent
/// beats to another one (docs/deployment.md, "Remove a region").
const REMOVAL: Range<i64> = 300_000..600_000;

/// What an operator has begun, at most once in a run each.
#[derive(Default)]
pub(crate) struct Operations {
    /// The region that is yet to be added.
    pub(crate) planned: Option<Region>,
    /// The region that was removed, and when its record will be, unless it was.
    removed: Option<(Region, Option<i64>)>,
    backup: Option<Backup>,
    /// When the ledger was restored.
    pub(crate) restored: Option<i64>,
    /// Until when sweeps are stopped for it.
    pub(crate) stopped_until: i64,
}

/// All stored data at an instant.
struct Backup {
    at: i64,
    records: BTreeMap<Region, Records>,
    sweeps: BTreeMap<Region, CompletedSweep>,
    checkpoints: BTreeMap<Region, Checkpoint>,
    beats: BTreeMap<Region, Beats>,
}

/// An operator may begin or go on with something.
pub(crate) fn operate(world: &Shared, executor: &mut Executor) {
    let mut world = world.get();
    if let Some(region) = world.operations.planned.clone()
        && world.strikes(Fault::RegionAdded)
    {
        world.add_region(region);
    } else if world.may_remove_region() && world.strikes(Fault::RegionRemoved) {
        let removed = world.remove_region();
        executor.end_processes(|_, region| Some(region) == removed.as_ref());
    }
    if world.operations.restored.is_none() && world.strikes(Fault::Restored) {
        if world.operations.backup.is_none() {
            // One from before would not know a region; or, after the clocks were set back, have beats that are far older
            // than its canaries. Limits of the product.
            if world.has_canaries_of_now() {
                world.back_up();
            }
        } else {
            let alone = world.is_one_machine();
            // The whole server is stopped.
            executor.end_processes(|name, _| alone || name != "canary");
            world.restore();
        }
    }
}

impl World {
    /// Whether the stage has always had one region, as one machine has.
    pub(crate) fn is_one_machine(&self) -> bool {
        self.without_canary.len() == 1
    }

    /// Whether sweeps are stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.now < self.operations.stopped_until
    }

    /// One region of two may be added later.
    pub(crate) fn plan_region(&mut self) {
        let chance = self.faults.chance(Fault::RegionAdded);
        if chance > 0 && self.regions.len() > 1 && self.rng.bool() {
            self.operations.planned = self.regions.pop();
        }
    }

    /// A region begins to receive and to sweep. It has all heartbeats, and no record of its own.
    fn add_region(&mut self, region: Region) {
        self.say(|| format!("region {region} is added"));
        let now = self.now;
        let home = self.regions[0].clone();
        self.tables.replicate(&home, &region);
        self.without_canary
            .insert(region.clone(), Quiet::until(now));
        self.without_sweep.insert(region.clone(), Quiet::until(now));
        self.regions.push(region);
        self.operations.planned = None;
        // One from before would not know the region, which must not be away then.
        self.operations.backup = None;
    }

    /// Only while copies arrive: what a removed region alone has is lost.
    fn may_remove_region(&self) -> bool {
        let soon = self.now + 2_000;
        let late = |(_, at, _): &(Region, i64, Copy)| *at > soon;
        let behind = self.replication_down || self.tables.copies.iter().any(late);
        self.regions.len() > 1 && self.operations.removed.is_none() && !behind
    }

    /// The last region ends to receive and to sweep. Its record stays for a while.
    fn remove_region(&mut self) -> Option<Region> {
        let region = self.regions.pop()?;
        self.say(|| format!("region {region} is removed"));
        self.receivers_down.remove(&region);
        self.cut_off.remove(&region);
        // Its queue of echoes goes with it.
        self.echoes.retain(|message| message.region != region);
        let copies = self.accepted.iter_mut();
        for copy in copies.filter(|copy| copy.region == region) {
            copy.echo = None;
        }
        let until = self.now + self.rng.i64(REMOVAL);
        self.operations.removed = Some((region.clone(), Some(until)));
        Some(region)
    }

    /// The record of a removed region goes when it is time.
    pub(crate) fn remove_record(&mut self) {
        let time = self.now;
        let Some((region, until)) = &mut self.operations.removed else {
            return;
        };
        if until.is_none_or(|until| time < until) {
            return;
        }
        *until = None;
        let region = region.clone();
        self.say(|| format!("the record of {region} is removed"));
        let ledger = self.tables.ledger_of(&region);
        let place = (Receiver::TABLE, region.to_string());
        if let Some(records) = self.tables.records.get_mut(&ledger) {
            records.remove(&place);
        }
        self.damage.repair(place.0, &place.1);
        for quiet in [&mut self.without_canary, &mut self.without_sweep] {
            quiet.insert(region.clone(), Quiet::ended_for_ever(time));
        }
    }

    /// The regions that hosts use: a new one only when its first canary is on record.
    pub(crate) fn receiving(&self) -> Vec<Region> {
        let known = |region: &&Region| self.heard.contains_key(*region);
        self.regions.iter().filter(known).cloned().collect()
    }

    fn back_up(&mut self) {
        self.say(|| "a backup is made".to_owned());
        let tables = &self.tables;
        self.operations.backup = Some(Backup {
            at: self.now,
            records: tables.records.clone(),
            sweeps: tables.sweeps.clone(),
            checkpoints: tables.checkpoints.clone(),
            beats: tables.beats.clone(),
        });
    }

    /// The ledger is as it was; on one machine, all of the data. A new incarnation begins.
    fn restore(&mut self) {
        let Some(backup) = self.operations.backup.take() else {
            return;
        };
        let now = self.now;
        self.say(|| {
            format!(
                "the data of {} s ago is restored",
                (now - backup.at) / 1_000
            )
        });
        self.operations.restored = Some(now);
        self.canaries.clear();
        self.operations.stopped_until = now + self.rng.i64(STOP);
        self.tables.records = backup.records;
        for records in self.tables.records.values_mut() {
            records.retain(|(table, _), _| *table != <Incarnation as Record>::TABLE);
        }
        if self.is_one_machine() {
            self.tables.sweeps = backup.sweeps;
            self.tables.checkpoints = backup.checkpoints;
            self.tables.restore_beats(backup.beats);
        }
        self.tables.old_records = self.tables.records.clone();
        self.tables.old_beats = self.tables.beats.clone();
        // The record of a removed region is back.
        if let Some((_, until)) = &mut self.operations.removed {
            *until = Some(now);
        }
        self.forget_claims_since(backup.at);
    }

    /// What was decided since is decided anew, and what was pending is sent again, which nobody can avoid.
    fn forget_claims_since(&mut self, at: i64) {
        let since: Vec<(HostKey, u64)> = self
            .claimed
            .iter()
            .filter(|(_, claimed)| **claimed > at)
            .map(|(id, _)| id.clone())
            .collect();
        for id in since {
            self.claims.remove(&id);
            self.claimed.remove(&id);
            self.held_until.remove(&id);
        }
        let claims = &self.claims;
        self.published_by.retain(|id, _| claims.contains_key(id));
        for copy in self.accepted.iter().filter(|copy| copy.at > at) {
            for id in &copy.transitions {
                // It was, and may be again in another notice.
                let by = self.published_by.entry(id.clone());
                by.and_modify(BTreeSet::clear);
            }
        }
        self.withdrawn = self.withdrawn_on_record();
        let pending = self.pending();
        self.accepted
            .retain(|copy| copy.at <= at && !pending.contains(&copy.subject));
        self.echoed.retain(|_, read| *read <= at);
        self.asked.clear();
    }

    /// What the records say was withdrawn.
    fn withdrawn_on_record(&self) -> BTreeSet<(HostKey, u64)> {
        let rows = self.tables.records.values().flat_map(BTreeMap::values);
        let entries = rows.filter_map(|row| row.record.downcast_ref::<Entry>());
        let withdrawn = entries.flat_map(|entry| {
            let withdrawn = entry.history.iter().filter(|last| last.withdrawn);
            withdrawn.map(|last| (entry.key.clone(), last.epoch))
        });
        withdrawn.collect()
    }

    /// What notices are pending.
    fn pending(&self) -> BTreeSet<Subject> {
        let home = &self.regions[0];
        let rows = self.tables.records.values().flat_map(BTreeMap::values);
        let notice = rows.filter_map(|row| {
            let entry = row.record.downcast_ref::<Entry>();
            let digest = row.record.downcast_ref::<Digest>();
            let of_host = entry.and_then(|entry| Notice::of(entry, home));
            of_host.or_else(|| digest.and_then(|digest| Notice::of_digest(digest, home)))
        });
        notice.map(|notice| notice.subject()).collect()
    }
}
