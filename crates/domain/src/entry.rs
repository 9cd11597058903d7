//! The ledger entry: what is known of a host besides its beats.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acknowledgement::{Acknowledgement, Note};
use crate::beat::{Heartbeat, Interval};
use crate::details::Details;
use crate::flapping::Flapping;
use crate::host::{HostKey, Region};
use crate::incarnation::Incarnation;
use crate::inquiry::Inquiry;
use crate::limits;
use crate::message::Message;
use crate::pending::Pending;
use crate::schedule::{Schedule, Zone};
use crate::time::Timestamp;
use crate::timing::Grace;
use crate::transition::{Caveat, Kind, State, Transition};

/// A time without notices of a host, set by an admin. Silence counts from its end.
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
    /// The error of a pause which would end at `until`, requested at `now`.
    #[must_use]
    pub fn new(until: Timestamp, now: Timestamp) -> Self {
        Self { until, now }
    }
}

/// Settings of a host, made by admins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostSettings {
    /// The current or last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Used instead of the interval that the host sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Used instead of what the host sends, and of the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The zone of the schedule; UTC unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<Zone>,
    /// Used instead of the grace that the host sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Grace>,
    /// Until it recovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
    /// Since when an admin expects its first beat, until that has come. What is stored as its last beat is of then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Timestamp>,
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
    /// The host.
    #[serde(flatten)]
    pub key: HostKey,
    /// The state of the last notice, delivered or pending. Never [`State::Paused`].
    pub state: State,
    /// The number of the last transition; 0 before the first.
    pub epoch: u64,
    /// The last beat that a decision was based on: only a newer one can bring the host back.
    pub basis: Timestamp,
    /// The last failure that was accounted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Timestamp>,
    /// Whether the next sweep must read it even in a quiet state: the host was forgotten and beats from before may still
    /// be stored, or it may have failed meanwhile in another region, or while its notice was pending. While one is pending,
    /// this waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", alias = "lingers")]
    pub needs_recheck: bool,
    /// The regions that have done so, while others have yet to.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub rechecked_in: BTreeSet<Region>,
    /// Set by admins.
    #[serde(default)]
    pub settings: HostSettings,
    /// Written by admins, for people.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// Whether other regions were asked if they have heard the host, which seems missing. Only while no notice is pending, or
    /// one that may be withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inquiry: Option<Inquiry>,
    /// The notice of the last transition, until the topic has accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// The last few transitions, the newest last.
    #[serde(default)]
    pub history: Vec<Transition>,
}

