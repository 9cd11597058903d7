//! Notices for people: a line, the subject and the body of an e-mail, an SMS.

mod digest;

use std::time::Duration;

use super::sites::places;
use super::{About, Notice, NoticeHost};
use crate::details::Details;
use crate::host::{HostId, Region};
use crate::limits;
use crate::message::Message;
use crate::text::{ascii, human_duration, line, visible};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind, Severity};

/// Longest name of a host in a line, in characters.
const NAME: usize = 100;
/// Longest name of a host in the line of a digest.
const SHORT_NAME: usize = 40;

impl Notice {
    /// One line for people, the verb first: `MISSING web-01: silent for 10 min, last beat 09:52 UTC`, or
    /// `MISSING 812 hosts since 10:02 UTC: web-01, web-02 and 810 more`.
    #[must_use]
    pub fn text(&self) -> String {
        if self.test {
            let (kind, fleet, region) = (self.kind, &self.fleet, &self.region);
            return format!(
                "TEST, nothing has happened: notices of kind {kind} in fleet {fleet} arrive here, from region {region}"
            );
        }
        let text = match &self.about {
            About::Host(host) => self.text_of_host(host, NAME),
            About::Digest(members) => self.text_of_digest(members),
        };
        let tail = format!("{}{}", self.remark(), self.again());
        line(&text, limits::TEXT_CHARS - tail.chars().count()) + &tail
    }

    /// With at most so many characters of the host's name.
    fn text_of_host(&self, host: &NoticeHost, room: usize) -> String {
        let reason = host.message.as_ref().map(Message::headline);
        let reason = reason.filter(|reason| !reason.is_empty());
        let since = self.clock(host.since);
        let what = match (self.kind, reason) {
            (Kind::Registered, _) => format!("first beat {since}, {}", self.next_beat(host)),
            (Kind::Missing, Some(reason)) => reason.to_owned(),
            (Kind::Missing, None) => self.silence(host),
            (Kind::Failing, Some(reason)) => format!("{reason} ({since})"),
            (Kind::Failing, None) => format!("at {since}"),
            (Kind::Recovered, _) => match host.before {
                Some((kind, from)) => {
                    let lasted = human_duration(whole_seconds(host.since.since(from)));
                    format!("after {lasted} {kind}, at {since}")
                }
                None => format!("at {since}"),
            },
            (Kind::Slowed, reason) => {
                let before = reason.map(|reason| format!("; {reason}"));
                let before = before.unwrap_or_default();
                format!("beats only every {} since {since}{before}", every(host))
            }
        };
        let flapping = host
            .flapping
            .map(|flapping| format!("; {}", flapping.text(self.at)));
        let note = host.details.note.as_ref();
        let note = note.map(|note| format!("; note: {}", note.as_str()));
        let more = [flapping, note].map(Option::unwrap_or_default).concat();
        format!(
            "{} {}: {what}{more}",
            self.verb(),
            self.name(&host.host_id, room)
        )
    }

    fn next_beat(&self, host: &NoticeHost) -> String {
        if host.grace.is_some() {
            let expected = host.last_beat.plus(host.timing().usual());
            format!("the next is expected at {}", self.clock(expected))
        } else {
            format!("then every {}", every(host))
        }
    }

    /// `silent for 10 min, last beat 09:52 UTC`.
    fn silence(&self, host: &NoticeHost) -> String {
        let last = self.clock(host.last_beat);
        let Some(grace) = host.grace else {
            let silent = coarse(self.at.since(host.last_beat));
            return format!("silent for {silent}, last beat {last}");
        };
        let expected = self.clock(host.since.minus(grace.duration()));
        let grace = human_duration(grace.duration());
        format!("expected at {expected}, last beat {last} (grace {grace})")
    }

