//! A host as admins see it, computed from its heartbeat, its entry and the coverage.

use hb_domain::{
    Blackout, Coverage, Details, Entry, Heartbeat, HostKey, HostSettings, Maintenance, State,
    Timestamp, Timing, Window, deadline,
};

use crate::ports::Unreadable;

/// A host as admins see it.
#[derive(Clone, Debug)]
pub struct HostView {
    pub key: HostKey,
    pub state: State,
    /// Its beats, all regions together; `None` when it has not beaten since it was forgotten, or expected.
    pub heartbeat: Option<Heartbeat>,
    /// When its silence becomes too long.
    pub deadline: Option<Timestamp>,
    /// How long its silence may be.
    pub timing: Option<Timing>,
    /// When its next beat is expected, if it has a grace, and no run of it takes too long before that.
    pub expected: Option<Timestamp>,
    /// Whether that was before now, and its grace is not over.
    pub late: bool,
    /// When no beat could be received, since its last one.
    pub blackouts: Vec<Blackout>,
    pub settings: HostSettings,
    /// A listing has none of hosts that are well.
    pub details: Details,
    /// The maintenance window in which it is, and when that is open.
    pub window: Option<(Window, Blackout)>,
    /// Its ledger entry. A listing has none.
    pub entry: Option<Entry>,
    /// Receivers whose record cannot be read: the deadline and the blackouts leave them out. A listing has these once
    /// ([`super::Listing::unreadable_receivers`]).
    pub unreadable_receivers: Vec<Unreadable>,
}

/// When silence counts.
pub(super) struct Covered {
    pub(super) coverage: Coverage,
    pub(super) maintenance: Maintenance,
    /// Receivers whose record cannot be read.
    pub(super) unreadable: Vec<Unreadable>,
}

impl HostView {
    pub(super) fn new(
        key: HostKey,
        heartbeat: Option<Heartbeat>,
        listed: Option<ListedState>,
        covered: &Covered,
        now: Timestamp,
    ) -> Self {
        let (coverage, maintenance) = (&covered.coverage, &covered.maintenance);
        let heartbeat = heartbeat.map(|heartbeat| heartbeat.as_of(now));
        let ListedState {
            state,
            basis,
            settings,
            details,
        } = listed.unwrap_or_default();
        // A host that beats and was not decided on yet is about to be registered.
        let beats = heartbeat
            .as_ref()
            .is_some_and(|heartbeat| heartbeat.last > basis);
        let unknown = matches!(state, State::Forgotten | State::Expected);
        let state = if unknown && beats { State::Up } else { state };
        let due = heartbeat.as_ref().map(|heartbeat| {
            let last = heartbeat.last;
            deadline(last, &key, heartbeat, &settings, coverage, maintenance)
        });
        let deadline = due.map(|due| due.at);
        let timing = due.map(|due| due.timing);
        let by_run = due.is_some_and(|due| due.run.is_some());
        let window = maintenance.open(&key);
        let window = window.map(|(window, open)| (window.clone(), open));
        let last = heartbeat.as_ref().map_or(now, |heartbeat| heartbeat.last);
        // The time before the first canary is of no interest here.
        let known = |blackout: &&Blackout| blackout.since > Timestamp::MIN && blackout.until > last;
        let blackouts = coverage.blackouts.iter().filter(known).copied().collect();
        let grace = timing.and_then(|timing| timing.grace);
        let expected = deadline
            .filter(|_| !by_run)
            .zip(grace)
            .map(|(at, grace)| at.minus(grace.duration()));
        let late = state == State::Up && window.is_none() && expected.is_some_and(|at| at < now);
        // What is stored then is when it was expected.
        let heard = |beats: &Heartbeat| settings.expected.is_none_or(|since| beats.last > since);
        Self {
            key,
            state,
            heartbeat: heartbeat.filter(heard),
            deadline,
            timing,
            expected,
            late,
            blackouts,
            settings,
            details,
            window,
            entry: None,
            unreadable_receivers: Vec::new(),
        }
    }
}

/// What a listing must know of an open entry. Thousands may be open at once, with all their history.
pub(super) struct ListedState {
    pub(super) state: State,
    pub(super) basis: Timestamp,
    pub(super) settings: HostSettings,
    pub(super) details: Details,
}

impl ListedState {
    pub(super) fn of(entry: &Entry, now: Timestamp) -> Self {
        Self {
            state: entry.state_at(now),
            basis: Some(entry.basis)
                .filter(|basis| !basis.is_ahead(now))
                .unwrap_or_default(),
            settings: entry.settings.clone(),
            details: entry.details.clone(),
        }
    }
}

/// The state of a host without an entry.
impl Default for ListedState {
    fn default() -> Self {
        Self {
            state: State::Forgotten,
            basis: Timestamp::MIN,
            settings: HostSettings::default(),
            details: Details::default(),
        }
    }
}
