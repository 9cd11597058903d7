//! A host as it is shown.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use hb_domain::{
    Acknowledgement, Blackout, Heartbeat, HostKey, KeyId, Note, State, Timestamp, Timing,
    Transition, Window, human_duration, visible,
};
use hb_service::admin::HostView;
use serde::Serialize;

use crate::output::{self, Row, instant, or_dash};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostRow {
    host_id: String,
    fleet: String,
    state: State,
    first_beat: Option<String>,
    last_beat: Option<String>,
    /// Of one that sent a schedule, from its last beat until the next is expected; `None` if an admin set one.
    interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_ms: Option<u64>,
    /// Set by an admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tz: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    deadline: Option<String>,
    paused_until: Option<String>,
    /// While it is missing or failing and somebody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Acknowledged>,
    /// While it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    maintenance: Option<InMaintenance>,
    /// Until its first beat, since when that is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip)]
    view: HostView,
}

/// Until people know that it recovered, a host that did still has it.
fn acknowledgement(view: &HostView) -> Option<&Acknowledgement> {
    let acknowledged = view.settings.acknowledged.as_ref();
    acknowledged.filter(|_| view.state.is_trouble())
}

/// Until people know of its first beat, a host that was heard still has it.
fn expected_since(view: &HostView) -> Option<Timestamp> {
    let never_heard = view.heartbeat.is_none();
    view.settings.expected.filter(|_| never_heard)
}

fn note(view: &HostView) -> Option<String> {
    let note = view.details.note.as_ref();
    note.map(|note| visible(note.as_str()))
}

fn tags(view: &HostView) -> BTreeMap<String, String> {
    let tags = view.details.tags.iter();
    tags.map(|(name, value)| (name.to_string(), visible(value.as_str())))
        .collect()
}

#[derive(Serialize)]
struct Acknowledged {
    at: String,
    note: Option<String>,
}

impl From<&Acknowledgement> for Acknowledged {
    fn from(Acknowledgement { at, note }: &Acknowledgement) -> Self {
        Self {
            at: at.to_string(),
            note: note.as_ref().map(|note| visible(note.as_str())),
        }
    }
}

/// The maintenance window in which a host is.
#[derive(Serialize)]
struct InMaintenance {
    id: String,
    until: String,
    note: Option<String>,
}

impl From<&(Window, Blackout)> for InMaintenance {
    fn from((window, open): &(Window, Blackout)) -> Self {
        let note = window.note.as_ref();
        Self {
            id: window.id.to_string(),
            until: open.until.to_string(),
            note: note.map(|note| visible(note.as_str())),
        }
    }
}

impl HostRow {
    pub(super) fn new(view: HostView) -> Self {
        let beats = view.heartbeat.as_ref();
        let settings = &view.settings;
        let pause = settings.pause.filter(|_| view.state == State::Paused);
        let timing = view.timing.filter(|_| settings.schedule.is_none());
        let set = settings.interval.map(Into::into);
        Self {
            host_id: view.key.host.to_string(),
            fleet: view.key.fleet.to_string(),
            state: view.state,
            first_beat: beats.map(|beats| beats.first.to_string()),
            last_beat: beats.map(|beats| beats.last.to_string()),
            interval_ms: timing.map(Timing::usual_millis).or(set),
            grace_ms: view.timing.and_then(|timing| timing.grace).map(Into::into),
            schedule: settings.schedule.as_ref().map(ToString::to_string),
            tz: settings
                .schedule
                .as_ref()
                .map(|_| settings.tz().to_string()),
            late: view.late,
            deadline: view.deadline.map(|deadline| deadline.to_string()),
            paused_until: pause
                .and_then(|pause| pause.until)
                .map(|until| until.to_string()),
            acknowledged: acknowledgement(&view).map(Into::into),
            maintenance: view.window.as_ref().map(Into::into),
            expected_since: expected_since(&view).map(|since| since.to_string()),
            note: note(&view),
            tags: tags(&view),
            view,
        }
    }

    pub(super) fn key(&self) -> &HostKey {
        &self.view.key
    }

    /// `up`, or `up, late`; `missing`, or `missing, acked, maintenance`; `paused until ...`.
    fn state(&self, now: Timestamp) -> String {
        let pause = self.view.settings.pause;
        let pause = pause.filter(|_| self.state == State::Paused);
        if let Some(until) = pause.and_then(|pause| pause.until) {
            return if output::is_narrow() {
                format!("paused, {} left", brief(until.since(now)))
            } else {
                format!("paused until {until}")
            };
        }
        let acked = self.acknowledged.as_ref().map_or("", |_| ", acked");
        let maintenance = self.maintenance.as_ref().map_or("", |_| ", maintenance");
        let late = if self.late { ", late" } else { "" };
        format!("{}{late}{acked}{maintenance}", self.state)
    }

    fn interval(&self) -> String {
        or_dash(
            self.interval_ms
                .map(|millis| human_duration(Duration::from_millis(millis))),
        )
    }
}

