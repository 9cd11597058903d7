//! `hb host expect`.

use hb_domain::{HostIdError, HostKey, Note, Schedule, Zone};
use hb_service::admin::{Expectation, HostAdmin};
use serde::Deserialize;

use super::each;
use super::view::HostRow;
use crate::args::{HostExpect, grace, interval};
use crate::command::table;
use crate::exit::Failure;
use crate::output::Format;

/// The columns of a file.
const COLUMNS: [&str; 6] = ["hostId", "interval", "schedule", "tz", "grace", "note"];

/// A host in a file. In CSV an empty cell is a missing value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Row {
    host_id: String,
    #[serde(default)]
    interval: Option<String>,
    #[serde(default)]
    schedule: Option<Schedule>,
    #[serde(default)]
    tz: Option<Zone>,
    #[serde(default)]
    grace: Option<String>,
    #[serde(default)]
    note: Option<Note>,
}

impl Row {
    /// The host, and when it is expected: as the options say, unless the row does.
    fn expected(self, options: &HostExpect) -> Result<(HostKey, Expectation), String> {
        let host = self.host_id.parse();
        let host = host.map_err(|error: HostIdError| error.to_string())?;
        let own_time = self.interval.is_some() || self.schedule.is_some();
        if self.interval.is_some() && self.schedule.is_some() {
            return Err("interval and schedule contradict each other".to_owned());
        }
        let defaults = options.expectation();
        let set = Expectation {
            interval: self.interval.as_deref().map(interval).transpose()?,
            schedule: self
                .schedule
                .map(|schedule| (schedule, self.tz.unwrap_or_default())),
            grace: self.grace.as_deref().map(grace).transpose()?,
            note: self.note,
        };
        let expectation = Expectation {
            interval: set.interval.or(defaults.interval.filter(|_| !own_time)),
            schedule: set.schedule.or(defaults.schedule.filter(|_| !own_time)),
            grace: set.grace.or(defaults.grace),
            note: set.note.or(defaults.note),
        };
        Ok((HostKey::new(options.fleet.clone(), host), expectation))
    }
}

impl HostExpect {
    fn expectation(&self) -> Expectation {
        let tz = || self.tz.clone().unwrap_or_default();
        Expectation {
            interval: self.interval,
            schedule: self.schedule.clone().map(|schedule| (schedule, tz())),
            grace: self.grace,
            note: self.note.clone(),
        }
    }
}

/// All rows of a file are read, and checked, before the first host is expected.
pub(super) async fn run(
    hosts: &HostAdmin,
    format: Format,
    wanted: HostExpect,
) -> Result<(), Failure> {
    let expected = if wanted.file.is_some() {
        of_file(&wanted)?
    } else {
        let names = wanted.hosts.iter().cloned();
        let key = |host| HostKey::new(wanted.fleet.clone(), host);
        names
            .map(|host| (key(host), wanted.expectation()))
            .collect()
    };
    let now = hosts.ports.clock.now();
    let expect = async |(key, expectation): &(HostKey, Expectation)| {
        Ok(HostRow::new(hosts.expect(key, expectation).await?))
    };
    each(format, now, &expected, expect).await
}

fn of_file(wanted: &HostExpect) -> Result<Vec<(HostKey, Expectation)>, Failure> {
    let file = wanted.file.as_deref().unwrap_or("-".as_ref());
    let input = |cause| Failure::Input {
        source_name: file.display().to_string(),
        cause,
    };
    let text = table::read(file).map_err(|error| input(error.to_string()))?;
    let rows = table::parse::<Row>(&text, "hostId", &COLUMNS).map_err(input)?;
    let of = rows.len();
    let (expected, wrong) = table::sift(rows, |_, row| row.expected(wanted));
    match wrong {
        0 => Ok(expected),
        wrong => Err(input(format!(
            "{wrong} of {of} rows are wrong; nothing was done"
        ))),
    }
}
