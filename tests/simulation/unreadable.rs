//! Items that cannot be read for a while: the entry or the beats of a host, or the record of a receiver.
//!
//! Some of them still are when all other faults have ended, and other hosts must not wait for them. A swap that replaces an
//! item repairs it.

use std::collections::BTreeMap;

use hb_domain::{HostKey, Receiver};
use hb_service::ports::{PortError, Record, Unreadable};

use crate::faults::Fault;
use crate::world::World;

pub(crate) const HEARTBEATS: &str = "heartbeats";
/// How long an item stays so at most.
const LONGEST: i64 = 360_000;

#[derive(Default)]
pub(crate) struct Damage {
    /// Table and key of what cannot be read now, and until when.
    items: BTreeMap<(&'static str, String), i64>,
    /// Until when the entry or the beats of each host were so.
    hosts: BTreeMap<String, i64>,
    /// Until when any receiver had such a record.
    receivers: Option<i64>,
}

impl Damage {
    pub(crate) fn of(&self, table: &'static str, key: &str) -> Option<Unreadable> {
        let known = self.items.contains_key(&(table, key.to_owned()));
        known.then(|| Unreadable {
            key: key.to_owned(),
            cause: "simulated".to_owned(),
        })
    }

    pub(crate) fn check(&self, table: &'static str, key: &str) -> Result<(), PortError> {
        let damaged = self.of(table, key);
        damaged.map_or(Ok(()), |item| {
            Err(PortError::unreadable(table, item.key, item.cause))
        })
    }

    pub(crate) fn repair(&mut self, table: &'static str, key: &str) {
        self.items.remove(&(table, key.to_owned()));
    }

    /// Whether the entry or the beats of a host could not be read at `at` or later.
    pub(crate) fn since(&self, key: &HostKey, at: i64) -> bool {
        let until = self.hosts.get(&key.to_string());
        until.is_some_and(|until| *until >= at)
    }

    /// Until when the entry or the beats of a host could not be read; `at` if not as late as that.
    pub(crate) fn end(&self, key: &HostKey, at: i64) -> i64 {
        let until = self.hosts.get(&key.to_string());
        until.copied().unwrap_or(at).max(at)
    }

    /// Whether the record of any receiver could not be read at `at` or later.
    pub(crate) fn of_receivers_since(&self, at: i64) -> bool {
        self.receivers.is_some_and(|until| until >= at)
    }
}

impl World {
    /// What was damaged long enough is repaired.
    pub(crate) fn repair(&mut self) {
        let now = self.now;
        self.damage.items.retain(|_, until| *until > now);
    }

    /// Something may be damaged.
    pub(crate) fn may_damage(&mut self) {
        let now = self.now;
        if !self.strikes(Fault::Unreadable) {
            return;
        }
        let hosts: Vec<_> = self.truth.keys().cloned().collect();
        let host = hosts[self.rng.usize(0..hosts.len())].to_string();
        let region = self.regions[self.rng.usize(0..self.regions.len())].to_string();
        let until = now + self.rng.i64(60_000..LONGEST);
        let (table, key) = match self.rng.u8(0..5) {
            0 => (Receiver::TABLE, region),
            1 | 2 => (HEARTBEATS, host),
            _ => (hb_domain::Entry::TABLE, host),
        };
        self.say(|| format!("{key} of table {table} cannot be read until {until}"));
        if table == Receiver::TABLE {
            self.damage.receivers = self.damage.receivers.max(Some(until));
        } else {
            let known = self.damage.hosts.entry(key.clone()).or_default();
            *known = until.max(*known);
        }
        self.damage.items.insert((table, key), until);
    }
}
