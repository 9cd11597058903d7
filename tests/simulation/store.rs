//! The tables, as each region sees them.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{HostKey, Region};
use hb_service::ports::{Checkpoint, CompletedSweep, Heard, Version};
use uuid::Uuid;

/// A record with its version, its writer, and when it was written.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) record: Arc<dyn Any + Send + Sync>,
    pub(crate) open: bool,
    pub(crate) version: Version,
    pub(crate) writer: Uuid,
    pub(crate) at: i64,
}

/// Records by table and key.
pub(crate) type Records = BTreeMap<(&'static str, String), Row>;
/// Heartbeats by host and region.
pub(crate) type Beats = BTreeMap<(HostKey, Region), Heard>;

/// A write in transit to another region.
pub(crate) enum Copy {
    /// And when it was written.
    Beat(Heard, i64),
    Record(&'static str, String, Row),
}

#[derive(Default)]
pub(crate) struct Tables {
    /// What each region sees of all beats.
    pub(crate) beats: BTreeMap<Region, Beats>,
    /// When each item there was written.
    written: BTreeMap<(Region, HostKey, Region), i64>,
    /// The same some time ago: what a stale scan sees.
    pub(crate) old_beats: BTreeMap<Region, Beats>,
    /// The ledger. One for all regions, unless it is eventually consistent.
    pub(crate) records: BTreeMap<Region, Records>,
    /// The same some time ago: what a stale index sees.
    pub(crate) old_records: BTreeMap<Region, Records>,
    pub(crate) sweeps: BTreeMap<Region, CompletedSweep>,
    pub(crate) checkpoints: BTreeMap<Region, Checkpoint>,
    /// Copies in transit: region, time of arrival and content.
    pub(crate) copies: Vec<(Region, i64, Copy)>,
    /// Whether each region has its own ledger, which breaks the protocol.
    pub(crate) eventual: bool,
    home: Option<Region>,
}

impl Tables {
    pub(crate) fn new(regions: &[Region], eventual: bool) -> Self {
        Self {
            eventual,
            home: regions.first().cloned(),
            ..Self::default()
        }
    }

    /// The region whose ledger `region` uses.
    pub(crate) fn ledger_of(&self, region: &Region) -> Region {
        if self.eventual {
            region.clone()
        } else {
            self.home.clone().unwrap_or_else(|| region.clone())
        }
    }

    /// Stores an item in a region, unless a later write of it is there: the last writer wins.
    pub(crate) fn put(&mut self, region: &Region, heard: Heard, at: i64) {
        let place = (heard.key.clone(), heard.region.clone());
        let item = (region.clone(), place.0.clone(), place.1.clone());
        let written = self.written.entry(item).or_insert(at);
        let beats = self.beats.entry(region.clone()).or_default();
        // Of two writes at the same time the same one wins in all regions.
        let later = |kept: &Heard| kept.heartbeat.last > heard.heartbeat.last;
        if *written < at || *written == at && !beats.get(&place).is_some_and(later) {
            *written = at;
            beats.insert(place, heard);
        }
    }

    /// A new region gets a copy of all that `home` has, which keeps the times of the writes.
    pub(crate) fn replicate(&mut self, home: &Region, region: &Region) {
        let beats = self.beats.get(home).cloned().unwrap_or_default();
        for (key, of) in beats.keys() {
            let at = |region: &Region| (region.clone(), key.clone(), of.clone());
            if let Some(written) = self.written.get(&at(home)).copied() {
                self.written.insert(at(region), written);
            }
        }
        self.beats.insert(region.clone(), beats);
    }

    /// All heartbeats are as they were.
    pub(crate) fn restore_beats(&mut self, beats: BTreeMap<Region, Beats>) {
        self.beats = beats;
        self.copies
            .retain(|(_, _, copy)| !matches!(copy, Copy::Beat(..)));
    }

    /// Delivers the copies that are due at `now`, except to regions that are cut off; those of heartbeats only if
    /// `beats` are copied.
    pub(crate) fn arrive(&mut self, now: i64, beats: bool, cut_off: impl Fn(&Region) -> bool) {
        let copies = std::mem::take(&mut self.copies);
        for (region, at, copy) in copies {
            let held = !beats && matches!(copy, Copy::Beat(..));
            if at > now || held || cut_off(&region) {
                self.copies.push((region, at, copy));
                continue;
            }
            match copy {
                Copy::Beat(heard, written) => self.put(&region, heard, written),
                Copy::Record(table, key, row) => {
                    let records = self.records.entry(region).or_default();
                    // The last writer wins.
                    let older = records
                        .get(&(table, key.clone()))
                        .is_none_or(|known| known.at < row.at);
                    if older {
                        records.insert((table, key), row);
                    }
                }
            }
        }
    }
}