impl Entry {
    /// The entry of a host without decisions: it can only register, fail or go missing.
    #[must_use]
    pub fn new(key: HostKey) -> Self {
        Self {
            key,
            state: State::Forgotten,
            epoch: 0,
            basis: Timestamp::MIN,
            failure: None,
            needs_recheck: false,
            rechecked_in: BTreeSet::new(),
            settings: HostSettings::default(),
            details: Details::default(),
            inquiry: None,
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
            || self.inquiry.is_some()
            || self.pending.is_some()
            || self.settings != HostSettings::default()
    }

    /// Whether it became missing at `at` or later, and not after its notice was held.
    #[must_use]
    pub fn went_missing_since(&self, at: Timestamp) -> bool {
        let held = |last: &Transition| last.caveat == Some(Caveat::ReceiverDown);
        let last = self.history.last();
        self.state == State::Missing && last.is_some_and(|last| last.at >= at && !held(last))
    }

    /// The state of the host at `now`, a pause included.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        if self.settings.is_paused(now) {
            State::Paused
        } else if self.state == State::Forgotten && self.settings.expected.is_some() {
            State::Expected
        } else {
            self.state
        }
    }

    /// Expects the first beat of a host that was never heard, or not since it was forgotten, from `now` on; `None` when it is
    /// known.
    #[must_use]
    pub fn expected(mut self, now: Timestamp) -> Option<Self> {
        self.settings.expected = Some(now);
        let unknown = self.state == State::Forgotten && self.pending.is_none();
        self.basis = self.basis.max(now);
        unknown.then_some(self)
    }

    /// Pauses notices from `now` until `until`, or until the host is resumed. A pending one is still delivered.
    pub fn paused(mut self, now: Timestamp, until: Option<Timestamp>) -> Result<Self, PauseError> {
        if let Some(until) = until.filter(|until| *until <= now) {
            return Err(PauseError { until, now });
        }
        self.settings.pause = Some(Pause { since: now, until });
        self.inquiry = None;
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
            self.inquiry = None;
        }
        self
    }

    /// No reminders until the host recovers; `None` when it is not in trouble.
    #[must_use]
    pub fn acknowledged(mut self, now: Timestamp, note: Option<Note>) -> Option<Self> {
        self.settings.acknowledged = Some(Acknowledgement { at: now, note });
        self.state.is_trouble().then_some(self)
    }

    /// Since when the host is in a trouble of which people are to be reminded, when it is in one at `now`: they got its notice,
    /// and no admin acknowledged or paused it.
    #[must_use]
    pub fn to_remind(&self, now: Timestamp) -> Option<&Transition> {
        let told = self.history.iter().rev().find(|last| !last.withdrawn)?;
        let reminds = self.state.is_trouble()
            && self.pending.is_none()
            && !self.settings.is_paused(now)
            && self.settings.acknowledged.is_none();
        reminds.then_some(told)
    }

    /// Uses `interval` instead of what the host sends, and no schedule; `None` lifts that.
    #[must_use]
    pub fn with_interval(mut self, interval: Option<Interval>) -> Self {
        self.settings.interval = interval;
        self.settings.schedule = None;
        self.settings.tz = None;
        self.inquiry = None;
        self
    }

    /// Uses a schedule instead of what the host sends.
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule, tz: Zone) -> Self {
        let mut entry = self.with_interval(None);
        entry.settings.schedule = Some(schedule);
        entry.settings.tz = Some(tz);
        entry
    }

    /// Uses `grace` instead of what the host sends; `None` lifts that.
    #[must_use]
    pub fn with_grace(mut self, grace: Option<Grace>) -> Self {
        self.settings.grace = grace;
        self.inquiry = None;
        self
    }

    /// Forgets the host: settings, history and pending notice go. The epoch stays for ever, so that no notice id comes
    /// twice: a name and two numbers. Beats up to `last` count no more. That is the last beat as it is stored, whatever
    /// the clock of the admin shows.
    #[must_use]
    pub fn forgotten(self, last: Timestamp) -> Self {
        Self {
            epoch: self.epoch,
            basis: self.basis.max(last),
            needs_recheck: true,
            ..Self::new(self.key)
        }
    }

    /// Whether a wrong clock wrote what it has of the host's beats, as seen at `now`.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.basis.is_ahead(now) || self.failure.is_some_and(|failure| failure.is_ahead(now))
    }

    /// The entry without the instants that a wrong clock wrote, as seen at `now`: the beats, which are not ahead of it,
    /// are newer.
    #[must_use]
    pub fn without_future(mut self, now: Timestamp) -> Self {
        if self.basis.is_ahead(now) {
            self.basis = Timestamp::MIN;
        }
        self.failure.take_if(|failure| failure.is_ahead(now));
        self.inquiry
            .take_if(|asked| asked.at.is_ahead(now) || asked.last_beat.is_ahead(now));
        self
    }

    /// The entry with what a wrong clock wrote of the host's beats brought to `now`; `None` when there is nothing.
    ///
    /// `heartbeat` is what is stored of the beats. It is brought to `now` afterwards, and the order of the two remains:
    /// what the entry accounts for stays accounted for, and what is newer stays newer. What the heartbeat has of a
    /// right clock is newer anyway, so that the next decision overwrites the entry.
    #[must_use]
    pub fn mended(&self, heartbeat: &Heartbeat, now: Timestamp) -> Option<Self> {
        let bring = |known: Timestamp, heard: Timestamp| {
            if !known.is_ahead(now) || !heard.is_ahead(now) {
                known
            } else if heard > known {
                now.minus(Duration::from_millis(1))
            } else {
                now
            }
        };
        let failed = heartbeat.failure.as_ref().map(|failure| failure.at);
        let mended = Self {
            basis: bring(self.basis, heartbeat.last),
            failure: self
                .failure
                .map(|known| failed.map_or(known, |heard| bring(known, heard))),
            ..self.clone()
        };
        (mended != *self).then_some(mended)
    }

    /// The entry with a pause that an admin's wrong clock began moved to `now`, as long as it was; `None` when there is
    /// none.
    #[must_use]
    pub fn with_mended_pause(&self, now: Timestamp) -> Option<Self> {
        let pause = self
            .settings
            .pause
            .filter(|pause| pause.since.is_ahead(now))?;
        let until = pause.until.map(|until| now.plus(until.since(pause.since)));
        let mut mended = self.clone();
        mended.settings.pause = Some(Pause { since: now, until });
        Some(mended)
    }

    /// Records the recheck of a forgotten host: its beats are gone. `None` when no recheck was due.
    #[must_use]
    pub fn rechecked(self) -> Option<Self> {
        self.needs_recheck.then_some(Self {
            needs_recheck: false,
            ..self
        })
    }

    /// Opens the entry of a forgotten host again: a beat from before, which was under way then, was stored afterwards.
    /// Without the entry, each scan would take it for a silent host's. `None` when the entry is open already.
    #[must_use]
    pub fn reopened(self) -> Option<Self> {
        (self.state == State::Forgotten && !self.needs_recheck).then_some(Self {
            needs_recheck: true,
            ..self
        })
    }

    /// Changes a host of the service's own, the receiver or the clock, to failing (with a message) or to up; `None` when
    /// it is so already, or while a notice of it is pending.
    #[must_use]
    pub fn of_receiver(self, trouble: Option<Message>, now: Timestamp) -> Option<Self> {
        let kind = match (self.state, &trouble) {
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
            grace: None,
            message: trouble,
            at: now,
            caveat: None,
            key: None,
            withdrawn: false,
            accepted: None,
        };
        Some(self.transit(transition))
    }

    /// With the incarnation of the stored data in its pending notice, when that was just decided.
    #[must_use]
    pub fn of_incarnation(mut self, incarnation: &Incarnation) -> Self {
        if let Some(pending) = &mut self.pending {
            pending.incarnation = Some(incarnation.id);
        }
        self
    }

    /// Makes a transition and its pending notice. The caller has seen that none is pending.
    pub(crate) fn transit(mut self, transition: Transition) -> Self {
        self.state = transition.kind.leads_to();
        self.needs_recheck = false;
        self.rechecked_in.clear();
        self.inquiry = None;
        self.epoch = transition.epoch;
        self.basis = transition.last_beat;
        let ended_before = |until| until < transition.last_beat;
        self.settings
            .pause
            .take_if(|pause| pause.until.is_some_and(ended_before));
        let (kind, at) = (transition.kind, transition.at);
        self.settings.expected.take_if(|_| kind != Kind::Missing);
        self.history.push(transition);
        self.forget_history(at);
        let flapping = Flapping::of(&self.history, at).filter(|_| kind == Kind::Recovered);
        let steady = flapping.map_or(Duration::ZERO, Flapping::steady_for);
        self.pending = Some(Pending::new(at.plus(steady)));
        self
    }

    /// Drops transitions that are too many at `now`: more of a host that flaps are kept, and the last one of which people were
    /// notified.
    fn forget_history(&mut self, now: Timestamp) {
        let recent = now.minus(limits::FLAPPING_WITHIN);
        let old = self.history.iter().take_while(|old| old.at <= recent);
        let (old, all) = (old.count(), self.history.len());
        let surplus = |most| all.saturating_sub(most);
        let dropped = surplus(limits::HISTORY)
            .min(old)
            .max(surplus(limits::HISTORY_FLAPPING));
        let notified = self
            .history
            .iter()
            .rev()
            .skip(1)
            .position(|last| !last.withdrawn);
        let notified = notified.map(|behind| all - 2 - behind);
        let mut place = 0..;
        self.history.retain(|_| {
            let place = place.next();
            place >= Some(dropped) || place == notified
        });
    }
}

#[cfg(test)]
mod tests;
