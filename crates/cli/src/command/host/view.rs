//! A host as it is shown.

use hb_domain::{Blackout, Heartbeat, HostKey, State, Timestamp, Transition, human_duration};
use hb_service::admin::HostView;
use serde::Serialize;

use crate::output::{self, Row, instant, or_dash};

/// A host as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostRow {
    host_id: String,
    fleet: String,
    state: State,
    first_beat: Option<String>,
    last_beat: Option<String>,
    interval_ms: Option<u64>,
    deadline: Option<String>,
    paused_until: Option<String>,
    #[serde(skip)]
    view: HostView,
}

impl HostRow {
    pub(super) fn new(view: HostView, now: Timestamp) -> Self {
        let beats = view.heartbeat.as_ref();
        let settings = &view.settings;
        let pause = settings.pause.filter(|_| settings.is_paused(now));
        Self {
            host_id: view.key.host.to_string(),
            fleet: view.key.fleet.to_string(),
            state: view.state,
            first_beat: beats.map(|beats| beats.first.to_string()),
            last_beat: beats.map(|beats| beats.last.to_string()),
            interval_ms: settings
                .interval
                .or(beats.map(|beats| beats.interval))
                .map(Into::into),
            deadline: view.deadline.map(|deadline| deadline.to_string()),
            paused_until: pause
                .and_then(|pause| pause.until)
                .map(|until| until.to_string()),
            view,
        }
    }

    /// Which host.
    pub(super) fn key(&self) -> &HostKey {
        &self.view.key
    }

    fn interval(&self) -> String {
        or_dash(
            self.interval_ms
                .map(|millis| human_duration(std::time::Duration::from_millis(millis))),
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
        let (host, fleet) = (self.host_id.clone(), self.fleet.clone());
        vec![
            host,
            fleet,
            self.state.to_string(),
            shown(last),
            self.interval(),
            shown(self.view.deadline),
        ]
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
    transitions: Vec<TransitionRow>,
    /// When nobody could hear it, since its last beat.
    blackouts: Vec<BlackoutRow>,
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
    /// When the topic had its notice.
    told: Option<String>,
    /// In which digest.
    digest: Option<String>,
}

impl From<&Transition> for TransitionRow {
    fn from(told: &Transition) -> Self {
        Self {
            epoch: told.epoch,
            kind: told.kind.as_str(),
            since: told.since.to_string(),
            decided: told.at.to_string(),
            message: told
                .message
                .as_ref()
                .map(|message| message.as_str().to_owned()),
            told: told.accepted.as_ref().map(|last| last.at.to_string()),
            digest: told
                .accepted
                .as_ref()
                .and_then(|told| Some(told.digest.as_ref()?.to_string())),
        }
    }
}

impl HostDetails {
    pub(super) fn new(view: HostView, now: Timestamp) -> Self {
        let entry = view.entry.as_ref();
        let failure =
            |beats: &Heartbeat| beats.failure.as_ref().map(|failure| failure.at.to_string());
        Self {
            epoch: entry.map_or(0, |entry| entry.epoch),
            notice_pending: entry.is_some_and(|entry| entry.pending.is_some()),
            last_failure: view.heartbeat.as_ref().and_then(failure),
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
            row: HostRow::new(view, now),
        }
    }

    pub(super) fn text(&self, now: Timestamp) -> String {
        let (row, view) = (&self.row, &self.row.view);
        let shown = |at: Option<Timestamp>| or_dash(at.map(|at| instant(at, now)));
        let beats = view.heartbeat.as_ref();
        let mut facts = vec![
            ("host", row.host_id.clone()),
            ("fleet", row.fleet.clone()),
            ("state", row.state.to_string()),
            ("last beat", shown(beats.map(|beats| beats.last))),
            ("first beat", shown(beats.map(|beats| beats.first))),
            ("interval", row.interval()),
            (
                "deadline",
                or_dash(view.deadline.map(|at| output::instant_here(at, now))),
            ),
        ];
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
        if let Some(failure) = beats.and_then(|beats| beats.failure.as_ref()) {
            facts.push(("last failure", instant(failure.at, now)));
        }
        for Blackout { since, until } in &view.blackouts {
            let times = format!("from {} to {}", instant(*since, now), instant(*until, now));
            facts.push(("nobody heard", times));
        }
        if self.notice_pending {
            let pending = view.entry.as_ref().and_then(|entry| entry.history.last());
            let what = pending.map(|told| format!("{} is yet to be told", told.kind));
            facts.push(("notice", what.unwrap_or_else(|| "pending".to_owned())));
        }
        let facts: Vec<_> = facts
            .into_iter()
            .map(|(name, fact)| format!("{name:<14}{fact}"))
            .collect();
        if self.transitions.is_empty() {
            return facts.join("\n");
        }
        let cells = |told: &TransitionRow| {
            let message = told
                .message
                .as_ref()
                .map(|message| message.replace('\n', " "));
            vec![
                told.epoch.to_string(),
                told.kind.to_owned(),
                told.since.clone(),
                told.decided.clone(),
                or_dash(message),
            ]
        };
        let head = ["EPOCH", "TRANSITION", "SINCE", "DECIDED", "MESSAGE"];
        format!(
            "{}\n\n{}",
            facts.join("\n"),
            output::table(&head, self.transitions.iter().rev().map(cells))
        )
    }
}
