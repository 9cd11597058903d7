//! Scans all hosts, perhaps from stale copies, for those whose state seems to have changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::stream::{self, StreamExt, TryStreamExt};
use hb_domain::{Entry, Fleet, Heartbeat, HostKey, Kind, State, Timestamp, decide};

use super::silence::SilencePolicy;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Heard, Segment, Stored, Unreadable, each_page};

/// A host that may have changed.
pub(super) struct Candidate {
    pub(super) key: HostKey,
    /// What seems to have happened; `None` when the host is only to be rechecked.
    pub(super) kind: Option<Kind>,
    /// True only if the receiver works, which is not certain.
    pub(super) doubtful: bool,
}

/// What a scan found.
#[derive(Default)]
pub(super) struct Scanned {
    unreadable: Vec<Unreadable>,
    pub(super) candidates: Vec<Candidate>,
    /// How many hosts each fleet has.
    pub(super) hosts: BTreeMap<Fleet, u64>,
}

impl Scanned {
    fn host(
        &mut self,
        heard: Option<Heard>,
        judge: impl Fn(&HostKey, &Heartbeat) -> Option<(Option<Kind>, bool)>,
    ) {
        let Some(Heard { key, heartbeat, .. }) =
            heard.filter(|heard| !heard.key.host.is_reserved())
        else {
            return;
        };
        match self.hosts.get_mut(&key.fleet) {
            Some(count) => *count += 1,
            None => drop(self.hosts.insert(key.fleet.clone(), 1)),
        }
        if let Some((kind, doubtful)) = judge(&key, &heartbeat) {
            self.candidates.push(Candidate {
                key,
                kind,
                doubtful,
            });
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.unreadable.extend(other.unreadable);
        self.candidates.extend(other.candidates);
        for (fleet, count) in other.hosts {
            *self.hosts.entry(fleet).or_default() += count;
        }
        self
    }
}

impl Pass<'_> {
    /// Finds hosts whose state seems to have changed.
    pub(super) async fn scan(
        &self,
        open: &BTreeMap<HostKey, Stored>,
        last_sweep: Option<Timestamp>,
        policy: &SilencePolicy,
        report: &mut SweepReport,
    ) -> Result<Scanned, Stop> {
        let hosts = AtomicU64::new(0);
        let judge = |key: &HostKey, heartbeat: &Heartbeat| {
            hosts.fetch_add(1, Ordering::Relaxed);
            let assumed = || Cow::Owned(Entry::assumed(key, heartbeat, last_sweep));
            let entry = open
                .get(key)
                .map_or_else(assumed, |stored| Cow::Borrowed(&stored.record));
            let kind = |rules| {
                decide(&entry, heartbeat, self.now, rules)?
                    .history
                    .last()
                    .map(|last| last.kind)
            };
            let recheck = entry.needs_recheck && entry.state != State::Forgotten;
            match (kind(&policy.sure), policy.raw.as_ref().and_then(kind)) {
                (Some(kind), _) => Some((Some(kind), false)),
                (None, Some(kind)) => Some((Some(kind), true)),
                (None, None) => recheck.then_some((None, false)),
            }
        };
        let of = self.sweep.settings.segments;
        let segments = (0..of).map(|index| self.segment(Segment { index, of }, &judge));
        let scans: Result<Vec<_>, _> = stream::iter(segments)
            .buffer_unordered(of.max(1) as usize)
            .try_collect()
            .await;
        // Counted for a scan that did not complete as well.
        report.hosts = hosts.load(Ordering::Relaxed);
        let scanned = scans?
            .into_iter()
            .reduce(Scanned::merge)
            .unwrap_or_default();
        scanned
            .unreadable
            .iter()
            .for_each(|item| report.skip("table heartbeats", item));
        Ok(scanned)
    }

    async fn segment(
        &self,
        segment: Segment,
        judge: &impl Fn(&HostKey, &Heartbeat) -> Option<(Option<Kind>, bool)>,
    ) -> Result<Scanned, Stop> {
        let mut scanned = Scanned::default();
        // The regions of a host follow each other, perhaps across two pages.
        let mut host: Option<Heard> = None;
        let turn = async |after| {
            self.in_time()?;
            Ok::<_, Stop>(self.sweep.ports.heartbeats.scan(segment, after).await?)
        };
        each_page(turn, |page| {
            scanned.unreadable.extend(page.unreadable);
            for heard in page.items {
                host = Some(match host.take() {
                    Some(before) if before.key == heard.key => Heard {
                        heartbeat: before.heartbeat.merge(heard.heartbeat),
                        ..before
                    },
                    before => {
                        scanned.host(before, judge);
                        heard
                    }
                });
            }
        })
        .await?;
        scanned.host(host, judge);
        Ok(scanned)
    }
}
