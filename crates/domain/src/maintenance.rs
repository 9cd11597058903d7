//! Maintenance windows: times in which hosts are expected to be silent or to fail.
//!
//! A window is a blackout of the hosts that it covers: silence does not count in it, and after it they have time to beat
//! again. The notice of a failure waits until it ends, and is withdrawn if the failure is over by then.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::HostPrefix;
use crate::acknowledgement::Note;
use crate::coverage::Blackout;
use crate::group::FleetRecord;
use crate::host::{Fleet, HostKey, is_lower_name, name};
use crate::limits;
use crate::schedule::{Schedule, Zone};
use crate::text::human_duration;
use crate::time::Timestamp;

/// The id of a maintenance window: 1 to 16 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WindowId(String);

/// A string that is not a [`WindowId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a window's id is 1 to 16 characters of a-z, 0-9 and -, as `hb maintenance list` shows it")]
pub struct WindowIdError;

impl WindowId {
    /// The id made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 5]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
    }
}

impl FromStr for WindowId {
    type Err = WindowIdError;
    fn from_str(text: &str) -> Result<Self, WindowIdError> {
        let fits = is_lower_name(text, 16);
        fits.then(|| Self(text.to_owned())).ok_or(WindowIdError)
    }
}

name!(WindowId, WindowIdError);

/// When a window is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Times {
    /// Once.
    Once(Blackout),
    /// Again and again.
    #[serde(rename_all = "camelCase")]
    Repeated {
        /// When it opens.
        cron: Schedule,
        /// By the clocks of this zone.
        tz: Zone,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
}

impl Times {
    /// When it is open after `from`, for the first time; `None` when it never is.
    #[must_use]
    pub fn next(&self, from: Timestamp) -> Option<Blackout> {
        match self {
            Self::Once(once) => Some(*once).filter(|once| once.until > from),
            Self::Repeated { cron, tz, for_ms } => {
                let long = Duration::from_millis(*for_ms);
                // One that opened before is open still.
                let since = cron.next(from.minus(long), tz)?;
                let until = since.plus(long);
                Some(Blackout { since, until })
            }
        }
    }

    /// When it was opened last, at `now` or before.
    fn last(&self, now: Timestamp) -> Option<Blackout> {
        match self {
            Self::Once(once) => Some(*once).filter(|once| once.since <= now),
            Self::Repeated { cron, tz, for_ms } => {
                let since = cron.last(now, tz)?;
                let until = since.plus(Duration::from_millis(*for_ms));
                Some(Blackout { since, until })
            }
        }
    }

    /// When it is open between `from` and `until`, at most [`limits::OPENINGS`] times.
    fn between(&self, from: Timestamp, until: Timestamp) -> impl Iterator<Item = Blackout> {
        let first = self.next(from);
        let openings = std::iter::successors(first, |last| self.next(last.until));
        openings
            .take(limits::OPENINGS)
            .take_while(move |open| open.since < until)
    }

    /// Whether it is over for ever at `now`.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.next(now).is_none()
    }
}

/// A time in which hosts are expected to be silent or to fail, set by an admin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// As admins name it.
    pub id: WindowId,
    /// Only hosts that one of these covers; empty means all of the fleet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_prefixes: Vec<HostPrefix>,
    /// When it is open.
    #[serde(flatten)]
    pub times: Times,
    /// What others are to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// Why a window is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// It would end before it begins.
    #[error("the window would end at {until}, which is not after its beginning at {since}")]
    Reversed {
        /// When it would begin.
        since: Timestamp,
        /// When it would end.
        until: Timestamp,
    },
    /// It would end before now.
    #[error("the window ended at {0}, which is in the past")]
    Over(Timestamp),
    /// It is open for longer than from one time to the next, so that it never closes.
    #[error(
        "the window would be open for {} at a time and open again after {}, so that it never closed; \
         pause the hosts instead, or write a shorter --for",
        human_duration(*.long), human_duration(*.again)
    )]
    NeverCloses {
        /// For how long it would be open.
        long: Duration,
        /// After how long it would open again.
        again: Duration,
    },
    /// It is open for no time, or for longer than [`limits::WINDOW_LONGEST`].
    #[error("a window is open for 1 s to {}, not {}", human_duration(limits::WINDOW_LONGEST), human_duration(*.0))]
    Length(Duration),
    /// More than [`limits::FILTER_PREFIXES`].
    #[error("a window has at most {most} host prefixes, not {0}", most = limits::FILTER_PREFIXES)]
    Prefixes(usize),
    /// The fleet has as many as it may.
    #[error("fleet {0} has {most} maintenance windows, which is the most: remove one, or let one cover several --host-prefix", most = limits::WINDOWS)]
    TooMany(Fleet),
}

