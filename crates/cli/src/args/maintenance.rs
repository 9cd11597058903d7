//! `hb maintenance`.

use std::time::Duration;

use clap::{Args, Subcommand};
use hb_domain::{Fleet, HostPrefix, Note, Schedule, WindowId, Zone};

use super::duration;
use super::host::{Until, until};

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    /// Add a maintenance window: while it is open, silence of its hosts does not count, and notices of their failures wait.
    Add(WindowArgs),
    /// List maintenance windows, and when they are open.
    List {
        /// Only those of this fleet.
        #[arg(long)]
        fleet: Option<Fleet>,
    },
    /// Remove a maintenance window.
    Remove {
        /// Its id.
        id: WindowId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WindowArgs {
    /// The fleet of its hosts.
    #[arg(long, default_value = "main")]
    pub(crate) fleet: Fleet,
    /// Only hosts whose name starts with this, up to a delimiter: restaurant-17/ for those of a site; may be repeated.
    #[arg(long = "host-prefix", value_name = "P")]
    pub(crate) host_prefixes: Vec<HostPrefix>,
    /// When it opens, once: 2026-01-31T22:00:00Z, or 2026-01-31T22:00 in local time, or after how long, such as 2h [default:
    /// now].
    #[arg(long, value_name = "DURATION|TIME", value_parser = until, conflicts_with = "cron")]
    pub(crate) from: Option<Until>,
    /// When it closes, likewise.
    #[arg(long, value_name = "DURATION|TIME", value_parser = until, conflicts_with = "cron", required_unless_present_any = ["long", "cron"])]
    pub(crate) until: Option<Until>,
    /// When it opens, again and again, as cron has it: '0 2 * * 0' is each Sunday at 2 o'clock.
    #[arg(long, value_name = "CRON", requires = "long")]
    pub(crate) cron: Option<Schedule>,
    /// For how long it is open.
    #[arg(id = "long", long = "for", value_name = "DURATION", value_parser = duration, conflicts_with = "until")]
    pub(crate) long: Option<Duration>,
    /// The time zone of the schedule, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", requires = "cron", default_value = "UTC")]
    pub(crate) tz: Zone,
    /// What others are to know, such as the number of the change.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<Note>,
}
