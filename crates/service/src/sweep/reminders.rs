//! Reminds people of what is still missing or failing.

use std::collections::BTreeMap;

use futures::stream::StreamExt;
use hb_domain::{Digest, Entry, Fleet, FleetRecord, Member, NoticeId, Reminder, Timestamp, limits};

use super::{Pass, Stop, SweepReport};
use crate::ports::PortResult;
use crate::swap::{Update, swap, update};

/// Of each fleet with hosts of whose trouble people are to be reminded, when the oldest of these was decided.
pub(super) type Troubles = BTreeMap<Fleet, Timestamp>;

/// Notes the trouble of a host.
pub(super) fn note_trouble(troubles: &mut Troubles, entry: &Entry, now: Timestamp) {
    if let Some(told) = entry.to_remind(now) {
        let oldest = troubles.entry(entry.key.fleet.clone()).or_insert(told.at);
        *oldest = told.at.min(*oldest);
    }
}

/// A reminder that is to be made.
struct Due {
    id: NoticeId,
    /// The hosts in trouble for longest: at most twice as many as it lists.
    hosts: Vec<Member>,
    unlisted: Reminder,
}

impl Due {
    fn add(&mut self, entry: &Entry, now: Timestamp) {
        let acknowledged = entry.settings.acknowledged.is_some();
        if acknowledged && entry.state.is_trouble() && !entry.settings.is_paused(now) {
            self.unlisted.acknowledged += 1;
        }
        let Some(told) = entry.to_remind(now) else {
            return;
        };
        self.hosts.push(Member::still(entry, told));
        if self.hosts.len() >= 2 * limits::DIGEST_HOSTS {
            self.hosts.sort_by_key(|host| host.since);
            self.unlisted.more += self.hosts.len() - limits::DIGEST_HOSTS;
            self.hosts.truncate(limits::DIGEST_HOSTS);
        }
    }
}

impl Pass<'_> {
    /// Sends the reminders whose time has come, and those that a sweep began which ended before they were sent.
    pub(super) async fn remind(
        &self,
        troubles: &Troubles,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let mut due = BTreeMap::new();
        for (fleet, oldest) in troubles {
            self.in_time()?;
            if let Some(id) = self.begin_reminder(fleet, *oldest).await? {
                let (hosts, unlisted) = (Vec::new(), Reminder::default());
                due.insert(
                    fleet,
                    Due {
                        id,
                        hosts,
                        unlisted,
                    },
                );
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let mut pages = self.open_pages();
        while let Some(page) = pages.next().await {
            self.in_time()?;
            for stored in page?.items {
                if self.is_in_maintenance(&stored.record) {
                    continue;
                }
                if let Some(due) = due.get_mut(&stored.record.key.fleet) {
                    due.add(&stored.record, self.now);
                }
            }
        }
        drop(pages);
        for (
            fleet,
            Due {
                id,
                hosts,
                unlisted,
            },
        ) in due
        {
            self.in_time()?;
            let now = self.sweep.ports.clock.now();
            let digest = Digest::reminding(id.clone(), fleet.clone(), hosts, unlisted, now);
            let made = match digest.map(|digest| self.with_sites(digest)) {
                // There may be one of this id already, of a sweep that ended here.
                Some(digest) => swap(&self.sweep.ports, digest, None).await?.ok(),
                None => None,
            };
            let rule = |record: Option<FleetRecord>| {
                let record = record.and_then(|record| record.after_reminder(&id));
                record.ok_or(())
            };
            update(&self.sweep.ports, fleet, rule).await?;
            if let Some(digest) = made {
                self.advance(digest, Some(Vec::new()), report).await?;
            }
        }
        Ok(())
    }

    /// The reminder of a fleet that is to be made now: one that is begun, by this sweep or another.
    async fn begin_reminder(
        &self,
        fleet: &Fleet,
        oldest: Timestamp,
    ) -> PortResult<Option<NoticeId>> {
        let (ports, defaults) = (&self.sweep.ports, self.sweep.settings.groups);
        let id = NoticeId::of_bytes(ports.ids.random());
        let rule = |record: Option<FleetRecord>| {
            let record = record.unwrap_or_else(|| FleetRecord::new(fleet.clone()));
            let repeat = record.settings.or(defaults).repeat();
            record.with_reminder(id.clone(), oldest, repeat, self.now)
        };
        match update(ports, fleet, rule).await? {
            Update::Done(stored) => Ok(stored.record.reminder),
            Update::Declined(_, begun) => Ok(begun),
            Update::Contended(error) => Err(error),
        }
    }
}
