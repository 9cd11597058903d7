//! Shows hosts, pauses, resumes and forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Acknowledgement, ActKind, Beat, Entry, Grace, Heartbeat, HostKey, Interval, Maintenance, Note,
    PauseError, Region, Schedule, State, Timestamp, Timing, Zone, limits,
};
use serde_json::{Value, json};

use super::audit::Auditor;
use super::view::{Covered, HostView, ListedState};
use crate::canary::Receivers;
use crate::ports::{Heard, PortError, PortResult, Ports, every_open};
use crate::swap::{Update, swap, update};

/// Why a host was not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("there is no host {0}")]
    NoSuchHost(HostKey),
    #[error("{0} is neither missing nor failing")]
    NoTrouble(HostKey),
    #[error("{0} would have more than {most} tags", most = limits::TAGS)]
    TooManyTags(HostKey),
    /// The pause would end before it begins.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// Others changed the entry at every try.
    #[error("{0} was changed by others at every try, so nothing was done; try again")]
    Busy(HostKey),
    #[error(transparent)]
    Port(#[from] PortError),
}

/// When the first beat of a host is expected.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// Within this; 10 min unless given.
    pub interval: Option<Interval>,
    /// At its next time, in place of the interval.
    pub schedule: Option<(Schedule, Zone)>,
    /// How much later it may come.
    pub grace: Option<Grace>,
    /// For people.
    pub note: Option<Note>,
}

impl Expectation {
    /// What is stored as the last beat of a host that is expected since `at`.
    fn beat(&self, at: Timestamp) -> Beat {
        let timing = match &self.schedule {
            Some((schedule, zone)) => Timing::by(schedule, zone, self.grace, at),
            None => Timing::every(self.interval.unwrap_or_default(), self.grace),
        };
        Beat {
            interval: timing.interval,
            grace: timing.grace,
            scheduled: self.schedule.is_some(),
            ..Beat::ok(at)
        }
    }
}

/// Shows and changes hosts.
pub struct HostAdmin {
    pub ports: Ports,
    /// The region for which deadlines are computed.
    pub region: Region,
    pub auditor: Arc<Auditor>,
}

impl HostAdmin {
    /// One host with its ledger entry.
    pub async fn show(&self, key: &HostKey) -> Result<HostView, HostError> {
        let heartbeat = self.beats(key).await?;
        let stored = self.ports.ledger.load(key).await?;
        let entry = stored.map(|stored| stored.record);
        if !is_known(heartbeat.as_ref(), entry.as_ref()) {
            return Err(HostError::NoSuchHost(key.clone()));
        }
        let now = self.ports.clock.now();
        Ok(self.view(key, heartbeat, entry, now).await?)
    }

    /// When silence counts, as far as it is known after the fact.
    pub(super) async fn coverage(&self, now: Timestamp) -> PortResult<Covered> {
        let receivers = Receivers::load(&self.ports).await?;
        let (records, _) = every_open(&*self.ports.fleets).await?;
        let records = records.iter().map(|stored| &stored.record);
        Ok(Covered {
            coverage: receivers.coverage(&self.region, &BTreeMap::new(), now),
            maintenance: Maintenance::of(records, now),
            unreadable: receivers.unreadable,
        })
    }

    async fn view(
        &self,
        key: &HostKey,
        heartbeat: Option<Heartbeat>,
        entry: Option<Entry>,
        now: Timestamp,
    ) -> PortResult<HostView> {
        let covered = self.coverage(now).await?;
        let listed = entry.as_ref().map(|entry| ListedState::of(entry, now));
        let view = HostView::new(key.clone(), heartbeat, listed, &covered, now);
        Ok(HostView {
            entry,
            unreadable_receivers: covered.unreadable,
            ..view
        })
    }

