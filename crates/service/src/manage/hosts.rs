//! Shows hosts, pauses, resumes and forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Blackout, Entry, Hearing, Heartbeat, HostKey, Interval, PauseError, Receiver, Region, State, Timestamp,
    deadline,
};

use super::every_page;
use crate::canary::receivers;
use crate::ports::{
    Clock, Heartbeats, Ids, Ledger, PortError, PortResult, Segment, Stored, Swap, Unreadable,
};
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
    /// Its ledger entry. A listing has it for open entries only.
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
        // Whoever beats and was not decided on yet is on its way to be registered.
        let basis = entry.as_ref().map_or(Timestamp::MIN, |entry| entry.basis);
        let beats = heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.last > basis);
        let state = match entry.as_ref().map_or(State::Forgotten, |entry| entry.state_at(now)) {
            State::Forgotten if beats => State::Up,
            state => state,
        };
        let settings = entry.as_ref().map(|entry| entry.settings.clone()).unwrap_or_default();
        let deadline = heartbeat.as_ref().map(|heartbeat| deadline(heartbeat, &settings, hearing));
        let last = heartbeat.as_ref().map_or(now, |heartbeat| heartbeat.last);
        // That nothing is known of the time before the first canary is not worth a word.
        let known = |blackout: &&Blackout| blackout.since > Timestamp::MIN && blackout.until > last;
        let blackouts = hearing.blackouts.iter().filter(known).copied().collect();
        Self { key, state, heartbeat, deadline, blackouts, entry }
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
}

impl Hosts {
    /// All hosts in the order of their names, and what could not be read.
    pub async fn list(&self) -> PortResult<(Vec<HostView>, Vec<Unreadable>)> {
        let now = self.clock.now();
        let hearing = self.hearing(now).await?;
        let (open, mut unreadable) = every_page(|after| self.ledger.open(after)).await?;
        let mut open: BTreeMap<_, _> =
            open.into_iter().map(|Stored { entry, .. }| (entry.key.clone(), entry)).collect();
        let (heard, more) = every_page(|after| self.heartbeats.scan(Segment::WHOLE, after)).await?;
        unreadable.extend(more);
        let mut beats: BTreeMap<HostKey, Heartbeat> = BTreeMap::new();
        for heard in heard.into_iter().filter(|heard| !heard.key.host.is_reserved()) {
            let merged = match beats.remove(&heard.key) {
                Some(kept) => kept.merge(heard.heartbeat),
                None => heard.heartbeat,
            };
            beats.insert(heard.key, merged);
        }
        let views = beats.into_iter().map(|(key, heartbeat)| {
            let entry = open.remove(&key);
            HostView::new(key, Some(heartbeat), entry, &hearing, now)
        });
        Ok((views.collect(), unreadable))
    }

    /// One host with its ledger entry.
    pub async fn show(&self, key: &HostKey) -> Result<HostView, HostError> {
        let (heartbeat, stored) = self.read(key).await?;
        let now = self.clock.now();
        let (hearing, entry) = (self.hearing(now).await?, stored.map(|stored| stored.entry));
        Ok(HostView::new(key.clone(), heartbeat, entry, &hearing, now))
    }

    /// What was heard, as far as it is known after the fact.
    async fn hearing(&self, now: Timestamp) -> PortResult<Hearing> {
        let receivers = receivers(&*self.receivers).await?;
        Ok(Hearing::of(&Region::local(), &receivers, &BTreeMap::new(), now))
    }

    /// No notices of the host until `until`, or until it is resumed.
    pub async fn pause(&self, key: &HostKey, until: Option<Timestamp>) -> Result<HostView, HostError> {
        self.change(key, |entry, now| Ok(entry.paused(now, until)?)).await
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
        self.change(key, |entry, _| Ok(entry.with_interval(interval))).await
    }

    /// Forgets the host. The ledger goes first: a crash between leaves beats that count no more, and so does a beat that
    /// comes now.
    pub async fn forget(&self, key: &HostKey) -> Result<(), HostError> {
        let view = self.change(key, |entry, now| Ok(entry.forgotten(now))).await?;
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

    async fn beats_and_entry(&self, key: &HostKey) -> PortResult<(Option<Heartbeat>, Option<Stored>)> {
        let heard = self.heartbeats.load(key).await?;
        let heartbeat = heard.into_iter().map(|heard| heard.heartbeat).reduce(Heartbeat::merge);
        Ok((heartbeat, self.ledger.load(key).await?))
    }

    async fn read(&self, key: &HostKey) -> Result<(Option<Heartbeat>, Option<Stored>), HostError> {
        let (heartbeat, stored) = self.beats_and_entry(key).await?;
        let known = stored.as_ref().is_some_and(|stored| stored.entry.state != State::Forgotten);
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
                return Ok(HostView::new(key.clone(), heartbeat, Some(next), &self.hearing(now).await?, now));
            }
        }
        Err(HostError::Busy(key.clone()))
    }
}
