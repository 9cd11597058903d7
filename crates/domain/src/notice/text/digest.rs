//! The texts of digests: how many hosts, at how many sites, and the first of them by name.

use std::collections::BTreeSet;

use super::{NAME, SHORT_NAME};
use crate::digest::Member;
use crate::host::HostId;
use crate::limits;
use crate::notice::sites::{Place, places};
use crate::notice::{About, Notice};
use crate::text::cut;
use crate::time::Timestamp;
use crate::transition::{Kind, State};

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

    /// `missing`, and of a reminder `still missing or failing`.
    pub(super) fn trouble(&self) -> String {
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
}

/// Failing hosts of a site whose reasons an e-mail has.
const REASONS: usize = 3;

/// A line of the list in an e-mail, and for a site the reasons of failing hosts.
fn entry_of_email(place: &Place<'_>) -> String {
    let text = match place {
        Place::Host(member) => {
            let mark = match (member, &member.reason) {
                (Member { back: true, .. }, _) => "  (is back)".to_owned(),
                (Member { failing: true, .. }, None) => "  (failing)".to_owned(),
                (Member { failing: true, .. }, Some(reason)) => format!("  (failing: {reason})"),
                (_, Some(reason)) => format!(": {reason}"),
                _ => String::new(),
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

fn hosts(count: usize) -> String {
    if count == 1 {
        "1 host".to_owned()
    } else {
        format!("{count} hosts")
    }
}