impl Row for HostRow {
    const HEAD: &'static [&'static str] = &[
        "HOST",
        "FLEET",
        "STATE",
        "LAST BEAT",
        "INTERVAL",
        "DEADLINE",
    ];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let shown = |at: Option<Timestamp>| or_dash(at.map(|at| instant(at, now)));
        let last = self.view.heartbeat.as_ref().map(|beats| beats.last);
        vec![
            self.host_id.clone(),
            self.fleet.clone(),
            self.state(now),
            shown(last),
            self.interval(),
            shown(self.view.deadline),
        ]
    }

    const NARROW_HEAD: &'static [&'static str] = &["STATE", "LAST BEAT", "HOST"];

    fn narrow_cells(&self, now: Timestamp) -> Vec<String> {
        let last = self.view.heartbeat.as_ref().map(|beats| beats.last);
        let last = or_dash(last.map(|last| brief(now.since(last)) + " ago"));
        vec![self.state(now), last, self.view.key.short()]
    }

    fn style(&self) -> Style {
        match self.state {
            State::Missing => AnsiColor::Red.on_default().bold(),
            State::Failing => AnsiColor::Yellow.on_default(),
            State::Up => Style::new(),
            State::Paused | State::Expected | State::Forgotten => Style::new().dimmed(),
        }
    }
}

/// One host with its history.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostDetails {
    #[serde(flatten)]
    row: HostRow,
    epoch: u64,
    notice_pending: bool,
    last_failure: Option<String>,
    /// The id of the key of its last beat.
    key: Option<KeyId>,
    /// Where its last beat came from.
    address: Option<IpAddr>,
    /// The last run of its job, if it sends `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_log: Option<LogRow>,
    transitions: Vec<TransitionRow>,
    /// When no beat could be received, since its last beat.
    blackouts: Vec<BlackoutRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunRow {
    since: String,
    max_ms: Option<u64>,
    /// `None` while it goes on.
    took_ms: Option<u64>,
}

#[derive(Serialize)]
struct LogRow {
    at: String,
    message: String,
}

