//! When a host's state changes: the one decision that a sweep makes, as a function of values.

use std::sync::Arc;
use std::time::Duration;

use crate::beat::{Heartbeat, Interval, Signal};
use crate::coverage::Coverage;
use crate::entry::{Entry, HostSettings};
use crate::host::{HostKey, Region};
use crate::limits;
use crate::maintenance::Maintenance;
use crate::message::Message;
use crate::run::Run;
use crate::text::human_duration;
use crate::time::Timestamp;
use crate::timing::{Grace, Timing};
use crate::transition::{Caveat, Kind, State, Transition};

/// What a decision depends on besides the host.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How far clocks may differ: silence counts only past the deadline plus this. Zero on one machine.
    pub skew: Duration,
    /// When beats could be received: silence counts only then.
    pub coverage: Coverage,
    /// The newest beat of any host, where a beat must show that the machine still has its network: a host waits for one
    /// that is newer than its deadline, for [`limits::NETWORK_WAIT`] at most.
    pub newest_beat: Option<Timestamp>,
    /// When hosts are in maintenance.
    pub maintenance: Arc<Maintenance>,
}

impl Rules {
    /// The same, but no host is silent.
    #[must_use]
    pub fn without_silence(&self) -> Self {
        Self {
            coverage: self.coverage.clone().up_to(Timestamp::MIN),
            ..self.clone()
        }
    }

    /// Whether a host waits that has missed its `deadline`.
    fn awaits_beat(&self, deadline: Timestamp, interval: Duration, now: Timestamp) -> bool {
        let patience = deadline.plus(interval.min(limits::NETWORK_WAIT));
        self.newest_beat
            .is_some_and(|newest| newest <= deadline && now < patience)
    }
}

/// When the silence of a host becomes too long.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The deadline.
    pub at: Timestamp,
    /// How long it may be silent.
    pub timing: Timing,
    /// The run that takes too long by then, and how long it may take, if that is the reason.
    pub run: Option<(Run, Interval)>,
}

/// When the silence of `host`, which last beat at `last`, perhaps elsewhere, becomes too long: after what may pass from then, or
/// from the end of a pause, not counting times in which beats could not be received or the host was in maintenance; or when a
/// run takes too long.
#[must_use]
pub fn deadline(
    last: Timestamp,
    host: &HostKey,
    heartbeat: &Heartbeat,
    settings: &HostSettings,
    coverage: &Coverage,
    maintenance: &Maintenance,
) -> Due {
    let resumed = settings
        .pause
        .and_then(|pause| pause.until)
        .unwrap_or(Timestamp::MIN);
    let overdue = |from: Timestamp, long: Interval| {
        let windows = maintenance.blackouts(host, from);
        coverage.overdue(from, long.duration(), &windows)
    };
    let from = last.max(resumed);
    let timing = settings.timing(heartbeat, from);
    let at = overdue(from, timing.interval);
    let too_long = heartbeat.open_run(last).and_then(|run| {
        let limit = run.limit.or(timing.grace.map(Grace::interval))?;
        Some((overdue(run.at.max(resumed), limit), run, limit))
    });
    let too_long = too_long.filter(|(until, ..)| *until < at);
    Due {
        at: too_long.map_or(at, |(until, ..)| until),
        timing,
        run: too_long.map(|(_, run, limit)| (run, limit)),
    }
}

/// What the ledger entry of a host should become at `now`, given its beats; `None` when nothing changes.
///
/// | state | silent | failed since | last signal `fail` | last signal `ok` |
/// | --- | --- | --- | --- | --- |
/// | forgotten or new, a beat since | missing | failing | failing | registered |
/// | expected, no beat yet | missing | - | - | - |
/// | up | missing | failing | failing | slowed, if the interval was raised |
/// | missing, a beat since | - | failing | failing | recovered |
/// | failing | missing | - | - | recovered |
///
/// The failure of a host that is up is decided before its silence. An interval was raised if it is many times the one of
/// which people were last notified, or else of the first beat, and no admin has set another. Nothing changes while the host is
/// paused, nor while its notice is pending (`recovered` must never overtake `missing`); but a notice that nobody was ever to
/// send is withdrawn when it is no longer so, unless it says that the host failed, and not during maintenance. People get what
/// differs from what they know.
#[must_use]
pub fn decide(
    entry: &Entry,
    heartbeat: &Heartbeat,
    now: Timestamp,
    rules: &Rules,
) -> Option<Entry> {
    if entry.settings.is_paused(now) {
        return None;
    }
    if entry.pending.is_none() {
        return next(entry, heartbeat, now, rules);
    }
    let in_maintenance = rules.maintenance.open(&entry.key).is_some();
    let before = entry.withdrawn(in_maintenance)?;
    let notified = Entry {
        state: entry.state,
        ..before.clone()
    };
    let undone = next(&notified, heartbeat, now, rules)?.undoing(&before)?;
    // People know what was before: perhaps that has changed as well.
    let next = next(&before, heartbeat, now, rules).unwrap_or(undone);
    let needs_recheck = next.pending.is_none() && entry.was_decided_long_ago(now);
    Some(Entry {
        needs_recheck,
        ..next
    })
}

