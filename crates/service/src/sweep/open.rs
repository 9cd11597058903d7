//! The open entries: what a sweep keeps of each, and the delivery of the notices that wait in them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use futures::stream::{self, Stream, StreamExt};
use hb_domain::{Entry, Fleet, Heartbeat, HostKey, HostSettings, KeyId, State, Timestamp, limits};

use super::deliver::Draft;
use super::hold::OpenFleets;
use super::reminders::{Troubles, note_trouble};
use super::{Pass, Stop, SweepReport};
use crate::ports::{Cursor, Page, PortResult, Segment, Stored};

/// What the scan does with the beats of a host.
enum Role {
    /// It decides by them.
    Judged,
    /// Nothing: other regions were asked about the host, so that it is a candidate.
    Asked,
    /// Nothing: it is among [`OpenHosts::asked`].
    Skipped,
    /// Nothing while its notice is pending, unless that can be withdrawn; but it is perhaps no longer so.
    Pending,
}

/// What decides whether the beats of a host change anything. The notice and the history would be most of the memory.
struct Slim {
    state: State,
    role: Role,
    needs_recheck: bool,
    basis: Timestamp,
    failure: Option<Timestamp>,
    settings: Option<Box<HostSettings>>,
}

/// The open entries of all hosts, by a hash of the host that is drawn anew for each sweep: when two of a million hosts
/// collide, which happens in one sweep of 10^7, one of them is looked at a sweep later.
#[derive(Default)]
pub(super) struct OpenHosts {
    hasher: RandomState,
    slim: HashMap<u64, Slim>,
    /// Hosts of which other regions were asked, [`limits::CANDIDATES`] at most. A beat of them may be stored elsewhere
    /// only, so that no scan here finds them.
    pub(super) asked: Vec<HostKey>,
    /// The keys of which people know that they are nearly full, with their fleets.
    pub(super) full_keys: BTreeMap<KeyId, Fleet>,
}

impl OpenHosts {
    fn add(&mut self, entry: &Entry, in_maintenance: bool) {
        if let Some(key) = entry
            .key
            .host
            .as_key()
            .filter(|_| entry.state == State::Failing)
        {
            self.full_keys.insert(key, entry.key.fleet.clone());
        }
        let settings =
            Some(&entry.settings).filter(|settings| **settings != HostSettings::default());
        let asked = entry.inquiry.is_some();
        let role = if asked && self.asked.len() < limits::CANDIDATES {
            self.asked.push(entry.key.clone());
            Role::Skipped
        } else if asked {
            Role::Asked
        } else if entry.pending.is_some() && !entry.can_withdraw(in_maintenance) {
            Role::Pending
        } else {
            Role::Judged
        };
        let slim = Slim {
            state: entry.state,
            role,
            needs_recheck: entry.needs_recheck,
            basis: entry.basis,
            failure: entry.failure,
            settings: settings.map(|settings| Box::new(settings.clone())),
        };
        self.slim.insert(self.hasher.hash_one(&entry.key), slim);
    }

    /// Whether the entry of `key` is open.
    pub(super) fn contains(&self, key: &HostKey) -> bool {
        self.slim.contains_key(&self.hasher.hash_one(key))
    }

    /// Whether `beats` of `key` are mended together with its entry: a wrong clock wrote some, and the order of their
    /// instants and those of the entry matters: of an open entry, and of the failures that were accounted for.
    pub(super) fn is_mended_with_entry(
        &self,
        key: &HostKey,
        beats: &Heartbeat,
        now: Timestamp,
    ) -> bool {
        let failure = beats.failure.as_ref();
        failure.is_some_and(|failure| failure.at.is_ahead(now))
            || beats.is_ahead(now) && self.contains(key)
    }

    /// What is known of the entry of `key`.
    pub(super) fn entry(&self, key: &HostKey) -> Known {
        let Some(slim) = self.slim.get(&self.hasher.hash_one(key)) else {
            return Known::Closed;
        };
        match slim.role {
            Role::Skipped => Known::Skipped,
            Role::Asked => Known::Asked,
            Role::Pending => Known::Pending(slim.failure),
            Role::Judged => Known::Open(Box::new(Entry {
                state: slim.state,
                needs_recheck: slim.needs_recheck,
                basis: slim.basis,
                failure: slim.failure,
                settings: slim.settings.as_deref().cloned().unwrap_or_default(),
                ..Entry::new(key.clone())
            })),
        }
    }
}

/// What a sweep knows of the open entries.
#[derive(Default)]
pub(super) struct OpenEntries {
    pub(super) hosts: OpenHosts,
    pub(super) fleets: OpenFleets,
    /// Of which people may have to be reminded.
    pub(super) troubles: Troubles,
    /// Whether a notice may have been accepted unnoticed, or a digest has one: only then does it matter that no echo is
    /// left.
    pub(super) doubt: bool,
    /// Those whose notice may have been accepted unnoticed.
    pub(super) doubtful: Vec<Stored>,
}

