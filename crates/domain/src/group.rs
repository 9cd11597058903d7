//! Groups: pending notices of one fleet and kind, which leave together, as in Alertmanager.
//!
//! The first of a quiet group waits for others, and two messages of a group are some time apart. The record of a fleet says
//! how long, and when a message of each kind last left: who swaps that in may send what is pending.
//!
//! Of what is still missing or failing people are reminded. Who swaps the id of the next reminder into the record begins it;
//! whoever sees it there goes on, and takes it out once the reminder is a digest of that id. So a crash loses none, and of
//! several sweeps one sends it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::Fleet;
use crate::limits;
use crate::maintenance::Window;
use crate::notice::NoticeId;
use crate::schedule::Zone;
use crate::text::human_duration;
use crate::time::Timestamp;
use crate::transition::Kind;

/// How long notices of a group wait: 0 s to [`limits::GROUP_LONGEST`], in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct GroupTime(Duration);

/// A time that is too long for a [`GroupTime`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("notices wait for {} at most, not {}", human_duration(limits::GROUP_LONGEST), human_duration(*.0))]
pub struct GroupTimeError(Duration);

impl GroupTime {
    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<Duration> for GroupTime {
    type Error = GroupTimeError;
    fn try_from(time: Duration) -> Result<Self, GroupTimeError> {
        if time <= limits::GROUP_LONGEST {
            Ok(Self(time))
        } else {
            Err(GroupTimeError(time))
        }
    }
}

impl TryFrom<u64> for GroupTime {
    type Error = GroupTimeError;
    fn try_from(millis: u64) -> Result<Self, GroupTimeError> {
        Duration::from_millis(millis).try_into()
    }
}

impl From<GroupTime> for u64 {
    fn from(time: GroupTime) -> Self {
        Self::try_from(time.0.as_millis()).unwrap_or(Self::MAX)
    }
}

/// Settings of a fleet, made by admins; `None` where the default counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetSettings {
    /// How long the first notice of a quiet group waits for others; [`limits::GROUP_WAIT`] unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<GroupTime>,
    /// How far two messages of a group are apart; [`limits::GROUP_INTERVAL`] unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<GroupTime>,
    /// How far two reminders are apart, and for how long trouble lasts before the first; 0 s for none.
    /// [`limits::REPEAT_INTERVAL`] unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<GroupTime>,
}

impl FleetSettings {
    /// For a fleet whose notices leave with the sweep that decided them, without reminders.
    pub const AT_ONCE: Self = Self {
        group_wait: Some(GroupTime(Duration::ZERO)),
        group_interval: Some(GroupTime(Duration::ZERO)),
        repeat_interval: Some(GroupTime(Duration::ZERO)),
    };

    /// These, and those of `others` that are not set here.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            group_wait: self.group_wait.or(others.group_wait),
            group_interval: self.group_interval.or(others.group_interval),
            repeat_interval: self.repeat_interval.or(others.repeat_interval),
        }
    }

    /// How long the first notice of a quiet group waits.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.group_wait
            .map_or(limits::GROUP_WAIT, GroupTime::duration)
    }

    /// How far two messages of a group are apart.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.group_interval
            .map_or(limits::GROUP_INTERVAL, GroupTime::duration)
    }

    /// How far two reminders are apart; 0 s for none.
    #[must_use]
    pub fn repeat(&self) -> Duration {
        self.repeat_interval
            .map_or(limits::REPEAT_INTERVAL, GroupTime::duration)
    }
}

/// What the service keeps of a fleet, swapped as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FleetRecord {
    /// Which fleet.
    pub fleet: Fleet,
    /// Set by admins.
    #[serde(default)]
    pub settings: FleetSettings,
    /// The time zone of those who get its notices; UTC unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<Zone>,
    /// When the last message of each kind left.
    #[serde(default)]
    pub sent: BTreeMap<Kind, Timestamp>,
    /// When the last reminder was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminded: Option<Timestamp>,
    /// That one, until it is a digest of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder: Option<NoticeId>,
    /// Its maintenance windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

impl FleetRecord {
    /// The record of a fleet without settings, of which nothing was sent.
    #[must_use]
    pub fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            settings: FleetSettings::default(),
            tz: None,
            sent: BTreeMap::new(),
            reminded: None,
            reminder: None,
            windows: Vec::new(),
        }
    }

    /// Whether the group of `kind` may send at `now` what is pending, of which the oldest was decided at `oldest`. What a
    /// wrong clock dated waits for nothing.
    #[must_use]
    pub fn may_send(&self, kind: Kind, oldest: Timestamp, now: Timestamp) -> bool {
        let last = self.sent.get(&kind);
        is_over(oldest, self.settings.wait(), now)
            && last.is_none_or(|last| is_over(*last, self.settings.interval(), now))
    }

    /// Begins the reminder `id` at `now` if its time has come: the oldest trouble was decided at `oldest`, and reminders are
    /// `repeat` apart. Drops one that is begun when the trouble of that time is over.
    ///
    /// # Errors
    /// The reminder that is begun, if any, when nothing changes.
    pub fn with_reminder(
        self,
        id: NoticeId,
        oldest: Timestamp,
        repeat: Duration,
        now: Timestamp,
    ) -> Result<Self, Option<NoticeId>> {
        let is_old = !repeat.is_zero() && is_over(oldest, repeat, now);
        let is_due = self.reminded.is_none_or(|last| is_over(last, repeat, now));
        match self.reminder {
            Some(begun) if is_old => Err(Some(begun)),
            Some(_) => Ok(Self {
                reminder: None,
                ..self
            }),
            None if is_old && is_due => Ok(Self {
                reminded: Some(now),
                reminder: Some(id),
                ..self
            }),
            None => Err(None),
        }
    }

    /// The same, when the reminder `id` is a digest; `None` when another one is under way, or none.
    #[must_use]
    pub fn after_reminder(self, id: &NoticeId) -> Option<Self> {
        let is_it = self.reminder.as_ref() == Some(id);
        is_it.then_some(Self {
            reminder: None,
            ..self
        })
    }

    /// The same, when a message of `kind` leaves at `now`.
    #[must_use]
    pub fn sending(mut self, kind: Kind, now: Timestamp) -> Self {
        self.sent.insert(kind, now);
        self
    }
}