    /// No notices of the host until `until`, or until it is resumed.
    pub async fn pause(
        &self,
        key: &HostKey,
        until: Option<Timestamp>,
    ) -> Result<HostView, HostError> {
        self.change(key, ActKind::HostPause, |entry, now| {
            Ok(entry.paused(now, until)?)
        })
        .await
    }

    /// Ends a pause.
    pub async fn resume(&self, key: &HostKey) -> Result<HostView, HostError> {
        self.change(
            key,
            ActKind::HostResume,
            |entry, now| Ok(entry.resumed(now)),
        )
        .await
    }

    /// Uses `interval` instead of what the host sends; `None` uses what it sends again.
    pub async fn set_interval(
        &self,
        key: &HostKey,
        interval: Option<Interval>,
    ) -> Result<HostView, HostError> {
        self.set(key, |entry| Ok(entry.with_interval(interval)))
            .await
    }

    /// Changes the settings or the details of a host.
    pub async fn set(
        &self,
        key: &HostKey,
        change: impl Fn(Entry) -> Result<Entry, HostError>,
    ) -> Result<HostView, HostError> {
        self.change(key, ActKind::HostSet, |entry, _| change(entry))
            .await
    }

    /// Expects the first beat of a host: it is missing when it is not heard in time. Of a host that is known, or expected
    /// already, only the note changes, and how long the latter may take.
    ///
    /// The ledger goes first: to a sweep that finds the heartbeat alone, it would be a host that has beaten.
    pub async fn expect(
        &self,
        key: &HostKey,
        expectation: &Expectation,
    ) -> Result<HostView, HostError> {
        let mut heartbeat = self.beats(key).await?;
        let expect = |entry: Option<Entry>, now| {
            let entry = entry.unwrap_or_else(|| Entry::new(key.clone()));
            let heard = heartbeat
                .as_ref()
                .is_some_and(|beats| beats.last > entry.basis);
            let next = (!heard).then(|| entry.clone().expected(now)).flatten();
            let mut next = next
                .filter(|_| entry.settings.expected.is_none())
                .unwrap_or(entry);
            if let Some(note) = &expectation.note {
                next.details.note = Some(note.clone());
            }
            Ok(next)
        };
        let (entry, now) = self.changed(key, ActKind::HostExpect, expect).await?;
        if let Some(since) = entry.settings.expected {
            let heard = Heard {
                key: key.clone(),
                region: self.region.clone(),
                heartbeat: Heartbeat::new(expectation.beat(since)),
            };
            self.ports.heartbeats.record(&heard).await?;
            heartbeat = self.beats(key).await?;
        }
        Ok(self.view(key, heartbeat, Some(entry), now).await?)
    }

    /// Sends no reminders of the host until it recovers.
    pub async fn acknowledge(
        &self,
        key: &HostKey,
        note: Option<Note>,
    ) -> Result<HostView, HostError> {
        self.change(key, ActKind::HostAck, |entry, now| {
            let acknowledged = entry.acknowledged(now, note.clone());
            acknowledged.ok_or_else(|| HostError::NoTrouble(key.clone()))
        })
        .await
    }

    /// Forgets the host. The ledger goes first: a crash in between leaves beats that no longer count. What counts is the
    /// last beat that is stored, not this machine's clock, which may be wrong: a beat that arrives after it is read
    /// registers the host again. With several regions the entry stays open: beats of another one may have yet to arrive
    /// here.
    pub async fn forget(&self, key: &HostKey) -> Result<(), HostError> {
        let last = self.beats(key).await?.map(|heartbeat| heartbeat.last);
        let forgotten = |entry: Entry, _| Ok(entry.forgotten(last.unwrap_or_default()));
        let view = self.change(key, ActKind::HostForget, forgotten).await?;
        let up_to = view.entry.map_or(Timestamp::MIN, |entry| entry.basis);
        self.ports.heartbeats.forget(key, up_to).await?;
        let heartbeat = self.beats(key).await?;
        let stored = self.ports.ledger.load(key).await?;
        let receivers = Receivers::load(&self.ports).await?;
        if heartbeat.is_none()
            && receivers.are_all_of(&self.region)
            && let Some(stored) = stored
            && stored.record.state == State::Forgotten
            && let Some(next) = stored.record.rechecked()
        {
            // After a lost race it is no longer forgotten.
            let _ = swap(&self.ports, next, Some(stored.version)).await?;
        }
        Ok(())
    }

