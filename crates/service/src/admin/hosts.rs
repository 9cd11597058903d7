//! Shows hosts, pauses, resumes and forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Acknowledgement, ActKind, Entry, Heartbeat, HostKey, HostSettings, Interval, Maintenance, Note,
    PauseError, Region, State, Timestamp,
};
use serde_json::{Value, json};

use super::audit::Auditor;
use super::view::{Covered, HostView, ListedState};
use crate::canary::Receivers;
use crate::ports::{PortError, PortResult, Ports, every_open};
use crate::swap::{Update, swap, update};

/// Why a host was not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("there is no host {0}")]
    NoSuchHost(HostKey),
    #[error("{0} is neither missing nor failing")]
    NoTrouble(HostKey),
    /// The pause would end before it begins.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// Others changed the entry at every try.
    #[error("{0} was changed by others at every try, so nothing was done; try again")]
    Busy(HostKey),
    #[error(transparent)]
    Port(#[from] PortError),
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
        self.set(key, |entry| entry.with_interval(interval)).await
    }

    /// Changes the settings of a host.
    pub async fn set(
        &self,
        key: &HostKey,
        change: impl Fn(Entry) -> Entry,
    ) -> Result<HostView, HostError> {
        self.change(key, ActKind::HostSet, |entry, _| Ok(change(entry)))
            .await
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
        let now = self.ports.clock.now();
        let heartbeat = self.beats(key).await?;
        let mut old = Value::Null;
        let rule = |entry: Option<Entry>| {
            if !is_known(heartbeat.as_ref(), entry.as_ref()) {
                return Err(HostError::NoSuchHost(key.clone()));
            }
            let entry = entry.unwrap_or_else(|| Entry::new(key.clone()));
            old = facts(&entry.settings, now);
            change(entry, now)
        };
        match update(&self.ports, key, rule).await? {
            Update::Done(stored) => {
                let entry = stored.record;
                let new = (kind != ActKind::HostForget).then(|| facts(&entry.settings, now));
                let target = key.to_string();
                self.auditor.record(kind, &target, Some(old), new).await;
                Ok(self.view(key, heartbeat, Some(entry), now).await?)
            }
            Update::Declined(_, error) => Err(error),
            Update::Contended(_) => Err(HostError::Busy(key.clone())),
        }
    }
}

/// What the audit shows of a host.
fn facts(settings: &HostSettings, now: Timestamp) -> Value {
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
        facts["note"] = json!(note);
    }
    facts
}

fn is_known(heartbeat: Option<&Heartbeat>, entry: Option<&Entry>) -> bool {
    heartbeat.is_some() || entry.is_some_and(|entry| entry.state != State::Forgotten)
}
