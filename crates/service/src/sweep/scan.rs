//! Scans all hosts, perhaps from stale copies, for those whose state seems to have changed.

use std::collections::{BTreeMap, HashMap};

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use hb_domain::{
    Entry, Fleet, Heartbeat, HostKey, KeyId, Kind, Network, Region, State, Timestamp, decide_among,
    limits,
};

use super::open::{Known, OpenHosts};
use super::settled::Settled;
use super::silence::SilencePolicy;
use super::sites::Sites;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Heard, PortError, Position, Segment, Unreadable};

/// Candidates of a kind, in the order in which a sweep settles them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Missing, failing, or only to be rechecked.
    Urgent,
    Recovered,
    /// A host without an open entry that seems to be new, or one that has raised its interval.
    New,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Urgent, Self::Recovered, Self::New];
}

/// A host that may have changed.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) key: HostKey,
    /// Its beats as scanned, and the region of the newest one.
    pub(super) beats: Option<(Heartbeat, Region)>,
    /// What seems to have happened; `None` when the host is only to be rechecked.
    pub(super) kind: Option<Kind>,
    /// True only if the receiver works, which is not certain.
    pub(super) doubtful: bool,
    /// A region asked the others about it.
    pub(super) asked: bool,
    /// It seems to have no entry yet.
    pub(super) new: bool,
    /// The segment of the scan that found it.
    pub(super) segment: usize,
}

/// Candidates of one class, as many as are kept at a time.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) candidates: Vec<Candidate>,
    /// Where each segment is to be scanned for more.
    pub(super) next: Vec<Position>,
}

/// What a scan found.
#[derive(Default)]
pub(super) struct Scanned {
    unreadable: Vec<Unreadable>,
    /// The first error of bringing instants to now that a wrong clock wrote.
    pub(super) unmended: Option<PortError>,
    batches: [Batch; 3],
    /// How many hosts each fleet has.
    pub(super) hosts: BTreeMap<Fleet, u64>,
    /// And each site of it.
    pub(super) sites: Sites,
    /// How many of them seem silent, perhaps because the receiver is at fault.
    pub(super) silent: BTreeMap<Fleet, u64>,
    /// With which keys they beat.
    pub(super) keys: HashMap<KeyId, u32>,
    /// What their beats show about the network.
    pub(super) network: Network,
}

impl Scanned {
    pub(super) fn batch(&mut self, class: Class) -> &mut Batch {
        &mut self.batches[class as usize]
    }

    /// Adds the hosts of which other regions were asked.
    fn add_asked(&mut self, asked: &[HostKey], policy: &SilencePolicy) {
        for key in asked {
            if policy.may_hold(Some(Kind::Missing), false) {
                count(&mut self.silent, &key.fleet);
            }
        }
        let asked = asked.iter().map(|key| Candidate {
            key: key.clone(),
            beats: None,
            kind: Some(Kind::Missing),
            doubtful: false,
            asked: true,
            new: false,
            segment: 0,
        });
        self.batch(Class::Urgent).candidates.extend(asked);
    }

    fn merge(mut self, other: Self) -> Self {
        self.unreadable.extend(other.unreadable);
        self.unmended = self.unmended.or(other.unmended);
        for (mine, theirs) in self.batches.iter_mut().zip(other.batches) {
            mine.candidates.extend(theirs.candidates);
            mine.next.extend(theirs.next);
        }
        for (fleet, count) in other.hosts {
            *self.hosts.entry(fleet).or_default() += count;
        }
        self.sites = self.sites.merge(other.sites);
        for (fleet, count) in other.silent {
            *self.silent.entry(fleet).or_default() += count;
        }
        for (key, count) in other.keys {
            *self.keys.entry(key).or_default() += count;
        }
        self.network = self.network.merge(other.network);
        self
    }
}

/// Judges the beats of a host as scanned.
pub(super) struct Judge<'a> {
    pub(super) open: &'a OpenHosts,
    pub(super) last_sweep: Option<Timestamp>,
    pub(super) policy: &'a SilencePolicy,
    pub(super) settled: &'a Settled,
    pub(super) now: Timestamp,
}

/// What is to be done about a host.
struct Judged {
    class: Class,
    kind: Option<Kind>,
    doubtful: bool,
    asked: bool,
    new: bool,
    /// Since when it seems to be so.
    since: Timestamp,
}

