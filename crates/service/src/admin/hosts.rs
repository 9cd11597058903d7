//! Shows hosts, pauses, resumes and forgets them.

use std::collections::BTreeMap;

use hb_domain::{
    Blackout, Coverage, Entry, Heartbeat, HostKey, HostSettings, Interval, PauseError, Region,
    State, Timestamp, deadline,
};

use super::listing::ListedState;
use crate::canary::receivers;
use crate::ports::{PortError, PortResult, Ports, Stored, Swap};
use crate::swap::swap;

/// How often a change is tried anew when a sweep changed the entry meanwhile.
const TRIES: u32 = 10;

/// A host as admins see it.
#[derive(Clone, Debug)]
pub struct HostView {
    /// Which host.
    pub key: HostKey,
    /// How it stands.
    pub state: State,
    /// Its beats, all regions together; `None` when it has not beaten since it was forgotten or set up.
    pub heartbeat: Option<Heartbeat>,
    /// When its silence becomes too long.
    pub deadline: Option<Timestamp>,
    /// When nobody could hear it, since its last beat.
    pub blackouts: Vec<Blackout>,
    /// What admins set.
    pub settings: HostSettings,
    /// Its ledger entry. A listing has none.
    pub entry: Option<Entry>,
}

impl HostView {
    fn new(
        key: HostKey,
        heartbeat: Option<Heartbeat>,
        entry: Option<Entry>,
        coverage: &Coverage,
        now: Timestamp,
    ) -> Self {
        let listed = entry.as_ref().map(|entry| ListedState::of(entry, now));
        let view = Self::of(key, heartbeat, listed, coverage, now);
        Self { entry, ..view }
    }

    /// A host of a listing.
    pub(super) fn listed(
        key: HostKey,
        heartbeat: Heartbeat,
        listed: Option<ListedState>,
        coverage: &Coverage,
        now: Timestamp,
    ) -> Self {
        Self::of(key, Some(heartbeat), listed, coverage, now)
    }

    fn of(
        key: HostKey,
        heartbeat: Option<Heartbeat>,
        listed: Option<ListedState>,
        coverage: &Coverage,
        now: Timestamp,
    ) -> Self {
        let ListedState {
            state,
            basis,
            settings,
        } = listed.unwrap_or_default();
        // Whoever beats and was not decided on yet is on its way to be registered.
        let beats = heartbeat
            .as_ref()
            .is_some_and(|heartbeat| heartbeat.last > basis);
        let state = if state == State::Forgotten && beats {
            State::Up
        } else {
            state
        };
        let deadline = heartbeat
            .as_ref()
            .map(|heartbeat| deadline(heartbeat, &settings, coverage));
        let last = heartbeat.as_ref().map_or(now, |heartbeat| heartbeat.last);
        // That nothing is known of the time before the first canary is not worth a word.
        let known = |blackout: &&Blackout| blackout.since > Timestamp::MIN && blackout.until > last;
        let blackouts = coverage.blackouts.iter().filter(known).copied().collect();
        Self {
            key,
            state,
            heartbeat,
            deadline,
            blackouts,
            settings,
            entry: None,
        }
    }
}

