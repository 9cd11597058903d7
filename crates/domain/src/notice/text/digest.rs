//! The texts of digests: how many hosts, at how many sites, and the first of them by name.

use std::collections::BTreeSet;

use super::{NAME, SHORT_NAME, table};
use crate::digest::Member;
use crate::host::HostId;
use crate::limits;
use crate::notice::sites::{Place, places};
use crate::notice::{About, Notice};
use crate::text::cut;
use crate::time::Timestamp;
use crate::transition::State;

impl Notice {
    pub(super) fn text_of_digest(&self, members: &[Member]) -> String {
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

    pub(super) fn email_of_digest(&self, members: &[Member]) -> String {
        let places = places(members, &self.sites);
        let names = places.iter().take(limits::DIGEST_NAMES);
        let names: Vec<_> = names.map(|place| self.entry_of_email(place)).collect();
        let rest = self.rest(&places, limits::DIGEST_NAMES);
        let rest = rest.map(|rest| format!("  and {rest}\n"));
        let facts = [
            Some(("fleet", self.fleet.to_string())),
            Some(("since", self.reader.tz.date(self.since()))),
            self.region_shown(),
        ];
        let command = |what: &str| format!("{} host {what}{}", self.reader.hb, self.fleet_option());
        let acknowledge = self.reminder.map(|_| ("no reminders", command("ack HOST")));
        let list = (
            "list",
            command(&format!("list{}", self.status_options(members))),
        );
        format!(
            "{}\n\n{}\n{}{}\n{}",
            self.text(),
            table(facts.into_iter().flatten()),
            names.concat(),
            rest.unwrap_or_default(),
            table([list].into_iter().chain(acknowledge)),
        ) + &self.last_line()
    }

    /// The options that list its hosts.
    fn status_options(&self, members: &[Member]) -> String {
        let states = match self.kind.leads_to() {
            State::Up => vec![],
            State::Missing if members.iter().any(|member| member.failing) => {
                vec![State::Missing, State::Failing]
            }
            state => vec![state],
        };
        let options = states.iter().map(|state| format!(" --status {state}"));
        options.collect()
    }

    /// `MISSING 812 hosts at 116 sites in lab since 10:02 UTC`.
    pub(super) fn summary(&self) -> String {
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
            "{} {}{}{}{when} {since}{back}",
            self.verb(),
            hosts(self.count() + self.unlisted()),
            self.at_sites(),
            self.in_fleet()
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
    pub(super) fn named(&self, places: &[Place<'_>], room: usize) -> String {
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

    /// How many of its hosts beat again since.
    fn back(&self) -> usize {
        match &self.about {
            About::Host(_) => 0,
            About::Digest(members) => members.iter().filter(|member| member.back).count(),
        }
    }

    /// A line of the list in an e-mail, and for a site the reasons of failing hosts.
    fn entry_of_email(&self, place: &Place<'_>) -> String {
        let date = |at: Timestamp| self.reader.tz.date(at);
        let text = match place {
            Place::Host(member) => {
                let mark = match (member, &member.reason) {
                    (Member { back: true, .. }, _) => "  (is back)".to_owned(),
                    (Member { failing: true, .. }, None) => "  (failing)".to_owned(),
                    (Member { failing: true, .. }, Some(reason)) => {
                        format!("  (failing: {reason})")
                    }
                    (_, Some(reason)) => format!(": {reason}"),
                    _ => String::new(),
                };
                format!("{}  {}{mark}", date(member.since), place.name(NAME))
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
                    date(since.unwrap_or(Timestamp::MIN)),
                    place.name(NAME),
                    place.share().unwrap_or_default(),
                    hosts.join(", ")
                )
            }
        };
        let mut lines = format!("  {}\n", cut(&text, 200));
        if let Place::Site { members, .. } = place {
            let said = members
                .iter()
                .filter_map(|member| Some((&member.host, member.reason.as_ref()?)));
            let said = said.take(REASONS);
            lines.extend(said.map(|(host, reason)| format!("    {host}: {reason}\n")));
        }
        lines
    }
}

/// Failing hosts of a site whose reasons an e-mail has.
const REASONS: usize = 3;

fn hosts(count: usize) -> String {
    if count == 1 {
        "1 host".to_owned()
    } else {
        format!("{count} hosts")
    }
}
