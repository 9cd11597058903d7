//! The command line: nouns, then verbs. The comments on the arguments are the help that users read.
//!
//! The same for every set of features: a command that is not built in says so when it is run.
#![expect(
    clippy::doc_markdown,
    reason = "help is shown as it stands, without backticks"
)]

mod audit;
mod fleet;
mod host;
mod key;
mod maintenance;
mod send;
mod subscription;
mod target;

use std::error::Error;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use hb_domain::Interval;
use ipnet::IpNet;
use reqwest::Url;

use crate::output::Format;

pub(crate) use audit::*;
pub(crate) use fleet::*;
pub(crate) use host::*;
pub(crate) use key::*;
pub(crate) use maintenance::*;
pub(crate) use send::*;
pub(crate) use subscription::*;
pub(crate) use target::{Chosen, Target};

/// Machines call home; when one stops calling, people are notified once.
#[derive(Debug, Parser)]
#[command(name = "hb", version = hb_version::PROGRAM, propagate_version = true, after_help = crate::exit::help())]
pub(crate) struct Hb {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How results are printed [default: table].
    #[arg(long, global = true, value_enum, env = "HB_OUTPUT")]
    pub(crate) output: Option<Format>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole service on this machine.
    Serve(Serve),
    /// API keys, with which machines send beats.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Who is notified, and how.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// Fleets, and how their notices are sent.
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Maintenance windows: times in which hosts are expected to be silent or to fail.
    #[command(subcommand)]
    Maintenance(MaintenanceCommand),
    /// The machines and jobs that are watched.
    #[command(subcommand)]
    Host(HostCommand),
    /// What admins did: when, who, what, old and new.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Send a beat, with retries; with --exec run a command and send its result. The key is read from HB_API_KEY or
    /// --key-file.
    Send(SendArgs),
    /// Say in one line whether all is well; exits with 1 when it is not.
    Status,
    /// Check the config, data folder, database, sweeps, notices, subscriptions, keys, server and clock. Changes nothing;
    /// exits with 1 when there is a problem.
    Doctor(DoctorArgs),
    /// Make the database of the data folder, or bring one of an older hb up to date, after a copy. Stop every hb serve
    /// on the folder first.
    Migrate,
    /// Copy the database into one file, while hb serve runs, and check the copy. The keys' secrets are not in it, but
    /// addresses of subscriptions and the secrets that sign webhooks are.
    Backup(BackupArgs),
    /// Put a backup in the place of the database, which is kept beside it. Stop every hb serve on the folder first.
    Restore(RestoreArgs),
    /// Print the completions of a shell, to be installed where the shell looks for them.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page.
    Man(ManArgs),
    /// Estimate what a fleet costs a month on AWS, from list prices. Does not connect to AWS.
    Cost(Cost),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on; port 0 picks a free port.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        env = "HB_LISTEN"
    )]
    pub(crate) listen: SocketAddr,
    /// How often all hosts are checked, 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = sweep_period, env = "HB_SWEEP_EVERY")]
    pub(crate) sweep_every: Duration,
    /// The mail server: smtp://HOST:PORT, smtp://USER:PASSWORD@HOST:587?tls=required, or smtps://... Set it
    /// in the environment rather than here, where others see it in the list of processes.
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
    /// The address by which machines reach this server, such as https://hb.example.com: the server's own beats go there as
    /// well, so that a dead proxy in front of it is noticed [default: the address it listens on].
    #[arg(long, value_name = "URL", value_parser = public_url, env = "HB_PUBLIC_URL")]
    pub(crate) public_url: Option<Url>,
    /// Serve TLS with this certificate: a PEM file with the certificate and those that lead to its root. Read again when
    /// it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "HB_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The PEM file with the key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "HB_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Accept only clients with a certificate of these roots: a PEM file.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "HB_TLS_CLIENT_CA"
    )]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// The networks of proxies whose header X-Forwarded-For is believed, such as 10.0.0.0/8; separated by commas.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = network, env = "HB_TRUST_PROXY")]
    pub(crate) trust_proxy: Vec<IpNet>,
    /// Request this address after each completed sweep, so that another service notices when sweeps end, such as another
    /// hb: http://:KEY@HOST:PORT/v1/heartbeat/NAME. Set it in the environment rather than here, where others see it in
    /// the list of processes.
    #[arg(long, value_name = "URL", env = "HB_PING_URL", hide_env_values = true)]
    pub(crate) ping_url: Option<String>,
    /// Beats per second accepted from each key, ten seconds' worth of them at once, or `none`; more get 429.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = per_second, env = "HB_RATE_LIMIT")]
    pub(crate) rate_limit: PerSecond,
}