/// Why a host was not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing is known of it.
    #[error("there is no host {0}")]
    NoSuchHost(HostKey),
    /// The pause would be over before it began.
    #[error(transparent)]
    Pause(#[from] PauseError),
    /// Others changed the entry all the time.
    #[error("{0} changed at every try, nothing was done; try again")]
    Busy(HostKey),
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Shows and changes hosts.
pub struct HostAdmin {
    /// The ports of the store.
    pub ports: Ports,
    /// Where this is.
    pub region: Region,
}

impl HostAdmin {
    /// One host with its ledger entry.
    pub async fn show(&self, key: &HostKey) -> Result<HostView, HostError> {
        let (heartbeat, stored) = self.read(key).await?;
        let now = self.ports.clock.now();
        let (coverage, entry) = (
            self.coverage(now).await?,
            stored.map(|stored| stored.record),
        );
        Ok(HostView::new(key.clone(), heartbeat, entry, &coverage, now))
    }

    /// What was heard, as far as it is known after the fact.
    pub(super) async fn coverage(&self, now: Timestamp) -> PortResult<Coverage> {
        let receivers = receivers(&*self.ports.receivers).await?;
        Ok(Coverage::of(
            &self.region,
            &receivers,
            &BTreeMap::new(),
            now,
        ))
    }

    /// No notices of the host until `until`, or until it is resumed.
    pub async fn pause(
        &self,
        key: &HostKey,
        until: Option<Timestamp>,
    ) -> Result<HostView, HostError> {
        self.change(key, |entry, now| Ok(entry.paused(now, until)?))
            .await
    }

    /// Ends a pause.
    pub async fn resume(&self, key: &HostKey) -> Result<HostView, HostError> {
        self.change(key, |entry, now| Ok(entry.resumed(now))).await
    }

    /// Uses `interval` instead of what the host sends; `None` lifts that.
    pub async fn set_interval(
        &self,
        key: &HostKey,
        interval: Option<Interval>,
    ) -> Result<HostView, HostError> {
        self.change(key, |entry, _| Ok(entry.with_interval(interval)))
            .await
    }

    /// Forgets the host. The ledger goes first: a crash between leaves beats that count no more, and so does a beat that
    /// comes now.
    pub async fn forget(&self, key: &HostKey) -> Result<(), HostError> {
        let view = self
            .change(key, |entry, now| Ok(entry.forgotten(now)))
            .await?;
        let up_to = view.entry.map_or(Timestamp::MIN, |entry| entry.basis);
        self.ports.heartbeats.forget(key, up_to).await?;
        let (heartbeat, stored) = self.beats_and_entry(key).await?;
        if heartbeat.is_none()
            && let Some(Stored {
                record: entry,
                version,
                ..
            }) = stored
            && entry.state == State::Forgotten
            && let Some(next) = entry.rechecked()
        {
            // A conflict means that it is not forgotten any more.
            swap(&*self.ports.ledger, &*self.ports.ids, &next, Some(version)).await?;
        }
        Ok(())
    }

    async fn beats_and_entry(
        &self,
        key: &HostKey,
    ) -> PortResult<(Option<Heartbeat>, Option<Stored>)> {
        let heard = self.ports.heartbeats.load(key).await?;
        let heartbeat = heard
            .into_iter()
            .map(|heard| heard.heartbeat)
            .reduce(Heartbeat::merge);
        Ok((heartbeat, self.ports.ledger.load(key).await?))
    }

    async fn read(&self, key: &HostKey) -> Result<(Option<Heartbeat>, Option<Stored>), HostError> {
        let (heartbeat, stored) = self.beats_and_entry(key).await?;
        let known = stored
            .as_ref()
            .is_some_and(|stored| stored.record.state != State::Forgotten);
        if heartbeat.is_none() && !known {
            return Err(HostError::NoSuchHost(key.clone()));
        }
        Ok((heartbeat, stored))
    }

    async fn change(
        &self,
        key: &HostKey,
        change: impl Fn(Entry, Timestamp) -> Result<Entry, HostError>,
    ) -> Result<HostView, HostError> {
        let now = self.ports.clock.now();
        for _ in 0..TRIES {
            let (heartbeat, stored) = self.read(key).await?;
            let expected = stored.as_ref().map(|stored| stored.version);
            let entry = stored.map_or_else(|| Entry::new(key.clone()), |stored| stored.record);
            let next = change(entry, now)?;
            if let Swap::Done(_) =
                swap(&*self.ports.ledger, &*self.ports.ids, &next, expected).await?
            {
                return Ok(HostView::new(
                    key.clone(),
                    heartbeat,
                    Some(next),
                    &self.coverage(now).await?,
                    now,
                ));
            }
        }
        Err(HostError::Busy(key.clone()))
    }
}