/// The same while no notice is pending.
fn next(entry: &Entry, heartbeat: &Heartbeat, now: Timestamp, rules: &Rules) -> Option<Entry> {
    let beat_since = heartbeat.last > entry.basis;
    // The ledger may know of a beat that has yet to arrive here from another region.
    let last = heartbeat.last.max(entry.basis);
    let (settings, coverage) = (&entry.settings, &rules.coverage);
    let never_heard = settings.expected.is_some_and(|since| last <= since);
    let maintenance = &rules.maintenance;
    let Due {
        at: deadline,
        timing,
        run,
    } = self::deadline(last, &entry.key, heartbeat, settings, coverage, maintenance);
    let silent = rules.coverage.covered_until(now) > deadline.plus(rules.skew);
    let failed = heartbeat.signal == Signal::Fail || unaccounted_failure(entry, heartbeat);
    let kind = match entry.state {
        State::Forgotten if silent && (beat_since || never_heard) => Kind::Missing,
        State::Forgotten if !beat_since => return None,
        State::Forgotten if failed => Kind::Failing,
        State::Forgotten => Kind::Registered,
        State::Up | State::Paused | State::Expected if unaccounted_failure(entry, heartbeat) => {
            Kind::Failing
        }
        State::Up | State::Paused | State::Expected | State::Failing if silent => Kind::Missing,
        State::Up | State::Paused | State::Expected if raised_from(entry, heartbeat).is_some() => {
            Kind::Slowed
        }
        State::Up | State::Paused | State::Expected => return None,
        State::Missing if silent || !beat_since => return None,
        State::Missing if failed => Kind::Failing,
        // An old copy of the heartbeat does not prove a recovery.
        State::Failing if heartbeat.signal == Signal::Fail || heartbeat.last < entry.basis => {
            return None;
        }
        State::Missing | State::Failing => Kind::Recovered,
    };
    let failure = heartbeat.failure.as_ref();
    let Timing { interval, grace } = timing;
    if kind == Kind::Missing && rules.awaits_beat(deadline, interval.duration(), now) {
        return None;
    }
    let caveat = || {
        let blackout = coverage.doubt(last, interval.duration(), deadline);
        coverage.caveat.clone().or(blackout.map(Caveat::Blackout))
    };
    let transition = Transition {
        epoch: entry.epoch + 1,
        kind,
        since: match kind {
            Kind::Registered if settings.expected.is_some() => heartbeat.last,
            Kind::Registered => heartbeat.first.max(entry.basis),
            Kind::Missing => deadline,
            Kind::Failing => failure.map_or(heartbeat.last, |failure| failure.at),
            Kind::Recovered | Kind::Slowed => heartbeat.last,
        },
        last_beat: last,
        interval,
        message: match kind {
            Kind::Failing => failure.and_then(|failure| failure.message.clone()),
            Kind::Slowed => raised_from(entry, heartbeat).map(was_every),
            Kind::Missing => match (run, settings.expected) {
                (Some((run, limit)), _) => Some(run.too_long(limit)),
                (None, Some(since)) if never_heard => Some(never_heard_since(since)),
                (None, _) => None,
            },
            Kind::Registered | Kind::Recovered => None,
        },
        at: now,
        caveat: (kind == Kind::Missing).then(caveat).flatten(),
        grace,
        key: heartbeat.key,
        withdrawn: false,
        accepted: None,
    };
    // A copy that lags behind must not take back a failure that was accounted for.
    let failure = failure.map(|failure| failure.at).max(entry.failure);
    Some(
        Entry {
            failure,
            ..entry.clone()
        }
        .transit(transition),
    )
}

