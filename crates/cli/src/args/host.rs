//! `hb host`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use hb_domain::{
    Fleet, FleetError, Grace, GraceError, HostId, HostIdError, HostKey, Interval, Note, NoteError,
    Schedule, State, Tag, Timestamp, Zone,
};

use super::{duration, interval, one_of, parse_duration};

#[derive(Debug, Args)]
pub(crate) struct HostArg {
    /// The host.
    pub(crate) host: HostId,
    /// Its fleet.
    #[arg(long, default_value = "main")]
    pub(crate) fleet: Fleet,
}

#[derive(Debug, Args)]
pub(crate) struct HostsArg {
    /// The host, or - to read hosts from standard input, one per line.
    #[arg(value_parser = host_or_input)]
    pub(crate) host: HostOrInput,
    /// Their fleet.
    #[arg(long, default_value = "main")]
    pub(crate) fleet: Fleet,
}

#[derive(Clone, Debug)]
pub(crate) enum HostOrInput {
    Host(HostId),
    Input,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// List hosts.
    List(HostList),
    /// Show one host, its deadline and its last transitions.
    Show(HostArg),
    /// Watch hosts in the terminal, the worst first; q quits.
    Watch {
        /// Only hosts of this fleet.
        #[arg(long)]
        fleet: Option<Fleet>,
        /// How often to refresh.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s")]
        every: Duration,
    },
    /// Send no notices about a host for a while.
    Pause {
        #[command(flatten)]
        hosts: HostsArg,
        /// For how long, such as 2h, or until when: 2026-01-31T18:00:00Z, or 2026-01-31T18:00 in local time [default:
        /// until `hb host resume`].
        #[arg(long, value_name = "DURATION|TIME", value_parser = until)]
        until: Option<Until>,
    },
    /// End a pause; silence counts from now.
    Resume(HostsArg),
    /// Send no reminders of a host that is missing or failing until it recovers.
    Ack {
        #[command(flatten)]
        hosts: HostsArg,
        /// What others are to know, such as who is on the way.
        #[arg(long, value_name = "TEXT")]
        note: Option<Note>,
    },
    /// Override when beats of the host are expected, or say what those who get its notices are to know.
    Set {
        #[command(flatten)]
        hosts: HostsArg,
        #[command(flatten)]
        changes: HostChanges,
    },
    /// Expect the first beat of hosts: one that is not heard in time is missing.
    Expect(HostExpect),
    /// Forget a host; its next beat registers it again.
    Forget(HostsArg),
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct HostChanges {
    /// The interval, 1s to 400d, or `sent` for what the host sends.
    #[arg(long, value_name = "DURATION|sent", value_parser = interval_or_sent, conflicts_with = "schedule")]
    pub(crate) interval: Option<OrSent<Interval>>,
    /// A schedule of cron, such as '0 2 * * *', or @daily and the like; --interval sent lifts it.
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<Schedule>,
    /// The time zone of the schedule, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    pub(crate) tz: Option<Zone>,
    /// How much later than expected a beat may come, 0s to 30d, or `sent` for what the host sends [default with --schedule: 1h].
    #[arg(long, value_name = "DURATION|sent", value_parser = grace_or_sent)]
    pub(crate) grace: Option<OrSent<Grace>>,
    /// Stands in each notice, such as whom to call; '' for none.
    #[arg(long, value_name = "TEXT", value_parser = note_or_none)]
    pub(crate) note: Option<OrNone>,
    /// Stands in each notice as well, for programs; NAME= removes it. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) tag: Vec<Tag>,
}

#[derive(Debug, Args)]
pub(crate) struct HostExpect {
    /// The hosts.
    #[arg(required_unless_present = "file")]
    pub(crate) hosts: Vec<HostId>,
    /// Read hosts from a file of CSV or JSON, or from - for standard input: hostId, and interval or schedule, tz, grace,
    /// note, where they differ from the options.
    #[arg(long, value_name = "FILE", conflicts_with = "hosts")]
    pub(crate) file: Option<PathBuf>,
    /// Their fleet.
    #[arg(long, default_value = "main")]
    pub(crate) fleet: Fleet,
    /// Within which time, 1s to 400d [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = interval, conflicts_with = "schedule")]
    pub(crate) interval: Option<Interval>,
    /// At the next time of a schedule of cron, such as '0 2 * * *', or @daily and the like.
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<Schedule>,
    /// The time zone of the schedule, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    pub(crate) tz: Option<Zone>,
    /// How much later it may come, 0s to 30d [default with --schedule: 1h].
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    pub(crate) grace: Option<Grace>,
    /// Stands in each notice, such as whom to call.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<Note>,
}

#[derive(Debug, Args)]
pub(crate) struct HostList {
    /// Only hosts in this state; may be repeated.
    #[arg(long, value_name = "STATE", value_parser = one_of(listed_states()))]
    pub(crate) status: Vec<State>,
    /// Only hosts of this fleet.
    #[arg(long)]
    pub(crate) fleet: Option<Fleet>,
    /// Only hosts whose name starts with this.
    #[arg(long, value_name = "P")]
    pub(crate) prefix: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroU64>,
    /// Only hosts after this one, FLEET/HOST, as the previous page names it.
    #[arg(long, value_name = "FLEET/HOST", value_parser = host_key)]
    pub(crate) after: Option<HostKey>,
}

/// A setting, or the word `sent`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrSent<T>(pub Option<T>);

/// A note, or the empty text for none.
#[derive(Clone, Debug)]
pub(crate) struct OrNone(pub Option<Note>);

/// The end of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    In(Duration),
    At(Timestamp),
}

