//! Notices: what people are told about a transition, as one value rendered for each kind of reader.
//!
//! Everything in a notice follows from the ledger entry and the attempt, so that every region and every
//! attempt makes the same one.

use std::fmt;
use std::time::Duration;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::beat::{Interval, Message};
use crate::entry::{Entry, Kind, Transition};
use crate::host::{Fleet, HostId, HostKey, Region};
use crate::limits;
use crate::text::{ascii, human_duration, human_time, line};
use crate::time::Timestamp;

/// The short name of a notice, the same at every attempt and in every region: 10 characters of Crockford's
/// base32 (50 bits of the SHA-256 of host, epoch and kind). For people; machines compare [`Notice::identity`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoticeId(String);

impl NoticeId {
    fn of(identity: &str) -> Self {
        static CROCKFORD: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
            let mut specification = Specification::new();
            specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
            specification.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
        });
        let mut text = CROCKFORD.encode(&Sha256::digest(identity)[..10]);
        text.truncate(10);
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a notice wants to wake somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is wrong: `missing`, `failing`.
    Critical,
    /// Good to know: `registered`, `recovered`.
    Info,
}

impl Severity {
    /// The severity of all notices of a kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Missing | Kind::Failing => Self::Critical,
            Kind::Registered | Kind::Recovered => Self::Info,
        }
    }
}

/// One host in a notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoticeHost {
    /// Which host.
    pub host_id: HostId,
    /// Since when it is so.
    pub since: Timestamp,
    /// Its last beat.
    pub last_beat: Timestamp,
    /// The interval that was in force.
    pub interval: Interval,
    /// The number of the transition.
    pub epoch: u64,
    /// What a failing host said.
    pub message: Option<Message>,
    /// For `recovered`: what it was before, and since when.
    pub before: Option<(Kind, Timestamp)>,
}

/// What people are told. Serialized as it is, it is what the embedded topic stores; [`Notice::json`] is what
/// machines get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its short name.
    pub id: NoticeId,
    /// Which try of publishing it this is, from 1.
    pub attempt: u32,
    /// What happened.
    pub kind: Kind,
    /// In which fleet.
    pub fleet: Fleet,
    /// The host it happened to.
    pub host: NoticeHost,
    /// When it was decided.
    pub at: Timestamp,
    /// The region that publishes it.
    pub region: Region,
}

impl Notice {
    /// The notice that is pending in `entry`, if any.
    #[must_use]
    pub fn of(entry: &Entry, region: &Region) -> Option<Self> {
        let pending = entry.pending.as_ref()?;
        let (told, earlier) = entry.history.split_last()?;
        let before = |t: &Transition| (told.kind == Kind::Recovered).then_some((t.kind, t.since));
        Some(Self {
            id: NoticeId::of(&identity(&entry.key, told.epoch, told.kind)),
            attempt: pending.attempt.max(1),
            kind: told.kind,
            fleet: entry.key.fleet.clone(),
            host: NoticeHost {
                host_id: entry.key.host.clone(),
                since: told.since,
                last_beat: told.last_beat,
                interval: told.interval,
                epoch: told.epoch,
                message: told.message.clone(),
                before: earlier.last().and_then(before),
            },
            at: told.at,
            region: region.clone(),
        })
    }

    /// What makes two notices the same: fleet, host, epoch and kind in full. [`Notice::id`] is its hash, which
    /// two notices in a billion million share; losing an alarm to that would be silly.
    #[must_use]
    pub fn identity(&self) -> String {
        identity(&self.host_key(), self.host.epoch, self.kind)
    }

    /// The host it is about.
    #[must_use]
    pub fn host_key(&self) -> HostKey {
        HostKey::new(self.fleet.clone(), self.host.host_id.clone())
    }

    /// One line for people: `web-01 is missing: no beat since 09:52 UTC (10 min)`.
    #[must_use]
    pub fn text(&self) -> String {
        let NoticeHost { since, last_beat, interval, ref message, before, .. } = self.host;
        let name = self.name(100);
        let said = message.as_ref().filter(|m| !m.is_empty()).map(|m| format!(": {}", m.as_str()));
        let what = match self.kind {
            Kind::Registered => {
                format!("is registered: first beat at {}, then every {}", self.clock(since), every(interval))
            }
            Kind::Missing => {
                format!("is missing: no beat since {} ({})", self.clock(last_beat), every(interval))
            }
            Kind::Failing => format!("is failing since {}{}", self.clock(since), said.unwrap_or_default()),
            Kind::Recovered => match before {
                Some((kind, from)) => {
                    let lasted = human_duration(whole_seconds(since.since(from)));
                    format!("recovered at {}, after {lasted} {kind}", self.clock(since))
                }
                None => format!("recovered at {}", self.clock(since)),
            },
        };
        line(&format!("{name} {what}{}", self.again()), limits::TEXT_CHARS)
    }