/// A number of events a second; `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerSecond(pub(crate) Option<NonZeroU32>);

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The address of the service, which is checked as well [default: http://127.0.0.1:8080, if it answers].
    #[arg(long, env = "HB_URL")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file, which must not exist yet; - writes to standard output.
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file that hb backup wrote.
    pub(crate) file: PathBuf,
    /// Only check the file: every page, the version, and what is in it. Nothing is restored.
    #[arg(long)]
    pub(crate) verify: bool,
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

#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// The number of hosts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=MOST))]
    pub(crate) hosts: u64,
    /// How often each host beats, 1s to 400d.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = interval)]
    pub(crate) interval: Interval,
    /// The number of regions, 1 or 2.
    #[arg(long = "regions", value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) in_regions: u8,
    /// How often all hosts are checked, 10s to 60s: the template's SweepEvery.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = stage_sweep_period)]
    pub(crate) sweep_every: Duration,
    /// The number of API keys of these hosts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    pub(crate) keys: u64,
    /// Notices a month, each by e-mail to one address; a digest is one.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MOST))]
    pub(crate) notices_a_month: u64,
    /// SMS a month, to numbers in the United States.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MOST))]
    pub(crate) sms_a_month: u64,
    /// Without canaries.
    #[arg(long)]
    pub(crate) no_canaries: bool,
    /// Without a domain name, which Route 53 checks.
    #[arg(long)]
    pub(crate) no_domain: bool,
    /// With CloudFront and WAF before the service.
    #[arg(long)]
    pub(crate) edge: bool,
}

/// Most hosts, keys, notices and SMS that a cost is calculated for.
const MOST: u64 = 1_000_000_000;

/// Where `hb serve` listens by default.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// One of `all`, by the words of the domain.
fn one_of<T>(all: impl IntoIterator<Item = T>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Display + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.into_iter().map(|value| value.to_string()))
        .try_map(|word| word.parse())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, such as 30s, 10m, 2h or 90d"))
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() {
        Err("it must be longer than zero".to_owned())
    } else {
        Ok(duration)
    }
}

fn sweep_period(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_secs(1), Duration::from_hours(1));
    within(text, least..=most, "it must be 1s to 1h")
}

fn stage_sweep_period(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_secs(10), Duration::from_mins(1));
    within(text, least..=most, "it must be 10s to 60s")
}

fn within(text: &str, range: RangeInclusive<Duration>, refusal: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    let right = range.contains(&found).then_some(found);
    right.ok_or_else(|| refusal.to_owned())
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err("write http:// or https:// and a host".to_owned())
    }
}

/// One address is a network as well.
fn per_second(text: &str) -> Result<PerSecond, String> {
    match text {
        "none" => Ok(PerSecond(None)),
        _ => text
            .parse()
            .map(|number| PerSecond(Some(number)))
            .map_err(|_| "write a whole number from 1, or none".to_owned()),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse().map(|address: IpAddr| address.into()).ok();
    let network = text.parse().ok().or_else(address);
    network
        .ok_or_else(|| "write a network such as 10.0.0.0/8 or fd00::/8, or an address".to_owned())
}

pub(crate) fn interval(text: &str) -> Result<Interval, String> {
    duration(text)?
        .try_into()
        .map_err(|error: hb_domain::IntervalError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_command_tree() {
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
        assert!(interval("500ms").is_err() && interval("401d").is_err());
    }

    #[test]
    fn a_rate_is_a_number_or_none() {
        let default = per_second("1000").unwrap().0.map(NonZeroU32::get);
        assert_eq!(default, Some(hb_domain::limits::KEY_BEATS_PER_SECOND));
        assert_eq!(per_second("none"), Ok(PerSecond(None)));
        assert!(per_second("0").is_err() && per_second("-1").is_err());
    }
}