impl Until {
    pub(crate) fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => now.plus(duration),
            Self::At(at) => at,
        }
    }
}

/// A forgotten host is not listed.
fn listed_states() -> impl Iterator<Item = State> {
    let is_listed = |state: &State| *state != State::Forgotten;
    State::ALL.into_iter().filter(is_listed)
}

fn host_or_input(text: &str) -> Result<HostOrInput, HostIdError> {
    if text == "-" {
        Ok(HostOrInput::Input)
    } else {
        text.parse().map(HostOrInput::Host)
    }
}

fn host_key(text: &str) -> Result<HostKey, String> {
    let (fleet, host) = text
        .split_once('/')
        .ok_or("write FLEET/HOST, such as main/web-01")?;
    let fleet: Fleet = fleet
        .parse()
        .map_err(|error: FleetError| error.to_string())?;
    let host: HostId = host
        .parse()
        .map_err(|error: HostIdError| error.to_string())?;
    Ok(HostKey::new(fleet, host))
}

fn note_or_none(text: &str) -> Result<OrNone, NoteError> {
    let note = (!text.is_empty()).then(|| text.parse());
    note.transpose().map(OrNone)
}

fn interval_or_sent(text: &str) -> Result<OrSent<Interval>, String> {
    or_sent(text, interval)
}

fn grace_or_sent(text: &str) -> Result<OrSent<Grace>, String> {
    or_sent(text, grace)
}

fn or_sent<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<OrSent<T>, String> {
    let setting = (text != "sent").then(|| parse(text));
    setting.transpose().map(OrSent)
}

/// A grace, which may be 0s.
pub(crate) fn grace(text: &str) -> Result<Grace, String> {
    let grace = parse_duration(text)?.try_into();
    grace.map_err(|error: GraceError| error.to_string())
}

/// An instant, with an offset or in local time, or a duration.
pub(crate) fn until(text: &str) -> Result<Until, String> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return at(instant);
    }
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        let zoned = local
            .to_zoned(jiff::tz::TimeZone::system())
            .map_err(|error| error.to_string())?;
        return at(zoned.timestamp());
    }
    duration(text)
        .map(Until::In)
        .map_err(|error| format!("{error}; or an instant, such as 2026-01-31T18:00:00Z"))
}

fn at(instant: jiff::Timestamp) -> Result<Until, String> {
    Timestamp::from_millis(instant.as_millisecond())
        .map(Until::At)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_after_a_duration_or_at_an_instant() {
        assert_eq!(until("2h"), Ok(Until::In(Duration::from_hours(2))));
        let instant = Timestamp::from_millis(1_769_882_400_000).unwrap();
        assert_eq!(until("2026-01-31T18:00:00Z"), Ok(Until::At(instant)));
        assert_eq!(until("2026-01-31T19:00:00+01:00"), Ok(Until::At(instant)));
        assert!(matches!(until("2026-01-31T18:00"), Ok(Until::At(_))));
        for bad in ["tomorrow", "18:00", "2h ago", "0s", "1965-01-01T00:00:00Z"] {
            assert!(until(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_position_needs_a_fleet_and_an_interval_may_be_sent() {
        assert_eq!(host_key("lab/rack/7").unwrap().to_string(), "lab/rack/7");
        assert!(host_key("web-01").is_err() && host_key("Lab/web").is_err());
        assert_eq!(interval_or_sent("sent").unwrap().0, None);
    }
}