    async fn beats(&self, key: &HostKey) -> PortResult<Option<Heartbeat>> {
        let heard = self.ports.heartbeats.load(key).await?;
        Ok(heard
            .into_iter()
            .map(|heard| heard.heartbeat)
            .reduce(Heartbeat::merge))
    }

    async fn change(
        &self,
        key: &HostKey,
        kind: ActKind,
        change: impl Fn(Entry, Timestamp) -> Result<Entry, HostError>,
    ) -> Result<HostView, HostError> {
        let heartbeat = self.beats(key).await?;
        let known = |entry: Option<Entry>, now| {
            if !is_known(heartbeat.as_ref(), entry.as_ref()) {
                return Err(HostError::NoSuchHost(key.clone()));
            }
            change(entry.unwrap_or_else(|| Entry::new(key.clone())), now)
        };
        let (entry, now) = self.changed(key, kind, known).await?;
        Ok(self.view(key, heartbeat, Some(entry), now).await?)
    }

    /// The entry of a host, changed now, and recorded.
    async fn changed(
        &self,
        key: &HostKey,
        kind: ActKind,
        change: impl Fn(Option<Entry>, Timestamp) -> Result<Entry, HostError>,
    ) -> Result<(Entry, Timestamp), HostError> {
        let now = self.ports.clock.now();
        let mut old = Value::Null;
        let rule = |entry: Option<Entry>| {
            old = match &entry {
                Some(entry) => facts(entry, now),
                None => facts(&Entry::new(key.clone()), now),
            };
            change(entry, now)
        };
        match update(&self.ports, key, rule).await? {
            Update::Done(stored) => {
                let entry = stored.record;
                let new = (kind != ActKind::HostForget).then(|| facts(&entry, now));
                let target = key.to_string();
                self.auditor.record(kind, &target, Some(old), new).await;
                Ok((entry, now))
            }
            Update::Declined(_, error) => Err(error),
            Update::Contended(_) => Err(HostError::Busy(key.clone())),
        }
    }
}

/// What the audit shows of a host.
fn facts(entry: &Entry, now: Timestamp) -> Value {
    let Entry {
        settings, details, ..
    } = entry;
    let pause = settings.pause.filter(|_| settings.is_paused(now));
    let mut facts = json!({
        "paused": pause.is_some(),
        "pausedUntil": pause.and_then(|pause| pause.until).map(|until| until.to_string()),
        "intervalMs": settings.interval.map(u64::from),
    });
    if let Some(schedule) = &settings.schedule {
        facts["schedule"] = json!(schedule);
        facts["tz"] = json!(settings.tz());
    }
    if let Some(grace) = settings.grace {
        facts["graceMs"] = json!(grace);
    }
    if let Some(Acknowledgement { note, .. }) = &settings.acknowledged {
        facts["acknowledged"] = json!(true);
        facts["acknowledgement"] = json!(note);
    }
    if let Some(since) = settings.expected {
        facts["expectedSince"] = json!(since.to_string());
    }
    if let Some(note) = &details.note {
        facts["note"] = json!(note);
    }
    if !details.tags.is_empty() {
        facts["tags"] = json!(details.tags);
    }
    facts
}

fn is_known(heartbeat: Option<&Heartbeat>, entry: Option<&Entry>) -> bool {
    let is_kept =
        |entry: &Entry| entry.state != State::Forgotten || entry.settings.expected.is_some();
    heartbeat.is_some() || entry.is_some_and(is_kept)
}
