//! The options of `hb send`, and the beat that they describe.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hb_domain::{Grace, HostId, Interval, Message, Schedule, Signal, Zone};
use serde_json::{Value, json};

use super::host::grace;
use super::{duration, interval, one_of};

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The host to beat for.
    pub(crate) host: HostId,
    /// How long the host may stay silent after this beat [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Interval>,
    /// When the next beat is expected, as cron has it: '0 2 * * *', or @daily and the like.
    #[arg(long, value_name = "CRON", conflicts_with = "interval")]
    pub(crate) schedule: Option<Schedule>,
    /// The time zone of the schedule, such as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE", requires = "schedule")]
    pub(crate) tz: Option<Zone>,
    /// How much later the next beat may come, 0s to 30d [default with --schedule: 1h].
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    pub(crate) grace: Option<Grace>,
    /// The signal.
    #[arg(long, default_value = "ok", value_parser = one_of(Signal::ALL))]
    pub(crate) status: Signal,
    /// Which run of the job this is about, such as a UUID: tells runs that overlap apart.
    #[arg(long, value_name = "ID", conflicts_with = "exec")]
    pub(crate) rid: Option<String>,
    /// With --status start or --exec, how long the run may take, 1s to 400d [default: --grace].
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) max_run: Option<Interval>,
    /// What went wrong, or what is to be kept; stored with --status fail or log only.
    #[arg(long)]
    pub(crate) message: Option<Message>,
    /// The address of the service [default: http://127.0.0.1:8080].
    #[arg(long, env = "HB_URL")]
    pub(crate) url: Option<String>,
    /// A file that holds the API key, alone or as the line `x-api-key: KEY` that curl -H @FILE reads.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// First wait up to this long, the same time on every run of a host: spreads a fleet whose cron jobs start together.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) splay: Option<Duration>,
    /// How often to retry when the network or the server fails.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// How long all tries may take, with the pauses between them.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Run the command after --, pass its output through, and send its start and its result: the exit code, how long it took and, when
    /// it failed, the end of its output. Exits with the command's own exit code, even when the beat was not sent.
    #[arg(long, requires = "command", conflicts_with_all = ["status", "message"])]
    pub(crate) exec: bool,
    /// The command of --exec and its arguments.
    #[arg(last = true, requires = "exec", value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl SendArgs {
    /// The body of the request for the beat.
    pub(crate) fn body(&self) -> String {
        self.body_of(self.status, &json!(self.message))
    }

    /// The body of the request for the beat of a finished job; its failure has a message.
    pub(crate) fn body_of_job(&self, failure: Option<&Message>) -> String {
        let status = if failure.is_some() {
            Signal::Fail
        } else {
            Signal::Ok
        };
        self.body_of(status, &json!(failure))
    }

    /// The body of the request that says that the job begins.
    pub(crate) fn body_of_start(&self) -> String {
        self.body_of(Signal::Start, &Value::Null)
    }

    fn body_of(&self, status: Signal, message: &Value) -> String {
        json!({
            "hostId": self.host,
            "intervalMs": self.interval,
            "schedule": self.schedule,
            "tz": self.tz,
            "graceMs": self.grace,
            "rid": self.rid,
            "maxRunMs": self.max_run,
            "status": status.as_str(),
            "message": message,
        })
        .to_string()
    }
}
