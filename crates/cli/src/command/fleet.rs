//! `hb fleet`.

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::{Fleet, FleetRecord, FleetSettings, Kind, Timestamp, Zone, human_duration, limits};
use serde::Serialize;

use super::report_unreadable;
use crate::args::{FleetCommand, FleetSet, GroupTimes};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format, Row};

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: FleetCommand,
) -> Result<(), Failure> {
    let fleets = backend.fleets();
    let now = backend.ports.clock.now();
    let record = match command {
        FleetCommand::List => {
            let (records, unreadable) = fleets.list().await?;
            report_unreadable("fleet", &unreadable);
            let rows: Vec<_> = records.into_iter().map(FleetRow::from).collect();
            return Ok(output::rows(format, &rows, now)?);
        }
        FleetCommand::Show { fleet } => fleets.show(&fleet).await?,
        FleetCommand::Set(FleetSet {
            fleet,
            times:
                GroupTimes {
                    group_wait,
                    group_interval,
                    repeat_interval,
                    tz,
                },
        }) => {
            let settings = |old: FleetSettings| FleetSettings {
                group_wait: group_wait.map_or(old.group_wait, |time| time.0),
                group_interval: group_interval.map_or(old.group_interval, |time| time.0),
                repeat_interval: repeat_interval.map_or(old.repeat_interval, |time| time.0),
            };
            let change = |record: FleetRecord| FleetRecord {
                settings: settings(record.settings),
                tz: tz.clone().map_or(record.tz, |zone| zone.0),
                ..record
            };
            fleets.set(&fleet, change).await?
        }
    };
    let row = FleetRow::from(record);
    Ok(output::one(format, &row.text(), &row)?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FleetRow {
    fleet: Fleet,
    group_wait_ms: u64,
    group_interval_ms: u64,
    /// 0 for no reminders.
    repeat_interval_ms: u64,
    tz: Zone,
    /// When the last message of each kind left.
    sent: BTreeMap<Kind, String>,
    /// When the last reminder was begun.
    reminded: Option<String>,
    #[serde(skip)]
    settings: FleetSettings,
}

impl From<FleetRecord> for FleetRow {
    fn from(record: FleetRecord) -> Self {
        let FleetRecord {
            fleet,
            settings,
            tz,
            sent,
            reminded,
            ..
        } = record;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            fleet,
            group_wait_ms: millis(settings.wait()),
            group_interval_ms: millis(settings.interval()),
            repeat_interval_ms: millis(settings.repeat()),
            tz: tz.unwrap_or_default(),
            reminded: reminded.map(|at| at.to_string()),
            sent: sent
                .into_iter()
                .map(|(kind, at)| (kind, at.to_string()))
                .collect(),
            settings,
        }
    }
}

impl FleetRow {
    fn text(&self) -> String {
        let FleetSettings {
            group_wait,
            group_interval,
            repeat_interval,
        } = self.settings;
        let shown = |set: bool, time: Duration, default: Duration| {
            let remark = if set {
                format!("default {}", human_duration(default))
            } else {
                "the default".to_owned()
            };
            format!("{} ({remark})", human_duration(time))
        };
        let (wait, interval) = (self.settings.wait(), self.settings.interval());
        let mut lines = vec![
            format!("fleet           {}", self.fleet),
            format!(
                "group wait      {}",
                shown(group_wait.is_some(), wait, limits::GROUP_WAIT)
            ),
            format!(
                "group interval  {}",
                shown(group_interval.is_some(), interval, limits::GROUP_INTERVAL)
            ),
        ];
        lines.push(match self.settings.repeat() {
            Duration::ZERO => "repeat          never".to_owned(),
            repeat => format!(
                "repeat          {}",
                shown(repeat_interval.is_some(), repeat, limits::REPEAT_INTERVAL)
            ),
        });
        lines.push(format!("time zone       {}", self.tz));
        let sent = self.sent.iter();
        lines.extend(sent.map(|(kind, at)| format!("last {:<10} {at}", kind.as_str())));
        let reminded = self.reminded.iter();
        lines.extend(reminded.map(|at| format!("last reminder   {at}")));
        lines.join("\n")
    }
}

impl Row for FleetRow {
    const HEAD: &'static [&'static str] = &[
        "FLEET",
        "GROUP WAIT",
        "GROUP INTERVAL",
        "REPEAT",
        "TIME ZONE",
    ];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![
            self.fleet.to_string(),
            human_duration(self.settings.wait()),
            human_duration(self.settings.interval()),
            match self.settings.repeat() {
                Duration::ZERO => "never".to_owned(),
                repeat => human_duration(repeat),
            },
            self.tz.to_string(),
        ]
    }
}