/// What is known of the entry of a host.
pub(super) enum Known {
    /// It is not open, or there is none.
    Closed,
    /// The scan leaves the host out.
    Skipped,
    /// Other regions were asked about it, so that it is a candidate.
    Asked,
    /// Its notice is pending, or was when the index was written; and the failure that is accounted for.
    Pending(Option<Timestamp>),
    /// As far as a decision depends on it.
    Open(Box<Entry>),
}

impl Pass<'_> {
    /// Reads the open entries and delivers the notices that wait in them, for as long as `sender` has time. Those of
    /// unknown outcome are set aside.
    pub(super) async fn open_entries(
        &self,
        sender: &Pass<'_>,
        report: &mut SweepReport,
    ) -> (PortResult<OpenEntries>, Result<(), Stop>) {
        let mut open = OpenEntries::default();
        let mut sent = Ok(());
        let mut waiting = Vec::new();
        let mut pages = self.open_pages();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => return (Err(error), sent),
            };
            for item in &page.unreadable {
                report.skip("table ledger", item);
            }
            let now = self.sweep.ports.clock.now();
            let items = match self.mend_pauses(page.items, now).await {
                Ok(items) => items,
                Err(error) => return (Err(error), sent),
            };
            for stored in items {
                let entry = &stored.record;
                report.counts.count(entry.state_at(self.now));
                let in_maintenance = self.is_in_maintenance(entry);
                open.hosts.add(entry, in_maintenance);
                open.fleets.add(entry, self.now);
                if !in_maintenance {
                    note_trouble(&mut open.troubles, entry, self.now);
                }
                open.doubt |= entry.is_in_doubt() || entry.digest().is_some();
                if entry.is_untouched() {
                    if let Some((group, at)) = self.group_of(entry, now) {
                        self.note(group, at).await;
                    }
                    continue;
                }
                match self.is_ready(entry, now) {
                    true if !entry.is_in_doubt() => waiting.push(stored),
                    true if open.doubtful.len() < limits::DIGEST_HOSTS => {
                        open.doubtful.push(stored);
                    }
                    true => sent = Err(Stop::OutOfTime),
                    false => {}
                }
            }
            if waiting.len() >= limits::DIGEST_HOSTS {
                sent = sent.and(
                    sender
                        .send_waiting(std::mem::take(&mut waiting), report)
                        .await,
                );
            }
        }
        let sent = sent.and(sender.send_waiting(waiting, report).await);
        (Ok(open), sent)
    }

    /// Delivers the notices that still wait in open entries, those of groups whose time has come among them.
    pub(super) async fn send_rest(
        &self,
        echoes: bool,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let mut waiting = Vec::new();
        let mut pages = self.open_pages();
        while let Some(page) = pages.next().await {
            let now = self.sweep.ports.clock.now();
            let items = page?.items.into_iter();
            waiting.extend(items.filter(|stored| {
                let entry = &stored.record;
                self.is_ready(entry, now) && (echoes || !entry.is_in_doubt())
            }));
            if waiting.len() >= limits::DIGEST_HOSTS {
                self.send_waiting(std::mem::take(&mut waiting), report)
                    .await?;
            }
        }
        self.send_waiting(waiting, report).await
    }

    pub(super) async fn send_waiting(
        &self,
        waiting: Vec<Stored>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        if waiting.is_empty() {
            return Ok(());
        }
        self.in_time()?;
        let (batched, alone): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|stored| stored.record.digest().is_some());
        let orphans = self.orphans(batched, report).await;
        let ready = alone.into_iter().chain(orphans.ready);
        let sent = self
            .deliver(ready.map(Draft::Stored).collect(), report)
            .await;
        orphans.result.and(sent)
    }

    /// Whether the notice of an entry can be sent now, or may have to be taken back from a digest.
    fn is_ready(&self, entry: &Entry, now: Timestamp) -> bool {
        let policy = &self.sweep.settings.delivery;
        let pending = entry.pending.as_ref();
        pending.is_some_and(|pending| pending.is_ready(now, policy))
    }

    /// All pages of open entries, from several segments at a time.
    pub(super) fn open_pages(&self) -> impl Stream<Item = PortResult<Page<Stored>>> + Unpin {
        let of = self.sweep.settings.segments.max(1);
        let segments = (0..of).map(|index| Box::pin(self.open_segment(Segment { index, of })));
        stream::select_all(segments)
    }

    fn open_segment(&self, segment: Segment) -> impl Stream<Item = PortResult<Page<Stored>>> {
        let ledger = &self.sweep.ports.ledger;
        stream::unfold(Some(None), move |turn: Option<Option<Cursor>>| async move {
            let page = ledger.open(segment, turn?).await;
            let next = page.as_ref().ok().and_then(|page| page.next.clone());
            Some((page, next.map(Some)))
        })
    }
}
