//! The command line: nouns, then verbs. The comments on the arguments are the help that users read.
#![expect(
    clippy::doc_markdown,
    reason = "help is shown as it stands, without backticks"
)]

use std::ffi::OsString;
mod host;
mod key;
mod subscription;
mod target;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::command::cost::Cost;
use clap::{Args, Parser, Subcommand, ValueEnum};
use hb_domain::{HostId, Interval, Message};

pub(crate) use host::*;
pub(crate) use key::*;
pub(crate) use subscription::*;
pub(crate) use target::{Chosen, Target};

/// Machines call home; when one stops calling, people are told once.
#[derive(Debug, Parser)]
#[command(name = "hb", version, propagate_version = true, after_help = crate::exit::help())]
pub(crate) struct Hb {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, env = "HB_OUTPUT")]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole service on this machine.
    Serve(Serve),
    /// API keys, with which machines send beats.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Who is told.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// The machines and jobs that are watched.
    #[command(subcommand)]
    Host(HostCommand),
    /// Send a beat, with retries; with --exec run a command and send how it ended. The key is read from HB_API_KEY or
    /// --key-file.
    Send(Send),
    /// Look for what is wrong: config, data folder, database, sweeps, notices, subscriptions, keys, server, clock.
    /// Changes nothing; ends with 1 when there is a problem.
    Doctor(DoctorArgs),
    /// Print what completes hb in a shell, to be put where the shell looks for it.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man(ManArgs),
    /// What a fleet would cost a month on AWS. Nothing is asked of AWS.
    Cost(Cost),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        env = "HB_LISTEN"
    )]
    pub(crate) listen: SocketAddr,
    /// How often hosts are looked at, 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = sweep_period, env = "HB_SWEEP_EVERY")]
    pub(crate) sweep_every: Duration,
    /// The mail server: smtp://HOST:PORT, smtp://USER:PASSWORD@HOST:587?tls=required, or smtps://... Better set in
    /// the environment than here, where others see it in the list of processes.
    #[arg(long, value_name = "URL", env = "HB_SMTP_URL", hide_env_values = true)]
    pub(crate) smtp_url: Option<String>,
    /// The sender of e-mails, such as "Heartbeat <hb@example.com>".
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HB_SMTP_FROM",
        requires = "smtp_url"
    )]
    pub(crate) smtp_from: Option<String>,
    /// Beats a second and key that are let through; more get 429. No limit when not given.
    #[arg(long, value_name = "N", env = "HB_RATE_LIMIT")]
    pub(crate) rate_limit: Option<NonZeroU32>,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The host to beat for.
    pub(crate) host: HostId,
    /// How long the host may then stay silent [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Interval>,
    /// What to say.
    #[arg(long, value_enum, default_value_t = StatusArg::Ok)]
    pub(crate) status: StatusArg,
    /// What is wrong; kept with --status fail only.
    #[arg(long)]
    pub(crate) message: Option<Message>,
    /// The service.
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "HB_URL")]
    pub(crate) url: String,
    /// A file that holds the API key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Wait first, up to this long, each host always the same time: spreads a fleet whose cron jobs start together.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) splay: Option<Duration>,
    /// How often to try again when the network or the server is in trouble.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// How long all tries and the pauses between them may take.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Run the command after --, pass its output through, and send how it ended: its exit code, how long it took and,
    /// when it failed, the end of its output. Ends with the command's own exit code, also when the beat was not sent.
    #[arg(long, requires = "command", conflicts_with_all = ["status", "message"])]
    pub(crate) exec: bool,
    /// The command of --exec and its arguments.
    #[arg(last = true, requires = "exec", value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The service, to be asked as well [default: http://127.0.0.1:8080, if somebody is there].
    #[arg(long, env = "HB_URL")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder instead.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Print docs/cli.md instead.
    #[arg(long, hide = true, conflicts_with = "dir")]
    pub(crate) markdown: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatusArg {
    Ok,
    Fail,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| {
        format!("{error}; write a number and a unit, such as 30s, 10m, 2h or 90d")
    })?;
    if duration.is_zero() {
        Err("it must be longer than zero".to_owned())
    } else {
        Ok(duration)
    }
}

fn sweep_period(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_hours(1);
    duration(text).and_then(|d| {
        if range.contains(&d) {
            Ok(d)
        } else {
            Err("it must be 1s to 1h".to_owned())
        }
    })
}

fn interval(text: &str) -> Result<Interval, String> {
    duration(text)?
        .try_into()
        .map_err(|error: hb_domain::IntervalError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        use clap::CommandFactory as _;
        Hb::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("90d"), Ok(Duration::from_hours(90 * 24)));
        assert!(duration("5").unwrap_err().contains("30s, 10m, 2h or 90d"));
        assert!(
            duration("0s").is_err()
                && sweep_period("500ms").is_err()
                && sweep_period("2h").is_err()
        );
        assert!(interval("500ms").is_err() && interval("366d").is_err());
    }
}
