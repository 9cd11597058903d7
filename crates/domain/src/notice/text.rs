//! Notices for people: a line, the subject and the body of an e-mail, an SMS.

mod digest;

use std::time::Duration;

use super::sites::places;
use super::{About, Notice, NoticeHost};
use crate::details::Details;
use crate::host::HostId;
use crate::limits;
use crate::text::{ascii, human_duration, human_time, line, visible};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind, Severity};

/// Longest name of a host in a line, in characters.
const NAME: usize = 100;
/// Longest name of a host in the line of a digest.
const SHORT_NAME: usize = 40;

impl Notice {
    /// One line for people: `web-01 is missing: no beat since 09:52 UTC (10 min)`, or
    /// `812 hosts missing in main since 10:02 UTC: web-01, web-02 and 810 more`.
    #[must_use]
    pub fn text(&self) -> String {
        if self.test {
            let (kind, fleet, region) = (self.kind, &self.fleet, &self.region);
            return format!(
                "TEST, nothing has happened: notices of kind {kind} in fleet {fleet} arrive here, from region {region}"
            );
        }
        let text = match &self.about {
            About::Host(host) => self.text_of_host(host),
            About::Digest(members) => self.text_of_digest(members),
        };
        let tail = format!("{}{}", self.remark(), self.again());
        line(&text, limits::TEXT_CHARS - tail.chars().count()) + &tail
    }

    fn text_of_host(&self, host: &NoticeHost) -> String {
        let NoticeHost {
            since,
            last_beat,
            grace,
            ref message,
            before,
            ..
        } = *host;
        let name = self.name(&host.host_id, NAME);
        let reason = message
            .as_ref()
            .filter(|m| !m.is_empty())
            .map(|m| format!(": {}", m.headline()));
        let what = match self.kind {
            Kind::Registered => {
                let next = if grace.is_some() {
                    let expected = last_beat.plus(host.timing().usual());
                    format!("the next is expected at {}", self.clock(expected))
                } else {
                    format!("then every {}", every(host))
                };
                format!("is registered: first beat at {}, {next}", self.clock(since))
            }
            Kind::Missing => {
                let last = self.clock(last_beat);
                match (reason, grace) {
                    (Some(reason), _) => format!("is missing{reason}"),
                    (None, None) => format!("is missing: no beat since {last} ({})", every(host)),
                    (None, Some(grace)) => format!(
                        "is missing: no beat since {last}, expected at {} (grace {})",
                        self.clock(since.minus(grace.duration())),
                        human_duration(grace.duration())
                    ),
                }
            }
            Kind::Failing => format!(
                "is failing since {}{}",
                self.clock(since),
                reason.unwrap_or_default()
            ),
            Kind::Recovered => match before {
                Some((kind, from)) => {
                    let lasted = human_duration(whole_seconds(since.since(from)));
                    format!("recovered at {}, after {lasted} {kind}", self.clock(since))
                }
                None => format!("recovered at {}", self.clock(since)),
            },
            Kind::Slowed => format!(
                "beats only every {} since {}{}",
                every(host),
                self.clock(since),
                reason.unwrap_or_default()
            ),
        };
        let flapping = host
            .flapping
            .map(|flapping| format!("; {}", flapping.text(self.at)));
        let note = host.details.note.as_ref();
        let note = note.map(|note| format!("; note: {}", note.as_str()));
        let more = [flapping, note].map(Option::unwrap_or_default).concat();
        format!("{name} {what}{more}")
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
        let About::Host(host) = &self.about else {
            let room = limits::SUBJECT_CHARS - "[hb]  ()".len() - self.id.as_str().len();
            return format!("[hb] {} ({})", ascii(&self.summary(), room), self.id);
        };
        let rest = format!(
            " {} {} {} ({})",
            self.kind,
            self.when(),
            self.clock(host.since),
            self.id
        );
        let room = limits::SUBJECT_CHARS - "[hb] ".len() - rest.len();
        format!("[hb] {}{rest}", self.name(&host.host_id, room))
    }

