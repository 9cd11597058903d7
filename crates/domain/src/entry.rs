//! The ledger entry: what is known of a host besides its beats.

use serde::{Deserialize, Serialize};

use crate::beat::{Interval, Message};
use crate::host::HostKey;
use crate::limits;
use crate::pending::Pending;
use crate::time::Timestamp;
use crate::transition::{Kind, State, Transition};

/// An admin's wish for no notices of a host. Silence counts from its end on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// When it began.
    pub since: Timestamp,
    /// When it ends; `None` means when an admin resumes the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A pause that would end before it begins.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the pause would end at {until}, which is not after {now}")]
pub struct PauseError {
    until: Timestamp,
    now: Timestamp,
}

impl PauseError {
    /// That of a pause which would end at `until`, told at `now`.
    #[must_use]
    pub fn new(until: Timestamp, now: Timestamp) -> Self {
        Self { until, now }
    }
}

/// What admins set for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostSettings {
    /// The current or last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Used instead of the interval that the host sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

impl HostSettings {
    /// Whether the host is paused at `now`.
    #[must_use]
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.pause
            .is_some_and(|pause| pause.until.is_none_or(|until| now < until))
    }
}

/// All that the service remembers of a host besides its beats; swapped as a whole, never in parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    #[serde(flatten)]
    pub key: HostKey,
    /// What people were last told, or are about to be told. Never [`State::Paused`].
    pub state: State,
    /// The number of the last transition; 0 before the first.
    pub epoch: u64,
    /// The last beat that a decision was made on: only a newer one can bring the host back.
    pub basis: Timestamp,
    /// The last failure that was accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Timestamp>,
    /// Whether a sweep must know it longer than its state says: the host was forgotten and beats from before may still
    /// be there, or its notice was pending so long that it may have failed meanwhile. Never while a notice is pending.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "lingers")]
    pub needs_recheck: bool,
    /// What admins set.
    #[serde(default)]
    pub settings: HostSettings,
    /// The notice that people have yet to get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The last few transitions, the newest last.
    #[serde(default)]
    pub history: Vec<Transition>,
}

impl Entry {
    /// The entry of a host nothing was decided on: it can only register, fail or go missing.
    #[must_use]
    pub fn new(key: HostKey) -> Self {
        Self {
            key,
            state: State::Forgotten,
            epoch: 0,
            basis: Timestamp::MIN,
            failure: None,
            needs_recheck: false,
            settings: HostSettings::default(),
            pending: None,
            history: Vec::new(),
        }
    }

    /// Whether a sweep must know this entry besides the host's beats.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let quiet = matches!(self.state, State::Up | State::Forgotten);
        !quiet
            || self.needs_recheck
            || self.pending.is_some()
            || self.settings != HostSettings::default()
    }

    /// How the host stands at `now`, a pause included.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        if self.settings.is_paused(now) {
            State::Paused
        } else {
            self.state
        }
    }

    /// No notices from `now` until `until`, or until the host is resumed. What is already pending still goes out.
    pub fn paused(mut self, now: Timestamp, until: Option<Timestamp>) -> Result<Self, PauseError> {
        if let Some(until) = until.filter(|until| *until <= now) {
            return Err(PauseError { until, now });
        }
        self.settings.pause = Some(Pause { since: now, until });
        Ok(self)
    }

    /// Ends a pause: silence counts from `now`. Changes nothing when the host is not paused.
    #[must_use]
    pub fn resumed(mut self, now: Timestamp) -> Self {
        if self.settings.is_paused(now) {
            self.settings.pause = self.settings.pause.map(|pause| Pause {
                until: Some(now),
                ..pause
            });
        }
        self
    }

    /// Uses `interval` instead of what the host sends; `None` lifts that.
    #[must_use]
    pub fn with_interval(mut self, interval: Option<Interval>) -> Self {
        self.settings.interval = interval;
        self
    }

    /// Forgets the host: settings and pending notice go, the epoch stays, so that no notice id comes twice.
    /// Beats up to `now` count no more.
    #[must_use]
    pub fn forgotten(self, now: Timestamp) -> Self {
        let basis = self.basis.max(now);
        let history = self.history;
        Self {
            epoch: self.epoch,
            basis,
            history,
            needs_recheck: true,
            ..Self::new(self.key)
        }
    }

    /// All is accounted for: the beats of the forgotten host are gone, or a sweep has looked at the others once more.
    /// `None` when it was so before.
    #[must_use]
    pub fn rechecked(self) -> Option<Self> {
        self.needs_recheck.then_some(Self {
            needs_recheck: false,
            ..self
        })
    }

    /// The service's own host, the receiver of a fleet, changes between failing (with what it `says`) and up; `None`
    /// when it is so already, or while a notice of it is pending.
    #[must_use]
    pub fn of_receiver(self, says: Option<Message>, now: Timestamp) -> Option<Self> {
        let kind = match (self.state, &says) {
            _ if self.pending.is_some() => return None,
            (State::Failing, None) => Kind::Recovered,
            (State::Failing, Some(_)) | (_, None) => return None,
            (_, Some(_)) => Kind::Failing,
        };
        let transition = Transition {
            epoch: self.epoch + 1,
            kind,
            since: now,
            last_beat: now,
            interval: Interval::default(),
            message: says,
            at: now,
            caveat: None,
            accepted: None,
        };
        Some(self.transit(transition))
    }

    /// Makes a transition of `kind` and its pending notice. The caller has seen that none is pending.
    pub(crate) fn transit(mut self, transition: Transition) -> Self {
        self.state = transition.kind.leads_to();
        self.needs_recheck = false;
        self.epoch = transition.epoch;
        self.basis = transition.last_beat;
        if self.settings.pause.is_some_and(|pause| {
            pause
                .until
                .is_some_and(|until| until < transition.last_beat)
        }) {
            self.settings.pause = None;
        }
        self.pending = Some(Pending::new(transition.at));
        self.history.push(transition);
        let surplus = self.history.len().saturating_sub(limits::HISTORY);
        self.history.drain(..surplus);
        self
    }
}

#[cfg(test)]
mod tests;