impl Judge<'_> {
    /// `read` is the time after the beats were read: what a right clock wrote of them is not ahead of it. It is before the
    /// beginning of the sweep when the clock was set back since; then the beats may be dated so as well.
    fn judge(&self, heard: &Heard, read: Timestamp) -> Option<Judged> {
        let (key, beats) = (&heard.key, &heard.heartbeat);
        let now = self.now.min(read);
        let urgent = |kind: Option<Kind>| Judged {
            class: Class::Urgent,
            kind,
            doubtful: false,
            asked: kind == Some(Kind::Missing),
            new: false,
            since: now,
        };
        if beats.is_ahead(read) {
            // To be mended, and judged by the next sweep.
            return self.policy.may_mend.then(|| urgent(None));
        }
        let (entry, assumed) = match self.open.entry(key) {
            Known::Skipped => return None,
            Known::Asked => return Some(urgent(Some(Kind::Missing))),
            // The failure is noted in the entry, or decided: it would be old when the notice is no longer pending.
            Known::Pending(accounted) => {
                let failure = beats.failure.as_ref().map(|failure| failure.at);
                return (failure > accounted).then(|| urgent(Some(Kind::Failing)));
            }
            Known::Open(entry) => (entry.without_future(read), false),
            Known::Closed => {
                let assumed = Entry::assumed(key, beats, self.last_sweep, now);
                (assumed, true)
            }
        };
        let stored = Some((beats, &heard.region));
        let seems = |rules| {
            let next = decide_among(&entry, stored, now, rules, &self.policy.regions)?;
            let decided = next.history.last().filter(|_| next.epoch > entry.epoch);
            // Without a transition it seems missing, and other regions are to be asked.
            Some(decided.map_or((Kind::Missing, now), |last| (last.kind, last.since)))
        };
        let sure = seems(&self.policy.sure);
        let raw = || seems(self.policy.raw.as_ref()?);
        let doubtful = sure.is_none();
        let (kind, doubtful, since) = match sure.or_else(raw) {
            Some((kind, since)) => (Some(kind), doubtful, since),
            None if entry.needs_recheck && entry.state != State::Forgotten => (None, false, now),
            None => return None,
        };
        let class = match kind {
            Some(Kind::Recovered) => Class::Recovered,
            Some(Kind::Registered | Kind::Slowed) => Class::New,
            // Without a recorded sweep each host that ever failed seems to be a new one that fails.
            Some(Kind::Failing) if assumed && self.last_sweep.is_none() => Class::New,
            Some(Kind::Missing | Kind::Failing) | None => Class::Urgent,
        };
        let passing = matches!(kind, Some(Kind::Registered | Kind::Failing | Kind::Slowed));
        if assumed && passing && self.settled.contains(self.settled.mark(key, Some(beats))) {
            return None;
        }
        Some(Judged {
            class,
            kind,
            doubtful,
            asked: false,
            new: assumed && entry.state == State::Forgotten,
            since,
        })
    }
}

/// Collects the candidates of one segment.
struct Collector<'a> {
    judge: &'a Judge<'a>,
    wanted: &'a [Class],
    behind: &'a (dyn Fn(&HostKey) -> Position + Sync),
    segment: usize,
    /// Most candidates of a class.
    most: usize,
    found: Scanned,
    hosts: u64,
}

impl Collector<'_> {
    fn host(&mut self, heard: Option<Heard>, read: Timestamp) {
        let Some(mut heard) = heard.filter(|heard| !heard.key.host.is_reserved()) else {
            return;
        };
        let open = self.judge.open;
        if !open.is_mended_with_entry(&heard.key, &heard.heartbeat, read) {
            heard.heartbeat = heard.heartbeat.as_of(read);
        }
        self.hosts += 1;
        count(&mut self.found.hosts, &heard.key.fleet);
        self.found.sites.count(&heard.key);
        if let Some(key) = heard.heartbeat.key {
            *self.found.keys.entry(key).or_default() += 1;
        }
        self.found
            .network
            .add_beat(heard.heartbeat.last.as_of(read));
        let Some(judged) = self.judge.judge(&heard, read) else {
            return;
        };
        if judged.kind == Some(Kind::Missing) {
            self.found.network.add_missing(judged.since);
        }
        if self.judge.policy.may_hold(judged.kind, judged.doubtful) {
            count(&mut self.found.silent, &heard.key.fleet);
        }
        let batch = &mut self.found.batches[judged.class as usize];
        if !self.wanted.contains(&judged.class) || batch.next[0] != Position::End {
            return;
        }
        match batch.candidates.last() {
            Some(last) if batch.candidates.len() >= self.most => {
                batch.next[0] = (self.behind)(&last.key);
            }
            _ => batch.candidates.push(Candidate {
                key: heard.key,
                beats: Some((heard.heartbeat, heard.region)),
                kind: judged.kind,
                doubtful: judged.doubtful,
                asked: judged.asked,
                new: judged.new,
                segment: self.segment,
            }),
        }
    }

    /// Whether no candidate is wanted any more.
    fn is_full(&self) -> bool {
        let full = |class: &Class| self.found.batches[*class as usize].next[0] != Position::End;
        self.wanted.iter().all(full)
    }
}