    /// What happened, as one word or a few.
    fn verb(&self) -> &'static str {
        let About::Digest(members) = &self.about else {
            return verb(self.kind);
        };
        let failing = members.iter().any(|member| member.failing);
        match (&self.reminder, self.kind) {
            (Some(_), Kind::Failing) => "STILL FAILING",
            (Some(_), _) if failing => "STILL MISSING OR FAILING",
            (Some(_), _) => "STILL MISSING",
            (None, kind) => verb(kind),
        }
    }

    /// The subject of an e-mail: printable ASCII, at most [`limits::SUBJECT_CHARS`].
    #[must_use]
    pub fn subject_line(&self) -> String {
        if self.test {
            return format!(
                "[hb] TEST, nothing has happened: {} in {} ({})",
                self.kind, self.fleet, self.id
            );
        }
        let room = limits::SUBJECT_CHARS - "[hb]  ()".len() - self.id.as_str().len();
        let what = match &self.about {
            About::Host(host) => {
                let when = format!(" {} {}", self.when(), self.clock(host.since));
                let room = room - self.verb().len() - 1 - when.len();
                format!("{} {}{when}", self.verb(), self.name(&host.host_id, room))
            }
            About::Digest(_) => ascii(&self.summary(), room),
        };
        format!("[hb] {what} ({})", self.id)
    }

    /// The text of an SMS: printable ASCII, at most [`limits::SMS_BYTES`], the id last.
    #[must_use]
    pub fn sms(&self) -> String {
        if self.test {
            return format!(
                "TEST, nothing has happened: {} in {}. {}",
                self.kind, self.fleet, self.id
            );
        }
        let tail = format!(". {}{}", self.id, self.again());
        let room = limits::SMS_BYTES - tail.len();
        let remark = self.remark();
        let when = format!("{} {}", self.when(), self.clock(self.since()));
        let texts = match &self.about {
            About::Host(host) => [
                self.text_of_host(host, SHORT_NAME),
                // A doubt is worth more than a reason.
                format!(
                    "{} {} {when}",
                    self.verb(),
                    self.name(&host.host_id, SHORT_NAME)
                ),
            ],
            About::Digest(members) => {
                let places = places(members, &self.sites);
                let when = format!("{} {when}", self.in_fleet());
                let around = self.verb().len() + 1 + when.len();
                let text = |room: usize| {
                    let named = self.named(&places, room.saturating_sub(around));
                    format!("{} {named}{when}", self.verb())
                };
                [text(room.saturating_sub(remark.len())), text(room)]
            }
        };
        let fits = |text: &&String| text.len() + remark.len() <= room;
        match texts.iter().find(fits) {
            Some(text) => format!("{}{remark}{tail}", ascii(text, room)),
            None => ascii(&texts[0], room) + &tail,
        }
    }

    /// The body of an e-mail: what happened, since when, the commands to look closer and to act, and the id.
    #[must_use]
    pub fn email(&self) -> String {
        if self.test {
            return format!(
                "{}\n\nnotice     {}, sent at {}\n",
                self.text(),
                self.id,
                self.at
            );
        }
        match &self.about {
            About::Host(host) => self.email_of_host(host),
            About::Digest(members) => self.email_of_digest(members),
        }
    }

    fn email_of_host(&self, host: &NoticeHost) -> String {
        let NoticeHost {
            host_id,
            since,
            last_beat,
            grace,
            message,
            details: Details { note, tags },
            ..
        } = host;
        let date = |at: &Timestamp| self.reader.tz.date(*at);
        let grace = grace.map(|grace| format!(", grace {}", human_duration(grace.duration())));
        let note = note.as_ref();
        let facts = [
            Some(("host", host_id.to_string())),
            Some(("fleet", self.fleet.to_string())),
            Some(("since", date(since))),
            Some(("last beat", date(last_beat))),
            Some(("interval", every(host) + &grace.unwrap_or_default())),
            note.map(|note| ("note", visible(note.as_str()))),
            (!tags.is_empty()).then(|| ("tags", visible(&host.details.tags()))),
            self.region_shown(),
        ];
        let said = message.as_ref();
        let said = said.filter(|said| !said.is_empty() && self.kind == Kind::Failing);
        let quoted = said.map(|said| {
            let lines = said.as_str().lines();
            let lines: Vec<_> = lines.map(|l| format!("  > {}\n", line(l, 200))).collect();
            format!("\nThe host says:\n{}", lines.concat())
        });
        let command = |verb: &str, options: &str| {
            let fleet = self.fleet_option();
            format!("{} host {verb} {host_id}{fleet}{options}", self.reader.hb)
        };
        let forget = ("gone for good?", command("forget", ""));
        let acknowledge = ("no reminders", command("ack", ""));
        let act = match self.kind {
            Kind::Missing => vec![acknowledge, forget],
            Kind::Failing => vec![acknowledge, ("no notices", command("pause", " --until 2h"))],
            Kind::Slowed => vec![("override", command("set", " --interval INTERVAL"))],
            Kind::Recovered | Kind::Registered => Vec::new(),
        };
        format!(
            "{}\n\n{}{}\n{}",
            self.text(),
            table(facts.into_iter().flatten()),
            quoted.unwrap_or_default(),
            table(
                [("look closer", command("show", ""))]
                    .into_iter()
                    .chain(act)
            ),
        ) + &self.last_line()
    }

    /// The region, where there may be several.
    fn region_shown(&self) -> Option<(&'static str, String)> {
        let several = self.region != Region::local();
        several.then(|| ("region", self.region.to_string()))
    }

    /// The id, behind everything else.
    fn last_line(&self) -> String {
        table([("notice", format!("{}{}", self.id, self.again()))].into_iter())
    }

    /// The earliest transition of its hosts.
    fn since(&self) -> Timestamp {
        match &self.about {
            About::Host(host) => host.since,
            About::Digest(members) => members
                .iter()
                .map(|member| member.since)
                .min()
                .unwrap_or(self.at),
        }
    }

    /// The host's name in a text: cut, and with its fleet unless that is `main`.
    fn name(&self, host: &HostId, room: usize) -> String {
        let fleet = if self.fleet.is_main() {
            String::new()
        } else {
            format!(" ({})", self.fleet)
        };
        ascii(host.as_str(), room - fleet.len()) + &fleet
    }

    fn fleet_option(&self) -> String {
        if self.fleet.is_main() {
            String::new()
        } else {
            format!(" --fleet {}", self.fleet)
        }
    }

    /// ` in lab`, unless it is the fleet `main`.
    fn in_fleet(&self) -> String {
        if self.fleet.is_main() {
            String::new()
        } else {
            format!(" in {}", self.fleet)
        }
    }

    /// The preposition of the instant: trouble lasts `since` then, all else happened `at` it.
    fn when(&self) -> &'static str {
        let one_failed = self.kind == Kind::Failing && matches!(self.about, About::Host(_));
        match self.severity() {
            Severity::Critical | Severity::Warning if !one_failed => "since",
            _ => "at",
        }
    }

    fn clock(&self, instant: Timestamp) -> String {
        self.reader.tz.clock(instant, self.at)
    }

    /// The caveat, as it is added to a text.
    fn remark(&self) -> String {
        match &self.caveat {
            Some(Caveat::RegionUnreachable(region)) => format!(" (region {region} is unreachable)"),
            Some(Caveat::ReceiverDown) => " (or the receiver is down)".to_owned(),
            Some(Caveat::Blackout(blackout)) => {
                let since = self.clock(blackout.since);
                let until = self.clock(blackout.until);
                format!(
                    " (the service could not receive beats from {since} to {until}; a beat may have been lost)"
                )
            }
            None => String::new(),
        }
    }

    /// The mark of a repeated attempt.
    fn again(&self) -> String {
        if self.attempt > 1 {
            format!(" (attempt {}, same id)", self.attempt)
        } else {
            String::new()
        }
    }
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Registered => "REGISTERED",
        Kind::Missing => "MISSING",
        Kind::Failing => "FAILED",
        Kind::Recovered => "RECOVERED",
        Kind::Slowed => "SLOWED",
    }
}

/// A fact or a command a line, below each other.
fn table(rows: impl Iterator<Item = (&'static str, String)>) -> String {
    let lines: Vec<_> = rows
        .map(|(name, value)| format!("{name:<16}{value}\n"))
        .collect();
    lines.concat()
}

fn every(host: &NoticeHost) -> String {
    human_duration(host.timing().usual())
}

/// Milliseconds are noise in "recovered after".
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// From ten minutes on, seconds are noise.
fn coarse(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    human_duration(if minutes < 10 {
        whole_seconds(duration)
    } else {
        Duration::from_mins(minutes)
    })
}