fn is_over(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    since.is_ahead(now) || since.plus(time) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
    }

    #[test]
    fn the_first_of_a_quiet_group_waits_and_two_messages_are_apart() {
        let quiet = FleetRecord::new(Fleet::main());
        let sent = quiet.clone().sending(Kind::Missing, at(0));
        let cases = [
            (&quiet, 0, 29, false),
            (&quiet, 0, 30, true),
            (&sent, 1, 299, false),
            (&sent, 1, 300, true),
            (&sent, 290, 300, false),
            (&sent, 290, 320, true),
        ];
        for (record, oldest, now, may) in cases {
            let found = record.may_send(Kind::Missing, at(oldest), at(now));
            assert_eq!(found, may, "{oldest} {now}");
        }
        assert!(
            sent.may_send(Kind::Recovered, at(0), at(30)),
            "a group of its own"
        );
    }

    #[test]
    fn an_admin_sets_both_times() {
        let mut record = FleetRecord::new(Fleet::main());
        record.settings = FleetSettings::AT_ONCE;
        let record = record.sending(Kind::Missing, at(0));
        assert!(record.may_send(Kind::Missing, at(0), at(0)));
        let longest = limits::GROUP_LONGEST;
        let time = GroupTime::try_from(longest).unwrap();
        assert_eq!(time.duration(), longest);
        let error = GroupTime::try_from(longest + Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "notices wait for 30 d at most, not 30 d");
    }

    #[test]
    fn a_reminder_is_begun_when_the_oldest_trouble_and_the_last_one_are_old() {
        let id = |n| NoticeId::of_bytes([n; 32]);
        let decide = |record: &FleetRecord, oldest, repeat: u64, now| {
            let repeat = Duration::from_secs(repeat);
            record
                .clone()
                .with_reminder(id(1), at(oldest), repeat, at(now))
        };
        let quiet = FleetRecord::new(Fleet::main());
        assert_eq!(decide(&quiet, 0, 60, 59), Err(None));
        assert_eq!(decide(&quiet, 0, 0, 59), Err(None), "never");
        let begun = decide(&quiet, 0, 60, 60).unwrap();
        assert_eq!(
            (begun.reminded, &begun.reminder),
            (Some(at(60)), &Some(id(1)))
        );
        // Another sweep goes on with it, as long as it says something.
        assert_eq!(decide(&begun, 0, 60, 61), Err(Some(id(1))));
        for (oldest, repeat) in [(30, 60), (0, 0)] {
            let dropped = decide(&begun, oldest, repeat, 61).unwrap();
            assert_eq!((dropped.reminded, dropped.reminder), (Some(at(60)), None));
        }
        assert_eq!(begun.clone().after_reminder(&id(2)), None);
        let done = begun.after_reminder(&id(1)).unwrap();
        assert_eq!(decide(&done, 0, 60, 119), Err(None));
        assert!(decide(&done, 0, 60, 120).is_ok());
        let ahead = FleetRecord {
            reminded: Some(at(3_600)),
            ..done
        };
        assert!(
            decide(&ahead, 3_600, 60, 0).is_ok(),
            "dated by a wrong clock"
        );
    }

    #[test]
    fn what_a_wrong_clock_dated_waits_for_nothing() {
        let ahead = at(3_600);
        let record = FleetRecord::new(Fleet::main()).sending(Kind::Missing, ahead);
        assert!(record.may_send(Kind::Missing, ahead, at(0)));
        // A clock that is a little ahead is none.
        assert!(!record.may_send(Kind::Missing, ahead, at(3_590)));
    }

    #[test]
    fn stored_records_are_read_back() {
        let text = r#"{"fleet":"lab","settings":{"groupWait":0},"sent":{"missing":1700000000000}}"#;
        let record: FleetRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.settings.wait(), Duration::ZERO);
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let text = r#"{"fleet":"lab","settings":{"repeatInterval":0},"sent":{},"reminded":1700000000000,"reminder":"K7Q2M9XA4T"}"#;
        let record: FleetRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.settings.repeat(), Duration::ZERO);
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        let bare: FleetRecord = serde_json::from_str(r#"{"fleet":"lab"}"#).unwrap();
        assert_eq!(bare, FleetRecord::new("lab".parse().unwrap()));
        let long = r#"{"fleet":"lab","settings":{"groupWait":2592000001}}"#;
        assert!(serde_json::from_str::<FleetRecord>(long).is_err());
    }
}