    /// The text of an SMS: printable ASCII, at most [`limits::SMS_BYTES`].
    #[must_use]
    pub fn sms(&self) -> String {
        if self.test {
            return format!(
                "hb: TEST, nothing has happened: {} in {}. {}",
                self.kind, self.fleet, self.id
            );
        }
        let (when, since) = (self.when(), human_time(self.since(), self.at));
        let rest = format!(
            " {}, {}, {when} {since}Z. {}{}",
            self.trouble(),
            self.fleet,
            self.id,
            self.again()
        );
        let room = limits::SMS_BYTES - "hb: ".len() - rest.len();
        let remark = self.remark();
        let who = match &self.about {
            About::Host(host) => ascii(host.host_id.as_str(), room),
            About::Digest(members) => {
                let places = places(members, &self.sites);
                self.named(&places, room.saturating_sub(remark.len()))
            }
        };
        if who.len() + remark.len() <= room {
            format!("hb: {who}{rest}{remark}")
        } else {
            format!("hb: {who}{rest}")
        }
    }

    /// The body of an e-mail: what happened, since when, and the commands to look closer and to pause notices.
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
            ref host_id,
            since,
            last_beat,
            grace,
            ref message,
            ..
        } = *host;
        let grace = grace.map(|grace| format!(", grace {}", human_duration(grace.duration())));
        let fleet = self.fleet_option();
        let said = message
            .as_ref()
            .filter(|m| !m.is_empty() && self.kind == Kind::Failing);
        let Details { note, tags } = &host.details;
        let note = note
            .as_ref()
            .map(|note| format!("note       {}\n", line(note.as_str(), limits::NOTE_CHARS)));
        let tags =
            (!tags.is_empty()).then(|| format!("tags       {}\n", visible(&host.details.tags())));
        let details = [note, tags].map(Option::unwrap_or_default).concat();
        let quoted = said.map(|m| {
            let lines: Vec<_> = m
                .as_str()
                .lines()
                .map(|l| format!("  > {}\n", line(l, 200)))
                .collect();
            format!("\nThe host says:\n{}", lines.concat())
        });
        let act = match self.kind {
            Kind::Slowed => format!("override:  hb host set {host_id}{fleet} --interval INTERVAL"),
            _ => format!("silence:   hb host pause {host_id}{fleet} --until 2h"),
        };
        format!(
            "{}\n\nhost       {host_id}\nfleet      {}\nsince      {since}\nlast beat  {last_beat}\n\
             interval   {}{}\n{details}region     {}\nnotice     {}, attempt {}\n{}\n\
             look:      hb host show {host_id}{fleet}\n{act}\n",
            self.text(),
            self.fleet,
            every(host),
            grace.unwrap_or_default(),
            self.region,
            self.id,
            self.attempt,
            quoted.unwrap_or_default(),
        )
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

    /// The preposition of the instant: trouble lasts `since` then, a recovery happened `at` it.
    fn when(&self) -> &'static str {
        match self.severity() {
            Severity::Critical | Severity::Warning => "since",
            Severity::Info => "at",
        }
    }

    fn clock(&self, instant: Timestamp) -> String {
        human_time(instant, self.at) + " UTC"
    }

    /// The caveat, as it is added to a text.
    fn remark(&self) -> String {
        match &self.caveat {
            Some(Caveat::RegionUnreachable(region)) => format!(" (region {region} is unreachable)"),
            Some(Caveat::ReceiverDown) => " (or the receiver is down)".to_owned(),
            Some(Caveat::Blackout(blackout)) => {
                let since = human_time(blackout.since, self.at);
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

fn every(host: &NoticeHost) -> String {
    human_duration(host.timing().usual())
}

/// Milliseconds are noise in "recovered after".
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
