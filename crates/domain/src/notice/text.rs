//! Notices for people: a line, the subject and the body of an e-mail, an SMS.

use std::collections::BTreeSet;
use std::time::Duration;

use super::sites::{Place, places};
use super::{About, Notice, NoticeHost};
use crate::beat::Interval;
use crate::digest::Member;
use crate::host::HostId;
use crate::limits;
use crate::text::{ascii, cut, human_duration, human_time, line};
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind, Severity, State};

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
            interval,
            ref message,
            before,
            ..
        } = *host;
        let name = self.name(&host.host_id, NAME);
        let reason = message
            .as_ref()
            .filter(|m| !m.is_empty())
            .map(|m| format!(": {}", m.as_str()));
        let what = match self.kind {
            Kind::Registered => {
                format!(
                    "is registered: first beat at {}, then every {}",
                    self.clock(since),
                    every(interval)
                )
            }
            Kind::Missing => {
                format!(
                    "is missing: no beat since {} ({})",
                    self.clock(last_beat),
                    every(interval)
                )
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
                every(interval),
                self.clock(since),
                reason.unwrap_or_default()
            ),
        };
        let flapping = host
            .flapping
            .map(|flapping| format!("; {}", flapping.text(self.at)));
        format!("{name} {what}{}", flapping.unwrap_or_default())
    }

    fn text_of_digest(&self, members: &[Member]) -> String {
        const NAMED: usize = 5;
        let places = places(members, &self.sites);
        let name = |place: &Place<'_>| {
            let share = place.share().map(|share| format!(" ({share})"));
            place.name(SHORT_NAME) + &share.unwrap_or_default()
        };
        let names: Vec<_> = places.iter().take(NAMED).map(name).collect();
        let rest = self.rest(&places, NAMED).map(|rest| format!(" and {rest}"));
        let acknowledged = match self.reminder.map_or(0, |reminder| reminder.acknowledged) {
            0 => String::new(),
            some => format!(" ({some} more acknowledged)"),
        };
        format!(
            "{}: {}{}{acknowledged}",
            self.summary(),
            names.join(", "),
            rest.unwrap_or_default()
        )
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
            interval,
            ref message,
            ..
        } = *host;
        let fleet = self.fleet_option();
        let said = message
            .as_ref()
            .filter(|m| !m.is_empty() && self.kind == Kind::Failing);
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
             interval   {}\nregion     {}\nnotice     {}, attempt {}\n{}\n\
             look:      hb host show {host_id}{fleet}\n{act}\n",
            self.text(),
            self.fleet,
            every(interval),
            self.region,
            self.id,
            self.attempt,
            quoted.unwrap_or_default(),
        )
    }

    fn email_of_digest(&self, members: &[Member]) -> String {
        let places = places(members, &self.sites);
        let names = places.iter().take(limits::DIGEST_NAMES);
        let names: Vec<_> = names.map(entry_of_email).collect();
        let rest = self.rest(&places, limits::DIGEST_NAMES);
        let rest = rest.map(|rest| format!("  and {rest}\n"));
        let rest = rest.unwrap_or_default();
        let silence = match self.reminder {
            Some(_) => format!("silence:   hb host ack HOST{}\n", self.fleet_option()),
            None => String::new(),
        };
        let status = match self.kind.leads_to() {
            State::Up => String::new(),
            state => format!(" --status {state}"),
        };
        format!(
            "{}\n\nfleet      {}\nsince      {}\nregion     {}\nnotice     {}, attempt {}\n\n{}{rest}\n\
             list:      hb host list{status}{}\n{silence}",
            self.text(),
            self.fleet,
            self.since(),
            self.region,
            self.id,
            self.attempt,
            names.concat(),
            self.fleet_option(),
        )
    }

    /// `812 hosts at 116 sites missing in main since 10:02 UTC`.
    fn summary(&self) -> String {
        let since = self.clock(self.since());
        let when = match self.reminder {
            Some(_) if self.count() > 1 => ", the first since",
            _ => &format!(" {}", self.when()),
        };
        let back = match self.back() {
            0 => String::new(),
            back => format!(", {back} back by now"),
        };
        format!(
            "{}{} {} in {}{when} {since}{back}",
            hosts(self.count() + self.unlisted()),
            self.at_sites(),
            self.trouble(),
            self.fleet
        )
    }

    /// ` at 12 sites`, when all of its hosts are at one.
    fn at_sites(&self) -> String {
        let sites: Option<BTreeSet<_>> = self.host_ids().map(HostId::site).collect();
        match sites.map(|sites| sites.len()) {
            None => String::new(),
            Some(1) => " at 1 site".to_owned(),
            Some(sites) => format!(" at {sites} sites"),
        }
    }

    /// `3 hosts (web-01, web-02 and 1 more)`: as many names as there is room for.
    fn named(&self, places: &[Place<'_>], room: usize) -> String {
        let count = hosts(self.count() + self.unlisted());
        let name = |place: &Place<'_>| match place.share() {
            Some(share) => format!("{} {share}", place.name(SHORT_NAME)),
            None => place.name(SHORT_NAME),
        };
        let names: Vec<_> = places.iter().take(room).map(name).collect();
        let text = |named: usize| match self.rest(places, named) {
            None => format!("{count} ({})", names.join(", ")),
            Some(rest) => format!("{count} ({} and {rest})", names[..named].join(", ")),
        };
        let texts = (1..=names.len()).rev().map(text);
        texts
            .into_iter()
            .find(|text| text.len() <= room)
            .unwrap_or(count)
    }

    /// The hosts that are not named when so many places are: `7 more`, and `7 more hosts` behind the name of a site.
    fn rest(&self, places: &[Place<'_>], named: usize) -> Option<String> {
        let rest = places.get(named..).unwrap_or_default();
        let rest = rest.iter().map(Place::hosts).sum::<usize>() + self.unlisted();
        let is_site = |place: &Place<'_>| matches!(place, Place::Site { .. });
        let of_what = if places.iter().take(named).any(is_site) {
            " hosts"
        } else {
            ""
        };
        (rest > 0).then(|| format!("{rest} more{of_what}"))
    }

    /// Hosts that are still in trouble, for which a reminder has no room.
    fn unlisted(&self) -> usize {
        self.reminder.map_or(0, |reminder| reminder.more)
    }

    /// `missing`, and of a reminder `still missing or failing`.
    fn trouble(&self) -> String {
        let About::Digest(members) = &self.about else {
            return self.kind.to_string();
        };
        let mixed = members.iter().any(|member| member.failing) && self.kind == Kind::Missing;
        match self.reminder {
            None => self.kind.to_string(),
            Some(_) if mixed => "still missing or failing".to_owned(),
            Some(_) => format!("still {}", self.kind),
        }
    }

    /// How many of its hosts beat again since.
    fn back(&self) -> usize {
        match &self.about {
            About::Host(_) => 0,
            About::Digest(members) => members.iter().filter(|member| member.back).count(),
        }
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

/// A line of the list in an e-mail.
fn entry_of_email(place: &Place<'_>) -> String {
    let text = match place {
        Place::Host(member) => {
            let mark = match member {
                Member { back: true, .. } => "  (is back)",
                Member { failing: true, .. } => "  (failing)",
                _ => "",
            };
            format!("{}  {}{mark}", member.since, place.name(NAME))
        }
        Place::Site { name, members, .. } => {
            let since = members.iter().map(|member| member.since).min();
            let marks = [
                (
                    "back by now",
                    members.iter().filter(|member| member.back).count(),
                ),
                (
                    "failing",
                    members.iter().filter(|member| member.failing).count(),
                ),
            ];
            let marks = marks.into_iter().filter(|(_, count)| *count > 0);
            let marks: Vec<_> = marks
                .map(|(mark, count)| format!(", {count} {mark}"))
                .collect();
            let marks = marks.concat();
            // Behind the site and its slash.
            let hosts = members
                .iter()
                .map(|member| &member.host.as_str()[name.len() + 1..]);
            let hosts: Vec<_> = hosts.collect();
            format!(
                "{}  {} ({}{marks}): {}",
                since.unwrap_or(Timestamp::MIN),
                place.name(NAME),
                place.share().unwrap_or_default(),
                hosts.join(", ")
            )
        }
    };
    format!("  {}\n", cut(&text, 200))
}

fn hosts(count: usize) -> String {
    if count == 1 {
        "1 host".to_owned()
    } else {
        format!("{count} hosts")
    }
}

fn every(interval: Interval) -> String {
    human_duration(interval.duration())
}

/// Milliseconds are noise in "recovered after".
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