/// The interval that people know of a host which has raised it so much that they are to be notified.
fn raised_from(entry: &Entry, heartbeat: &Heartbeat) -> Option<Interval> {
    let mut notified = entry.history.iter().rev();
    let notified =
        notified.find(|transition| transition.kind == Kind::Slowed && !transition.withdrawn);
    let known = notified.map(|known| known.interval.known(known.grace.is_some()));
    let known = known.or(heartbeat.first_interval)?;
    // An old copy of the heartbeat does not show the interval of the last beat.
    let HostSettings {
        interval, schedule, ..
    } = &entry.settings;
    let newest = heartbeat.last >= entry.basis && interval.is_none() && schedule.is_none();
    (newest && heartbeat.has_raised(known)).then_some(known)
}

fn never_heard_since(expected: Timestamp) -> Message {
    Message::from(format!("never heard since it was expected on {expected}"))
}

fn was_every(known: Interval) -> Message {
    Message::from(format!(
        "before, every {}",
        human_duration(known.duration())
    ))
}

/// Whether the host failed after the last failure that was accounted for, and not during a pause.
fn unaccounted_failure(entry: &Entry, heartbeat: &Heartbeat) -> bool {
    let failure = heartbeat.failure.as_ref();
    failure.is_some_and(|failure| !entry.accounts_for(failure.at))
}

impl Entry {
    fn accounts_for(&self, failure: Timestamp) -> bool {
        let resumed = self.settings.pause.and_then(|pause| pause.until);
        let known = self.failure.max(resumed);
        known.is_some_and(|known| failure <= known)
    }

    /// Whether its notice is withdrawn when what it says is over.
    #[must_use]
    pub fn can_withdraw(&self, in_maintenance: bool) -> bool {
        self.state_before(in_maintenance).is_some()
    }

    /// What people know of the host if its last transition is withdrawn; `None` unless that may be: nobody was ever to send its
    /// notice, and people need not know of it when something else is to be said.
    fn state_before(&self, in_maintenance: bool) -> Option<State> {
        let pending = self.pending.as_ref()?;
        let (last, earlier) = self.history.split_last()?;
        let mut known = earlier.iter().rev().filter(|known| !known.withdrawn);
        match (last.kind, known.next()) {
            _ if !pending.is_untouched() => None,
            // People are to know that it failed, and why, whatever comes next.
            (Kind::Failing, _) if !in_maintenance => None,
            (Kind::Recovered | Kind::Slowed, None) => None,
            (Kind::Missing | Kind::Registered | Kind::Failing, None) => Some(State::Forgotten),
            (_, Some(known)) => Some(known.kind.leads_to()),
        }
    }

    /// The entry as it was before its last transition, which is withdrawn.
    fn withdrawn(&self, in_maintenance: bool) -> Option<Self> {
        let state = self.state_before(in_maintenance)?;
        let mut before = Self {
            state,
            pending: None,
            ..self.clone()
        };
        before.history.last_mut()?.withdrawn = true;
        Some(before)
    }

    /// This entry, whose last transition undoes the one that was withdrawn `before`: people get neither when the state is as
    /// it was then. `None` when it does not undo that.
    fn undoing(mut self, before: &Self) -> Option<Self> {
        let last = self.history.last_mut()?;
        if last.kind == Kind::Slowed {
            return None;
        }
        if self.state == before.state {
            last.withdrawn = true;
            self.pending = None;
        }
        Some(self)
    }

    /// Keeps the entry open until region `home` has judged the host once more, because its failure at `failure` was left
    /// undecided. `None` when it is accounted for, or that is known.
    #[must_use]
    pub fn with_failure_left(mut self, failure: Timestamp, home: &Region) -> Option<Self> {
        let left = self.state != State::Forgotten && !self.accounts_for(failure);
        let news = self.rechecked_in.remove(home) || !self.needs_recheck;
        self.needs_recheck = true;
        (left && news).then_some(self)
    }

    /// What a scan may assume of a host that is not among the open entries: it is up, and everything before the last
    /// completed sweep is accounted for; or it is new, if its first beat came after that. A sweep that a wrong clock
    /// recorded shows nothing.
    ///
    /// Only good enough to find candidates; the decision itself reads the entry.
    #[must_use]
    pub fn assumed(
        key: &HostKey,
        heartbeat: &Heartbeat,
        last_sweep: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let mut entry = Self::new(key.clone());
        let last_sweep = last_sweep.filter(|at| !at.is_ahead(now));
        if let Some(seen) = last_sweep.map(|at| at.minus(limits::NEWS_MARGIN))
            && heartbeat.first <= seen
        {
            entry.state = State::Up;
            entry.failure = Some(seen);
        }
        entry
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod wrong_clock;
