//! `hb maintenance`.

use std::time::Duration;

use hb_domain::{
    Blackout, Fleet, HostPrefix, Schedule, Times, Timestamp, Window, WindowId, Zone,
    human_duration, visible,
};
use serde::Serialize;

use super::report_unreadable;
use crate::args::{MaintenanceCommand, Until, WindowArgs};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format, Row, instant_here, or_dash};

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: MaintenanceCommand,
) -> Result<(), Failure> {
    let fleets = backend.fleets();
    let now = backend.ports.clock.now();
    match command {
        MaintenanceCommand::Add(args) => {
            let times = times(&args, now);
            let WindowArgs {
                fleet,
                host_prefixes,
                note,
                ..
            } = args;
            let window = fleets
                .add_window(&fleet, host_prefixes, times, note)
                .await?;
            let row = WindowRow::new(fleet, window, now);
            output::one(format, row.id.as_str(), &row)?;
            if format == Format::Table {
                output::remark(&row.state(now));
            }
            Ok(())
        }
        MaintenanceCommand::List { fleet } => {
            let (windows, unreadable) = fleets.windows().await?;
            report_unreadable("fleet", &unreadable);
            let wanted = |one: &Fleet| fleet.as_ref().is_none_or(|fleet| fleet == one);
            let rows = windows.into_iter().filter(|(fleet, _)| wanted(fleet));
            let rows: Vec<_> = rows
                .map(|(fleet, window)| WindowRow::new(fleet, window, now))
                .collect();
            Ok(output::rows(format, &rows, now)?)
        }
        MaintenanceCommand::Remove { id } => {
            let (fleet, window) = fleets.remove_window(&id).await?;
            let row = WindowRow::new(fleet, window, now);
            let text = format!("removed {} of fleet {}", row.id, row.fleet);
            Ok(output::one(format, &text, &row)?)
        }
    }
}

/// When the window is open, as the arguments say, which fit together.
fn times(args: &WindowArgs, now: Timestamp) -> Times {
    let at = |time: Until| time.instant(now);
    let long = args.long.unwrap_or_default();
    if let Some(cron) = args.cron.clone() {
        return Times::Repeated {
            cron,
            tz: args.tz.clone(),
            for_ms: u64::try_from(long.as_millis()).unwrap_or(u64::MAX),
        };
    }
    let since = args.from.map_or(now, at);
    let until = args.until.map_or(since.plus(long), at);
    Times::Once(Blackout { since, until })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WindowRow {
    id: WindowId,
    fleet: Fleet,
    host_prefixes: Vec<HostPrefix>,
    /// Of one that opens again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<Schedule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tz: Option<Zone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    open: bool,
    /// When it is open now, or next; `None` when it is over.
    from: Option<String>,
    until: Option<String>,
    note: Option<String>,
    #[serde(skip)]
    next: Option<Blackout>,
}

impl WindowRow {
    fn new(fleet: Fleet, window: Window, now: Timestamp) -> Self {
        let next = window.times.next(now);
        let (cron, tz, for_ms) = match window.times {
            Times::Once(_) => (None, None, None),
            Times::Repeated { cron, tz, for_ms } => (Some(cron), Some(tz), Some(for_ms)),
        };
        Self {
            id: window.id,
            fleet,
            host_prefixes: window.host_prefixes,
            cron,
            tz,
            for_ms,
            open: next.is_some_and(|next| next.since <= now),
            from: next.map(|next| next.since.to_string()),
            until: next.map(|next| next.until.to_string()),
            note: window.note.map(|note| visible(note.as_str())),
            next,
        }
    }

    fn state(&self, now: Timestamp) -> String {
        match self.next {
            None => "over".to_owned(),
            Some(next) if self.open => format!("open until {}", instant_here(next.until, now)),
            Some(next) => {
                let long = human_duration(next.until.since(next.since));
                format!("opens {} for {long}", instant_here(next.since, now))
            }
        }
    }

    /// `0 2 * * 0 Europe/Berlin, 2 h`.
    fn schedule(&self) -> Option<String> {
        let (cron, tz, for_ms) = (self.cron.as_ref()?, self.tz.as_ref()?, self.for_ms?);
        let long = human_duration(Duration::from_millis(for_ms));
        Some(format!("{cron} {tz}, {long}"))
    }
}

impl Row for WindowRow {
    const HEAD: &'static [&'static str] = &["ID", "FLEET", "HOSTS", "SCHEDULE", "STATE", "NOTE"];

    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.fleet.to_string(),
            output::covered(&self.host_prefixes),
            self.schedule().unwrap_or_else(|| "once".to_owned()),
            self.state(now),
            or_dash(self.note.clone()),
        ]
    }
}
