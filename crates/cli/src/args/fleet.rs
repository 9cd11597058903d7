//! `hb fleet`.

use clap::{Args, Subcommand};
use hb_domain::{Fleet, GroupTime, GroupTimeError, Zone, ZoneError};

use super::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// List fleets: those with keys or settings, and those of which a notice was sent.
    List,
    /// Show how the notices of a fleet are sent, and when the last ones were.
    Show {
        /// The fleet.
        #[arg(default_value = "main")]
        fleet: Fleet,
    },
    /// Set how the notices of a fleet are sent. Pending notices of one fleet and kind are a group, and leave together as
    /// one message.
    Set(FleetSet),
}

#[derive(Debug, Args)]
pub(crate) struct FleetSet {
    /// The fleet.
    pub(crate) fleet: Fleet,
    #[command(flatten)]
    pub(crate) times: GroupTimes,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct GroupTimes {
    /// How long the first notice of a group waits for others, 0s to 30d, or `default`, which is 30s.
    #[arg(long, value_name = "DURATION|default", value_parser = group_time)]
    pub(crate) group_wait: Option<GroupTimeArg>,
    /// How far two messages of a group are apart, 0s to 30d, or `default`, which is 5m.
    #[arg(long, value_name = "DURATION|default", value_parser = group_time)]
    pub(crate) group_interval: Option<GroupTimeArg>,
    /// How far two reminders of what is still missing or failing are apart, 0s for none, to 30d, or `default`, which is 24h.
    #[arg(long, value_name = "DURATION|default", value_parser = group_time)]
    pub(crate) repeat_interval: Option<GroupTimeArg>,
    /// The time zone of the texts of its notices, such as Europe/Berlin, or `default`, which is UTC.
    #[arg(long, value_name = "ZONE|default", value_parser = zone)]
    pub(crate) tz: Option<ZoneArg>,
}

/// A time, or the word `default`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupTimeArg(pub(crate) Option<GroupTime>);

/// A time zone, or the word `default`.
#[derive(Clone, Debug)]
pub(crate) struct ZoneArg(pub(crate) Option<Zone>);

fn zone(text: &str) -> Result<ZoneArg, ZoneError> {
    let zone = (text != "default").then(|| text.parse());
    zone.transpose().map(ZoneArg)
}

fn group_time(text: &str) -> Result<GroupTimeArg, String> {
    if text == "default" {
        return Ok(GroupTimeArg(None));
    }
    let time = parse_duration(text)?.try_into();
    time.map(|time| GroupTimeArg(Some(time)))
        .map_err(|error: GroupTimeError| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_group_may_wait_for_no_time_and_for_a_month() {
        let time = |text| group_time(text).map(|time| time.0.map(GroupTime::duration));
        assert_eq!(time("0s"), Ok(Some(Duration::ZERO)));
        assert_eq!(time("30d"), Ok(Some(Duration::from_hours(30 * 24))));
        assert_eq!(time("default"), Ok(None));
        assert!(time("31d").unwrap_err().contains("30 d at most"));
        assert!(time("5").unwrap_err().contains("write a number and a unit"));
    }
}