#[derive(Serialize)]
struct BlackoutRow {
    since: String,
    until: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransitionRow {
    epoch: u64,
    kind: &'static str,
    since: String,
    decided: String,
    message: Option<String>,
    /// When the topic accepted its notice.
    notified: Option<String>,
    /// The digest that its notice was part of.
    digest: Option<String>,
    /// Whether nobody gets its notice, because what it says was over before that was sent.
    withdrawn: bool,
}

impl From<&Transition> for TransitionRow {
    fn from(transition: &Transition) -> Self {
        let message = transition.message.as_ref();
        let accepted = transition.accepted.as_ref();
        let digest = accepted.and_then(|accepted| accepted.digest.as_ref());
        Self {
            epoch: transition.epoch,
            kind: transition.kind.as_str(),
            since: transition.since.to_string(),
            decided: transition.at.to_string(),
            message: message.map(|message| message.as_str().to_owned()),
            notified: accepted.map(|accepted| accepted.at.to_string()),
            digest: digest.map(ToString::to_string),
            withdrawn: transition.withdrawn,
        }
    }
}

/// A duration in its largest unit: `2 h`.
fn brief(duration: Duration) -> String {
    let text = human_duration(Duration::from_secs(duration.as_secs()));
    let words: Vec<_> = text.split_whitespace().take(2).collect();
    words.join(" ")
}

/// A transition where little fits: `12 min ago  missing`, and its message on a line of its own.
fn narrow(transition: &Transition, now: Timestamp) -> String {
    let since = output::relative(transition.since, now);
    let withdrawn = if transition.withdrawn {
        " (withdrawn)"
    } else {
        ""
    };
    let message = transition.message.as_ref();
    let message = message.map(|message| format!("\n  {}", message.headline()));
    let message = message.unwrap_or_default();
    format!("{since:<16}{}{withdrawn}{message}", transition.kind)
}

/// A note as it stands behind what it is about.
fn behind(note: Option<&Note>) -> String {
    let note = note.map(|note| format!(": {}", visible(note.as_str())));
    note.unwrap_or_default()
}

fn run(beats: &Heartbeat) -> Option<RunRow> {
    let run = beats.run?;
    let took = beats.last_took();
    Some(RunRow {
        since: run.at.to_string(),
        max_ms: run.limit.map(Into::into),
        took_ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn logged(beats: &Heartbeat) -> Option<LogRow> {
    let log = beats.log.as_ref()?;
    Some(LogRow {
        at: log.at.to_string(),
        message: visible(log.message.as_str()),
    })
}

impl HostDetails {
    pub(super) fn new(view: HostView) -> Self {
        let entry = view.entry.as_ref();
        let failure =
            |beats: &Heartbeat| beats.failure.as_ref().map(|failure| failure.at.to_string());
        Self {
            epoch: entry.map_or(0, |entry| entry.epoch),
            notice_pending: entry.is_some_and(|entry| entry.pending.is_some()),
            last_failure: view.heartbeat.as_ref().and_then(failure),
            key: view.heartbeat.as_ref().and_then(|beats| beats.key),
            address: view.heartbeat.as_ref().and_then(|beats| beats.address),
            run: view.heartbeat.as_ref().and_then(run),
            last_log: view.heartbeat.as_ref().and_then(logged),
            transitions: entry
                .into_iter()
                .flat_map(|entry| &entry.history)
                .map(Into::into)
                .collect(),
            blackouts: view
                .blackouts
                .iter()
                .map(|Blackout { since, until }| BlackoutRow {
                    since: since.to_string(),
                    until: until.to_string(),
                })
                .collect(),
            row: HostRow::new(view),
        }
    }

    /// What stands above the transitions.
    fn facts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let (row, view) = (&self.row, &self.row.view);
        let shown = |at: Option<Timestamp>| or_dash(at.map(|at| instant(at, now)));
        let beats = view.heartbeat.as_ref();
        let mut facts = vec![
            ("host", row.host_id.clone()),
            ("fleet", row.fleet.clone()),
            (
                "state",
                if row.late {
                    "up, late".to_owned()
                } else {
                    row.state.to_string()
                },
            ),
            ("last beat", shown(beats.map(|beats| beats.last))),
            ("first beat", shown(beats.map(|beats| beats.first))),
            match (&row.schedule, &row.tz) {
                (Some(schedule), Some(tz)) => ("schedule", format!("{schedule} {tz}")),
                _ => ("interval", row.interval()),
            },
            (
                "deadline",
                or_dash(view.deadline.map(|at| output::instant_here(at, now))),
            ),
        ];
        if let Some(since) = expected_since(view) {
            facts.push((
                "never heard",
                format!("expected since {}", instant(since, now)),
            ));
        }
        if let Some(note) = &row.note {
            facts.push(("note", note.clone()));
        }
        if !row.tags.is_empty() {
            facts.push(("tags", visible(&view.details.tags())));
        }
        if let Some((expected, grace)) = view.expected.zip(row.grace_ms) {
            let expected = output::instant_here(expected, now);
            let grace = human_duration(Duration::from_millis(grace));
            facts.push(("expected", format!("{expected}, grace {grace}")));
        }
        if let Some(Acknowledgement { at, note }) = acknowledgement(view) {
            facts.push(("acknowledged", instant(*at, now) + &behind(note.as_ref())));
        }
        if let Some((window, open)) = &view.window {
            let until = output::instant_here(open.until, now);
            let note = behind(window.note.as_ref());
            facts.push((
                "maintenance",
                format!("until {until}, window {}{note}", window.id),
            ));
        }
        if row.state == State::Paused {
            let until = view
                .settings
                .pause
                .and_then(|pause| pause.until)
                .map(|at| output::instant_here(at, now));
            facts.push((
                "paused until",
                until.unwrap_or_else(|| "`hb host resume`".to_owned()),
            ));
        }
        if let Some(run) = beats.and_then(|beats| beats.run) {
            let took = beats.and_then(Heartbeat::last_took);
            let since = instant(run.at, now);
            facts.push(match took {
                None => ("running", format!("since {since}")),
                Some(took) => (
                    "last run",
                    format!("{since}, took {}", human_duration(took)),
                ),
            });
        }
        if let Some(log) = beats.and_then(|beats| beats.log.as_ref()) {
            let words = visible(log.message.as_str()).replace('\n', " ");
            facts.push(("last log", format!("{}: {words}", instant(log.at, now))));
        }
        if let Some(failure) = beats.and_then(|beats| beats.failure.as_ref()) {
            facts.push(("last failure", instant(failure.at, now)));
        }
        if let Some(key) = self.key {
            facts.push(("key", key.to_string()));
        }
        if let Some(address) = self.address {
            facts.push(("address", address.to_string()));
        }
        for Blackout { since, until } in &view.blackouts {
            let times = format!("from {} to {}", instant(*since, now), instant(*until, now));
            facts.push(("blackout", times));
        }
        if self.notice_pending {
            let pending = view.entry.as_ref().and_then(|entry| entry.history.last());
            let what = pending.map(|pending| format!("{} notification pending", pending.kind));
            facts.push(("notice", what.unwrap_or_else(|| "pending".to_owned())));
        }
        facts
    }

    pub(super) fn text(&self, now: Timestamp) -> String {
        let any = !self.transitions.is_empty();
        output::details(self.facts(now), any.then(|| self.history(now)))
    }

    /// The transitions, the last one first.
    fn history(&self, now: Timestamp) -> String {
        if output::is_narrow() {
            let history = self.row.view.entry.iter().flat_map(|entry| &entry.history);
            let lines = history.rev().map(|transition| narrow(transition, now));
            return lines.collect::<Vec<_>>().join("\n");
        }
        let cells = |row: &TransitionRow| {
            vec![
                row.epoch.to_string(),
                if row.withdrawn {
                    format!("{} (withdrawn)", row.kind)
                } else {
                    row.kind.to_owned()
                },
                row.since.clone(),
                row.decided.clone(),
                or_dash(row.message.clone()),
            ]
        };
        let head = ["EPOCH", "TRANSITION", "SINCE", "DECIDED", "MESSAGE"];
        let rows: Vec<_> = self.transitions.iter().rev().map(cells).collect();
        output::table(&head, &rows)
    }
}