fn count(counts: &mut BTreeMap<Fleet, u64>, fleet: &Fleet) {
    match counts.get_mut(fleet) {
        Some(count) => *count += 1,
        None => drop(counts.insert(fleet.clone(), 1)),
    }
}

impl Pass<'_> {
    /// Scans all hosts for candidates of the `wanted` classes.
    pub(super) async fn scan(
        &self,
        judge: &Judge<'_>,
        wanted: &[Class],
        report: &mut SweepReport,
    ) -> Result<Scanned, Stop> {
        let start = vec![Position::Start; self.segments()];
        let hosts = &mut report.hosts;
        let mut scanned = self.scan_from(judge, wanted, &start, true, hosts).await?;
        scanned.add_asked(&judge.open.asked, judge.policy);
        for item in &scanned.unreadable {
            report.skip("table heartbeats", item);
        }
        Ok(scanned)
    }

    /// Scans on from these positions for candidates of one class.
    pub(super) async fn scan_on(
        &self,
        judge: &Judge<'_>,
        class: Class,
        positions: &[Position],
    ) -> Result<Batch, Stop> {
        let mut scanned = self
            .scan_from(judge, &[class], positions, false, &mut 0)
            .await?;
        Ok(std::mem::take(scanned.batch(class)))
    }

    pub(super) fn segments(&self) -> usize {
        self.sweep.settings.segments.max(1) as usize
    }

    async fn scan_from(
        &self,
        judge: &Judge<'_>,
        wanted: &[Class],
        positions: &[Position],
        whole: bool,
        hosts: &mut u64,
    ) -> Result<Scanned, Stop> {
        let behind = |host: &HostKey| Position::After(self.sweep.ports.heartbeats.behind(host));
        let most = limits::CANDIDATES.div_ceil(positions.len());
        let segments = positions.iter().enumerate().map(|(segment, from)| {
            let mut found = Scanned::default();
            for batch in &mut found.batches {
                batch.next = vec![Position::End];
            }
            let collector = Collector {
                judge,
                wanted,
                behind: &behind,
                segment,
                most,
                found,
                hosts: 0,
            };
            self.segment(collector, from, whole).boxed()
        });
        let segments: Vec<_> = segments.collect();
        let scans: Vec<_> = stream::iter(segments)
            .buffered(positions.len())
            .collect()
            .await;
        // Counted for a scan that did not complete as well.
        *hosts = scans.iter().map(|(hosts, _)| hosts).sum();
        let found = scans.into_iter().map(|(_, found)| found);
        let found: Vec<Scanned> = found.collect::<Result<_, _>>()?;
        Ok(found.into_iter().reduce(Scanned::merge).unwrap_or_default())
    }

    /// Scans a segment, as a `whole` or until no candidate is wanted any more.
    async fn segment(
        &self,
        mut collector: Collector<'_>,
        from: &Position,
        whole: bool,
    ) -> (u64, Result<Scanned, Stop>) {
        let of = self.sweep.settings.segments.max(1);
        let index = u32::try_from(collector.segment).unwrap_or(u32::MAX);
        let segment = Segment { index, of };
        let mut after = match from {
            Position::Start => None,
            Position::After(cursor) => Some(cursor.clone()),
            Position::End => return (0, Ok(collector.found)),
        };
        // The regions of a host follow each other, perhaps across two pages.
        let mut host: Option<Heard> = None;
        loop {
            if let Err(stop) = self.in_time() {
                return (collector.hosts, Err(stop));
            }
            let page = match self.sweep.ports.heartbeats.scan(segment, after).await {
                Ok(page) => page,
                Err(error) => return (collector.hosts, Err(error.into())),
            };
            // Not the beginning of the sweep, which may be long ago: what was read is not ahead of now.
            let read = self.sweep.ports.clock.now();
            let judge = collector.judge;
            let unmended = if judge.policy.may_mend {
                let mended = self.mend_quiet(&page.items, judge.open, read);
                mended.await.err()
            } else {
                None
            };
            let found = &mut collector.found;
            found.unmended = found.unmended.take().or(unmended);
            found.unreadable.extend(page.unreadable);
            for heard in page.items {
                host = Some(match host.take() {
                    Some(before) if before.key == heard.key => before.merge(heard),
                    before => {
                        collector.host(before, read);
                        heard
                    }
                });
            }
            after = page.next;
            if after.is_none() {
                collector.host(host, read);
                return (collector.hosts, Ok(collector.found));
            }
            if !whole && collector.is_full() {
                return (collector.hosts, Ok(collector.found));
            }
        }
    }
}
