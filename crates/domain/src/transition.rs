//! States of a host, and the changes between them that people are notified of.
//!
//! When a transition follows from beats is decided in [`decide`](crate::decide()).

use serde::{Deserialize, Serialize};

use crate::beat::Interval;
use crate::coverage::Blackout;
use crate::host::Region;
use crate::key::KeyId;
use crate::message::Message;
use crate::pending::Acceptance;
use crate::time::Timestamp;
use crate::timing::Grace;
use crate::words::words;

words! {
    /// The state of a host.
    pub enum State: "state" {
        /// Beating in time, as far as people were notified.
        Up = "up",
        /// Silent past its deadline.
        Missing = "missing",
        /// Beating, and its last signal was a failure.
        Failing = "failing",
        /// An admin wants no notices of it. Shown, never stored: a pause lies over the state beneath.
        Paused = "paused",
        /// An admin expects its first beat. Shown, never stored: the state beneath is that of an unknown host.
        Expected = "expected",
        /// An admin removed it; the next beat registers it again, under the next epoch.
        Forgotten = "forgotten",
    }
}

words! {
    /// The kind of a transition, and so of a notice.
    pub enum Kind: "kind" {
        /// The first beat of a host arrived.
        Registered = "registered",
        /// The host is silent past its deadline.
        Missing = "missing",
        /// The host reported a failure.
        Failing = "failing",
        /// The host beats again, or reports again that all is well.
        Recovered = "recovered",
        /// The host asks to be silent for [`limits::INTERVAL_RAISE`](crate::limits::INTERVAL_RAISE) times as long as people know, or longer.
        Slowed = "slowed",
    }
}

words! {
    /// How urgent a notice is.
    pub enum Severity: "severity" {
        /// Something is wrong.
        Critical = "critical",
        /// Something may be wrong: a beat may have been lost while the service was down, or a silence will be noticed late.
        Warning = "warning",
        /// Nothing needs to be done.
        Info = "info",
    }
}

impl State {
    /// Whether something is wrong with a host in it.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Missing | Self::Failing)
    }
}

impl Kind {
    /// What follows from the kind alone: the state it leads to, and the severity of its notices without a caveat.
    const fn facts(self) -> (State, Severity) {
        match self {
            Self::Registered | Self::Recovered => (State::Up, Severity::Info),
            Self::Missing => (State::Missing, Severity::Critical),
            Self::Failing => (State::Failing, Severity::Critical),
            Self::Slowed => (State::Up, Severity::Warning),
        }
    }

    /// The state that a transition of this kind leads to.
    #[must_use]
    pub const fn leads_to(self) -> State {
        self.facts().0
    }

    /// The severities that its notices may have. Only a silence may be marked with a blackout.
    pub fn severities(self) -> impl Iterator<Item = Severity> {
        let marked = (self == Self::Missing).then_some(Severity::Warning);
        [self.facts().1].into_iter().chain(marked)
    }
}

impl Severity {
    /// The severity of a notice of this kind, with this caveat.
    #[must_use]
    pub const fn of(kind: Kind, caveat: Option<&Caveat>) -> Self {
        match caveat {
            Some(Caveat::Blackout(_)) => Self::Warning,
            _ => kind.facts().1,
        }
    }
}

impl Transition {
    /// The severity of its notice.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        Severity::of(self.kind, self.caveat.as_ref())
    }
}

/// One change of a host's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transition {
    /// Its number, counted per host from 1.
    pub epoch: u64,
    /// What happened.
    pub kind: Kind,
    /// Since when: for `missing` the deadline that passed, not the moment the sweep noticed.
    pub since: Timestamp,
    /// The last beat it was decided on.
    pub last_beat: Timestamp,
    /// The interval that was in force.
    pub interval: Interval,
    /// The message of a failing host; of one that slowed, the interval before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// When it was decided.
    pub at: Timestamp,
    /// Why it may be wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caveat: Option<Caveat>,
    /// Which part of the interval is a grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Grace>,
    /// The key of the last beat, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Whether it was undone before anybody was notified, or undid one that was: people never get it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// When and how the topic accepted its notice; `None` before that.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "told")]
    pub accepted: Option<Acceptance>,
}

/// Why a transition may be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Caveat {
    /// Nothing arrives from this region, which may have received beats of the host.
    #[serde(alias = "unheard")]
    RegionUnreachable(Region),
    /// Many hosts fell silent at once, and no canary shows that the receiver works.
    #[serde(alias = "deaf")]
    ReceiverDown,
    /// No beat could be received for this part of the silence, and the host beats so seldom that one may have been lost.
    Blackout(Blackout),
}