impl Window {
    /// Whether it makes sense at `now`.
    pub fn check(&self, now: Timestamp) -> Result<(), WindowError> {
        if self.host_prefixes.len() > limits::FILTER_PREFIXES {
            return Err(WindowError::Prefixes(self.host_prefixes.len()));
        }
        let fits = |long| (Duration::from_secs(1)..=limits::WINDOW_LONGEST).contains(&long);
        match &self.times {
            Times::Once(Blackout { since, until }) => {
                let long = until.since(*since);
                if until <= since {
                    let (since, until) = (*since, *until);
                    Err(WindowError::Reversed { since, until })
                } else if until <= &now {
                    Err(WindowError::Over(*until))
                } else if fits(long) {
                    Ok(())
                } else {
                    Err(WindowError::Length(long))
                }
            }
            Times::Repeated { cron, tz, for_ms } => {
                let long = Duration::from_millis(*for_ms);
                if !fits(long) {
                    return Err(WindowError::Length(long));
                }
                let opens = std::iter::successors(cron.next(now, tz), |at| cron.next(*at, tz));
                let opens: Vec<_> = opens.take(limits::OPENINGS).collect();
                let mut gaps = opens.windows(2).map(|pair| pair[1].since(pair[0]));
                match gaps.find(|again| *again <= long) {
                    Some(again) => Err(WindowError::NeverCloses { long, again }),
                    None => Ok(()),
                }
            }
        }
    }

    fn covers(&self, host: &HostKey) -> bool {
        let prefixes = &self.host_prefixes;
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.covers(&host.host))
    }
}

impl FleetRecord {
    /// The same with one more window. Those that were over long ago are dropped.
    pub fn with_window(mut self, window: Window, now: Timestamp) -> Result<Self, WindowError> {
        let kept_from = now.minus(limits::WINDOW_KEPT);
        self.windows.retain(|old| !old.times.is_over(kept_from));
        if self.windows.len() >= limits::WINDOWS {
            return Err(WindowError::TooMany(self.fleet));
        }
        self.windows.push(window);
        Ok(self)
    }

    /// The same without that window; `None` when it has none of this id.
    #[must_use]
    pub fn without_window(mut self, id: &WindowId) -> Option<Self> {
        let before = self.windows.len();
        self.windows.retain(|window| window.id != *id);
        (self.windows.len() < before).then_some(self)
    }
}

/// The maintenance windows of all fleets at an instant.
#[derive(Clone, Debug, Default)]
pub struct Maintenance {
    now: Timestamp,
    /// Of each fleet that has any, with when the window was last opened.
    fleets: BTreeMap<Fleet, Vec<(Window, Option<Blackout>)>>,
}

impl Maintenance {
    /// Those of these records, at `now`.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a FleetRecord>, now: Timestamp) -> Self {
        let opened = |window: &Window| (window.clone(), window.times.last(now));
        let with_windows = records
            .into_iter()
            .filter(|record| !record.windows.is_empty());
        let fleets = with_windows.map(|record| {
            let windows = record.windows.iter().map(opened).collect();
            (record.fleet.clone(), windows)
        });
        Self {
            now,
            fleets: fleets.collect(),
        }
    }

    /// The windows that cover `host`. None ever covers what the service reports of itself.
    fn covering(&self, host: &HostKey) -> impl Iterator<Item = &(Window, Option<Blackout>)> {
        let of_service = host.host.is_reserved();
        let of_fleet = self.fleets.get(&host.fleet).filter(|_| !of_service);
        let windows = of_fleet.map(Vec::as_slice).unwrap_or_default();
        windows.iter().filter(|(window, _)| window.covers(host))
    }

    /// The window in which `host` is now: the one that closes last.
    #[must_use]
    pub fn open(&self, host: &HostKey) -> Option<(&Window, Blackout)> {
        let open = self.covering(host);
        let open = open.filter_map(|(window, last)| Some((window, (*last)?)));
        let open = open.filter(|(_, last)| last.until > self.now);
        open.max_by_key(|(_, open)| open.until)
    }

    /// When `host` was in one after `from`; the last one may end later than now.
    #[must_use]
    pub fn blackouts(&self, host: &HostKey, from: Timestamp) -> Vec<Blackout> {
        let since = |last: &Option<Blackout>| last.is_some_and(|last| last.until > from);
        let covering = self.covering(host).filter(|(_, last)| since(last));
        let open = covering.flat_map(|(window, _)| window.times.between(from, self.now));
        open.collect()
    }
}

#[cfg(test)]
mod tests;