    /// The subject of an e-mail: printable ASCII, at most [`limits::SUBJECT_CHARS`].
    #[must_use]
    pub fn subject(&self) -> String {
        let rest = format!(" {} {} {} ({})", self.kind, self.when(), self.clock(self.host.since), self.id);
        let room = limits::SUBJECT_CHARS - "[hb] ".len() - rest.len();
        format!("[hb] {}{rest}", self.name(room))
    }

    /// The text of an SMS: printable ASCII, at most [`limits::SMS_BYTES`].
    #[must_use]
    pub fn sms(&self) -> String {
        let since = human_time(self.host.since, self.at);
        let when = self.when();
        let rest = format!(" {}, {}, {when} {since}Z. {}{}", self.kind, self.fleet, self.id, self.again());
        let room = limits::SMS_BYTES - "hb: ".len() - rest.len();
        format!("hb: {}{rest}", ascii(self.host.host_id.as_str(), room))
    }

    /// The body of an e-mail: what happened, since when, how to look, how to silence.
    #[must_use]
    pub fn email(&self) -> String {
        let NoticeHost { ref host_id, since, last_beat, interval, ref message, .. } = self.host;
        let fleet = if self.fleet.is_main() { String::new() } else { format!(" --fleet {}", self.fleet) };
        let said = message.as_ref().filter(|m| !m.is_empty()).map(|m| {
            let lines: Vec<_> = m.as_str().lines().map(|l| format!("  > {}\n", line(l, 200))).collect();
            format!("\nThe host says:\n{}", lines.concat())
        });
        format!(
            "{}\n\nhost       {host_id}\nfleet      {}\nsince      {since}\nlast beat  {last_beat}\n\
             interval   {}\nregion     {}\nnotice     {}, attempt {}\n{}\n\
             look:      hb host show {host_id}{fleet}\nsilence:   hb host pause {host_id}{fleet} --until 2h\n",
            self.text(),
            self.fleet,
            every(interval),
            self.region,
            self.id,
            self.attempt,
            said.unwrap_or_default(),
        )
    }

    /// What machines get, in the format of `version` 1; at most [`limits::NOTICE_BYTES`].
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let NoticeHost { ref host_id, since, last_beat, interval, epoch, ref message, .. } = self.host;
        serde_json::json!({
            "version": 1,
            "id": self.id,
            "attempt": self.attempt,
            "kind": self.kind,
            "severity": Severity::of(self.kind),
            "fleet": self.fleet,
            "hosts": [{
                "hostId": host_id,
                "since": since.to_string(),
                "lastBeat": last_beat.to_string(),
                "intervalMs": interval,
                "epoch": epoch,
                "message": message,
            }],
            "count": 1,
            "digest": false,
            "at": self.at.to_string(),
            "text": self.text(),
        })
    }

    /// The host's name in a text: cut, and with its fleet unless that is `main`.
    fn name(&self, room: usize) -> String {
        let fleet = if self.fleet.is_main() { String::new() } else { format!(" ({})", self.fleet) };
        ascii(self.host.host_id.as_str(), room - fleet.len()) + &fleet
    }

    /// The word before the instant: what is wrong lasts, what is well happened.
    fn when(&self) -> &'static str {
        match Severity::of(self.kind) {
            Severity::Critical => "since",
            Severity::Info => "at",
        }
    }

    fn clock(&self, instant: Timestamp) -> String {
        human_time(instant, self.at) + " UTC"
    }

    /// Says so when this is not the first attempt.
    fn again(&self) -> String {
        if self.attempt > 1 { format!(" (attempt {}, same id)", self.attempt) } else { String::new() }
    }
}

fn identity(key: &HostKey, epoch: u64, kind: Kind) -> String {
    format!("{key}#{epoch}/{kind}")
}

fn every(interval: Interval) -> String {
    human_duration(interval.duration())
}

/// Milliseconds say nothing in "recovered after".
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

#[cfg(test)]
mod tests;
