//! Which groups may send in a pass.

use std::collections::{BTreeMap, BTreeSet};

use hb_domain::{Entry, Fleet, FleetRecord, Kind, Maintenance, Timestamp, Zone};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{PortError, PortResult, Ports, Record, Stored, every_open};
use crate::swap::{Update, update_from};

/// A fleet and the kind of its notices.
pub(super) type Group = (Fleet, Kind);

/// What a pass knows of the groups.
#[derive(Default)]
pub(super) struct Groups {
    /// Those in which notices waited when it began, with when the oldest was decided. They leave together with what is decided
    /// now, at the end.
    waiting: BTreeMap<Group, Timestamp>,
    /// The records of their fleets, as they were read or written last.
    fleets: BTreeMap<Fleet, Option<Stored<FleetRecord>>>,
    /// Those that this pass sends: whatever else it finds of them leaves as well.
    sends: BTreeSet<Group>,
    /// What another sweep decided first in those, and left to this pass.
    left: Vec<Stored>,
}

impl Groups {
    /// Reads the records of the fleets, as they are listed: the times of their groups, their maintenance windows at `now`, and
    /// their time zones.
    pub(super) async fn read(
        ports: &Ports,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> PortResult<(Self, Maintenance, BTreeMap<Fleet, Zone>)> {
        let (listed, unreadable) = every_open(&*ports.fleets).await?;
        for item in &unreadable {
            report.skip(&format!("table {}", FleetRecord::TABLE), item);
        }
        let maintenance = Maintenance::of(listed.iter().map(|stored| &stored.record), now);
        let zones = listed.iter().map(|stored| &stored.record);
        let zones = zones.filter_map(|record| Some((record.fleet.clone(), record.tz.clone()?)));
        let zones = zones.collect();
        let known = listed.into_iter();
        let known = known.map(|stored| (stored.record.fleet.clone(), Some(stored)));
        let groups = Self {
            fleets: known.collect(),
            ..Self::default()
        };
        Ok((groups, maintenance, zones))
    }
}

impl Pass<'_> {
    /// The group of the notice that waits in `entry`, and when that was decided. While a host is in maintenance its trouble
    /// waits for the end of that.
    pub(super) fn group_of(&self, entry: &Entry, now: Timestamp) -> Option<(Group, Timestamp)> {
        let last = entry.history.last().filter(|_| entry.waits_in_group(now))?;
        let held = last.kind.leads_to().is_trouble() && self.is_in_maintenance(entry);
        (!held).then(|| ((entry.key.fleet.clone(), last.kind), last.at))
    }

    pub(super) fn is_in_maintenance(&self, entry: &Entry) -> bool {
        self.maintenance.open(&entry.key).is_some()
    }

    /// Notes that a notice waits in `group`, which was decided at `at`.
    pub(super) async fn note(&self, group: Group, at: Timestamp) {
        let mut groups = self.groups.lock().await;
        let oldest = groups.waiting.entry(group).or_insert(at);
        *oldest = at.min(*oldest);
    }

    /// Keeps an entry that another sweep decided first, when its notice is one that this pass sends.
    pub(super) async fn keep_lost(&self, current: Stored) {
        let mut groups = self.groups.lock().await;
        let group = self.group_of(&current.record, self.sweep.ports.clock.now());
        if group.is_some_and(|(group, _)| groups.sends.contains(&group)) {
            groups.left.push(current);
        }
    }

    /// Sends what was kept so.
    pub(super) async fn send_lost(&self, report: &mut SweepReport) -> Result<(), Stop> {
        let left = std::mem::take(&mut self.groups.lock().await.left);
        self.send_waiting(left, report).await
    }

    /// Whether a notice waited in `group` when the pass began.
    pub(super) async fn waits(&self, group: &Group) -> bool {
        self.groups.lock().await.waiting.contains_key(group)
    }

    /// Whether the time of any group has come in which a notice waits.
    pub(super) async fn is_any_group_due(&self) -> bool {
        let mut groups = self.groups.lock().await;
        for (group, oldest) in groups.waiting.clone() {
            // An error will be one again when the notice is to be sent.
            if self
                .is_group_due(&mut groups, &group, oldest)
                .await
                .unwrap_or(true)
            {
                return true;
            }
        }
        false
    }

    /// Whether this pass sends what waits in `group`, decided at `oldest` or later. Of several sweeps at the same time, one
    /// does: it has swapped in that a message leaves now. A record that cannot be read holds nothing back.
    pub(super) async fn may_send(
        &self,
        group: &Group,
        oldest: Timestamp,
        report: &mut SweepReport,
    ) -> Result<bool, Stop> {
        match self.take(group, oldest).await {
            Err(error @ PortError::Unreadable { .. }) => {
                report.count(Step::Failed(error))?;
                self.groups.lock().await.sends.insert(group.clone());
                Ok(true)
            }
            taken => Ok(taken?),
        }
    }

    async fn take(&self, group: &Group, oldest: Timestamp) -> PortResult<bool> {
        let mut groups = self.groups.lock().await;
        if groups.sends.contains(group) {
            return Ok(true);
        }
        let waiting = groups.waiting.get(group).copied();
        let oldest = waiting.map_or(oldest, |waiting| waiting.min(oldest));
        if !self.is_group_due(&mut groups, group, oldest).await? {
            return Ok(false);
        }
        let (fleet, kind) = group;
        let rule = |record: Option<FleetRecord>| {
            let record = record.unwrap_or_else(|| FleetRecord::new(fleet.clone()));
            let due = self.is_due_by(&record, *kind, oldest);
            due.then(|| record.sending(*kind, self.now)).ok_or(())
        };
        let known = groups.fleets.remove(fleet).flatten();
        let stored = match update_from(&self.sweep.ports, fleet, known, rule).await? {
            Update::Done(stored) => {
                groups.sends.insert(group.clone());
                Some(stored)
            }
            Update::Declined(stored, ()) => stored,
            Update::Contended(error) => return Err(error),
        };
        groups.fleets.insert(fleet.clone(), stored);
        Ok(groups.sends.contains(group))
    }

    /// Whether its time has come, as far as this pass knows.
    async fn is_group_due(
        &self,
        groups: &mut Groups,
        group: &Group,
        oldest: Timestamp,
    ) -> PortResult<bool> {
        let (fleet, kind) = group;
        if !groups.fleets.contains_key(fleet) {
            let stored = self.sweep.ports.fleets.load(fleet).await?;
            groups.fleets.insert(fleet.clone(), stored);
        }
        let stored = groups.fleets.get(fleet).and_then(Option::as_ref);
        let new = || FleetRecord::new(fleet.clone());
        let record = stored.map_or_else(new, |stored| stored.record.clone());
        Ok(self.is_due_by(&record, *kind, oldest))
    }

    fn is_due_by(&self, record: &FleetRecord, kind: Kind, oldest: Timestamp) -> bool {
        let record = FleetRecord {
            settings: record.settings.or(self.sweep.settings.groups),
            ..record.clone()
        };
        record.may_send(kind, oldest, self.now)
    }
}
