//! Shows hosts, pauses, resumes and forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Blackout, Entry, Hearing, Heartbeat, HostKey, Interval, PauseError, Receiver, Region, Settings,
    State, Timestamp, deadline,
};

use super::listing::Standing;
use crate::canary::receivers;
use crate::ports::{Clock, Heartbeats, Ids, Ledger, PortError, PortResult, Stored, Swap};
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
    pub settings: Settings,
    /// Its ledger entry. A listing has none.
    pub entry: Option<Entry>,
}

impl HostView {
    fn new(
        key: HostKey,
        heartbeat: Option<Heartbeat>,
        entry: Option<Entry>,
        hearing: &Hearing,
        now: Timestamp,
    ) -> Self {
        let standing = entry.as_ref().map(|entry| Standing::of(entry, now));
        let view = Self::of(key, heartbeat, standing, hearing, now);
        Self { entry, ..view }
    }

    /// A host of a listing.
    pub(super) fn listed(
        key: HostKey,
        heartbeat: Heartbeat,
        standing: Option<Standing>,
        hearing: &Hearing,
        now: Timestamp,
    ) -> Self {
        Self::of(key, Some(heartbeat), standing, hearing, now)
    }

    fn of(
        key: HostKey,
        heartbeat: Option<Heartbeat>,
        standing: Option<Standing>,
        hearing: &Hearing,
        now: Timestamp,
    ) -> Self {
        let Standing {
            state,
            basis,
            settings,
        } = standing.unwrap_or_default();
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
            .map(|heartbeat| deadline(heartbeat, &settings, hearing));
        let last = heartbeat.as_ref().map_or(now, |heartbeat| heartbeat.last);
        // That nothing is known of the time before the first canary is not worth a word.
        let known = |blackout: &&Blackout| blackout.since > Timestamp::MIN && blackout.until > last;
        let blackouts = hearing.blackouts.iter().filter(known).copied().collect();
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
pub struct Hosts {
    /// The beats.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What is known of the receivers of all regions.
    pub receivers: Arc<dyn Ledger<Receiver>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for writer tokens.
    pub ids: Arc<dyn Ids>,
    /// Where this is.
    pub region: Region,
}

impl Hosts {
    /// One host with its ledger entry.
    pub async fn show(&self, key: &HostKey) -> Result<HostView, HostError> {
        let (heartbeat, stored) = self.read(key).await?;
        let now = self.clock.now();
        let (hearing, entry) = (self.hearing(now).await?, stored.map(|stored| stored.entry));
        Ok(HostView::new(key.clone(), heartbeat, entry, &hearing, now))
    }

    /// What was heard, as far as it is known after the fact.
    pub(super) async fn hearing(&self, now: Timestamp) -> PortResult<Hearing> {
        let receivers = receivers(&*self.receivers).await?;
        Ok(Hearing::of(&self.region, &receivers, &BTreeMap::new(), now))
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
        self.heartbeats.forget(key, up_to).await?;
        let (heartbeat, stored) = self.beats_and_entry(key).await?;
        if heartbeat.is_none()
            && let Some(Stored { entry, version, .. }) = stored
            && entry.state == State::Forgotten
            && let Some(next) = entry.at_rest()
        {
            // A conflict means that it is not forgotten any more.
            swap(&*self.ledger, &*self.ids, &next, Some(version)).await?;
        }
        Ok(())
    }

    async fn beats_and_entry(
        &self,
        key: &HostKey,
    ) -> PortResult<(Option<Heartbeat>, Option<Stored>)> {
        let heard = self.heartbeats.load(key).await?;
        let heartbeat = heard
            .into_iter()
            .map(|heard| heard.heartbeat)
            .reduce(Heartbeat::merge);
        Ok((heartbeat, self.ledger.load(key).await?))
    }

    async fn read(&self, key: &HostKey) -> Result<(Option<Heartbeat>, Option<Stored>), HostError> {
        let (heartbeat, stored) = self.beats_and_entry(key).await?;
        let known = stored
            .as_ref()
            .is_some_and(|stored| stored.entry.state != State::Forgotten);
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
        let now = self.clock.now();
        for _ in 0..TRIES {
            let (heartbeat, stored) = self.read(key).await?;
            let expected = stored.as_ref().map(|stored| stored.version);
            let entry = stored.map_or_else(|| Entry::new(key.clone()), |stored| stored.entry);
            let next = change(entry, now)?;
            if let Swap::Done(_) = swap(&*self.ledger, &*self.ids, &next, expected).await? {
                return Ok(HostView::new(
                    key.clone(),
                    heartbeat,
                    Some(next),
                    &self.hearing(now).await?,
                    now,
                ));
            }
        }
        Err(HostError::Busy(key.clone()))
    }
}
