//! How a command ends: one error type, and for each of its variants the exit code and the next step.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use hb_domain::{ConfirmationTokenError, EndpointError, FilterError, TokenError, WindowError};
use hb_service::admin::{HostError, KeyError, MaintenanceError, RotateError, SubscribeError};
use hb_service::ports::PortError;
use hb_sqlite::StoreError;

use crate::output;

/// The exit codes and their meaning.
pub(crate) const CODES: [(&str, &str); 13] = [
    ("0", "success; `hb doctor`: no problem found"),
    (
        "1",
        "the answer is no, for example: no such host; `hb doctor`, `hb status`: there is a problem",
    ),
    (
        "2",
        "wrong usage: an argument, an option, a setting or the config file; nothing was done",
    ),
    ("3", "the store, the stage, a file or the system failed"),
    ("4", "the server refused the beat"),
    ("5", "the server could not be reached, or kept failing"),
    ("6", "cannot listen on the address"),
    (
        "7",
        "partly done, for example in one of two regions: run it again",
    ),
    (
        "8",
        "done, but not recorded in the audit: do not run it again",
    ),
    ("126", "`hb send --exec`: the command cannot be run"),
    ("127", "`hb send --exec`: the command was not found"),
    (
        "128 + n",
        "`hb send --exec`: signal n ended the command; its other exit codes are passed on",
    ),
    ("130", "`hb serve`: a second signal stopped it at once"),
];

/// The features that this `hb` was built without.
fn missing_features() -> impl Iterator<Item = &'static str> {
    [
        ("stage", cfg!(feature = "stage")),
        ("watch", cfg!(feature = "watch")),
        ("cost", cfg!(feature = "cost")),
    ]
    .into_iter()
    .filter_map(|(feature, built_in)| (!built_in).then_some(feature))
}

/// The end of `hb --help`.
pub(crate) fn help() -> String {
    let mut lines = vec!["Exit codes:".to_owned()];
    lines.extend(
        CODES
            .iter()
            .map(|(code, meaning)| format!("  {code:<8} {meaning}")),
    );
    let missing: Vec<_> = missing_features().collect();
    if !missing.is_empty() {
        lines.push(format!("\nBuilt without: {}", missing.join(", ")));
    }
    lines.join("\n")
}

/// Why a command failed. The message states what failed and why, [`Facts::next_step`] what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("HB_DATA_DIR and HB_STAGE are both set, and name two services")]
    TwoTargets,
    #[error("--profile and --region need a stage")]
    NoStage,
    #[error("hb {0} works on one machine, not on a stage")]
    NotOnStage(&'static str),
    #[allow(dead_code, reason = "not constructed when every feature is built in")]
    #[error("this hb was built without the feature `{0}`, which the command needs")]
    NotBuiltIn(&'static str),
    #[allow(dead_code, reason = "constructed with the feature `stage` only")]
    #[error("{0}")]
    Stage(String),
    #[error("no key has the name {0:?}")]
    NoSuchKeyName(String),
    #[error("{} keys have the name {name:?}: {}", ids.len(), ids.join(", "))]
    AmbiguousKey { name: String, ids: Vec<String> },
    #[error("{source_name}: {cause}")]
    Input { source_name: String, cause: String },
    #[error("{wrong} of {of} rows are wrong; nothing was done")]
    WrongRows { wrong: usize, of: usize },
    #[error("{0}")]
    NotAToken(TokenError),
    #[error(transparent)]
    Confirmation(#[from] ConfirmationTokenError),
    #[error("the token does not belong to a pending subscription")]
    NotConfirmed,
    #[error("partly done: {failed} of {of} {what} failed")]
    InPart {
        failed: usize,
        of: usize,
        what: &'static str,
    },
    #[error("acts that are done and not recorded in the audit: {0}")]
    Unrecorded(usize),
    #[allow(dead_code, reason = "constructed with the feature `watch` only")]
    #[error("the output is not a terminal")]
    NotATerminal,
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("there is no subscription {0}")]
    NoSuchSubscription(String),
    #[error(transparent)]
    Rotate(#[from] RotateError),
    #[error(transparent)]
    Maintenance(#[from] MaintenanceError),
    #[error("--allow-private is for webhooks (http, https) of one machine")]
    AllowPrivate,
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Unsupported(#[from] hb_delivery::UnsupportedError),
    #[error("the mail settings are wrong: {0}")]
    Smtp(String),
    #[error("--ping-url is not a URL of the form http://host/path: {0}")]
    PingUrl(String),
    #[error("there is no API key: HB_API_KEY is not set and --key-file is not given")]
    NoApiKey,
    #[error("the first API key cannot be written to {path}: {source}")]
    FirstKey { path: PathBuf, source: io::Error },
    #[error("the key file {path} cannot be read: {source}")]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("HB_API_KEY or the key file does not hold an API key: {0}")]
    BadApiKey(TokenError),
    #[error("--url {url:?} is not a URL of the form http://host:port: {cause}")]
    Url { url: String, cause: String },
    #[error("the server refused the beat with {status}: {cause}")]
    Refused { status: u16, cause: String },
    #[error("the beat was not delivered (tries: {tries}): {cause}")]
    NotDelivered { tries: u32, cause: String },
    #[error("the config file is wrong: {0}")]
    Config(String),
    #[error("the folder {path} cannot be written: {source}")]
    Dir { path: PathBuf, source: io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("TLS cannot start: {0}")]
    Tls(String),
    #[error("internal error, please report it: {0}")]
    Internal(String),
    #[error("the runtime cannot start: {0}")]
    Runtime(io::Error),
    /// The reader of our output wants no more of it.
    #[error("the output was closed")]
    ClosedPipe,
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Output(error)
        }
    }
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    code: u8,
    /// What to do about it; empty where the message says it already.
    next_step: &'static str,
}

const fn facts(code: u8, next_step: &'static str) -> Facts {
    Facts { code, next_step }
}

const fn no(next_step: &'static str) -> Facts {
    facts(1, next_step)
}

const fn usage(next_step: &'static str) -> Facts {
    facts(2, next_step)
}

const fn failed(next_step: &'static str) -> Facts {
    facts(3, next_step)
}

const LIST_KEYS: &str = "`hb key list` shows all keys";

impl Failure {
    /// Reports on standard error what failed and what to do about it; `on_stage` says whether the target is a stage.
    pub(crate) fn report(&self, on_stage: bool) {
        if !matches!(self, Self::ClosedPipe) {
            output::remark(&format!("hb: {self}"));
        }
        let Facts { next_step, .. } = self.facts(on_stage);
        if !next_step.is_empty() {
            output::remark(&format!("    {next_step}"));
        }
    }

    /// The exit code; `hb --help` lists them.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.facts(false).code)
    }

    fn facts(&self, on_stage: bool) -> Facts {
        match self {
            Self::Port(error)
            | Self::Rotate(RotateError::Port(error))
            | Self::Maintenance(MaintenanceError::Port(error)) => port(error, on_stage),
            Self::Key(error) => key(error, on_stage),
            Self::Host(error) => host(error, on_stage),
            Self::Store(error) => failed(error.next_step()),
            Self::TwoTargets => usage("name one with --data-dir or --stage, or unset one variable"),
            Self::NoStage => usage("name it with --stage"),
            Self::NotOnStage(_) => {
                usage("remove --stage and HB_STAGE; a stage has its own functions and tables")
            }
            Self::NotBuiltIn(_) => usage(
                "build it with everything: cargo install --locked --path crates/cli --features full",
            ),
            Self::Stage(_) => usage(
                "name the stage with --stage, its region with --region, AWS_REGION or the profile",
            ),
            Self::NoSuchKeyName(_) => no(LIST_KEYS),
            Self::AmbiguousKey { .. } => no("use the id instead of the name"),
            Self::Maintenance(
                MaintenanceError::NoSuchWindow(_)
                | MaintenanceError::Window(WindowError::TooMany(_)),
            ) => no("`hb maintenance list` shows all windows"),
            Self::Input { .. }
            | Self::Confirmation(_)
            | Self::Endpoint(_)
            | Self::Maintenance(MaintenanceError::Window(_))
            | Self::Unsupported(_) => usage(""),
            Self::WrongRows { .. } => usage("correct them, or leave them out with --skip-invalid"),
            Self::NotAToken(_) => no("copy the whole key again"),
            Self::NotConfirmed => no(
                "it was used, is for another service or region, or the subscription was removed: add it again",
            ),
            Self::InPart { .. } => facts(
                7,
                "fix the cause and run the same command again: what is done stays done",
            ),
            Self::Unrecorded(_) => facts(
                8,
                "what is done stays done: do not run it again; keep the lines above, and fix their cause",
            ),
            Self::NotATerminal => {
                usage("run it in a terminal, or use `hb host list --output json`")
            }
            Self::Subscribe(SubscribeError::Taken(..)) => no("`hb subscription remove` it first"),
            Self::Subscribe(SubscribeError::Filter(FilterError::Contradiction(_))) => {
                usage("leave out that kind, or add its severity")
            }
            Self::Subscribe(SubscribeError::Filter(FilterError::Prefixes(_))) => {
                usage("name what the sites have in common, or filter where the notices arrive")
            }
            Self::NoSuchSubscription(_) | Self::Rotate(RotateError::NoSuchSubscription(_)) => {
                no("`hb subscription list` shows all subscriptions")
            }
            Self::Rotate(RotateError::SignedBySns) => no(
                "receivers verify the member Signature of the body, with the certificate at its SigningCertURL",
            ),
            Self::Rotate(RotateError::NotAWebhook(_)) => {
                no("`hb subscription list` shows which are http or https")
            }
            Self::AllowPrivate => usage("leave it out"),
            Self::Smtp(_) => usage(
                "write smtp://USER:PASSWORD@HOST:587?tls=required and --smtp-from hb@example.com",
            ),
            Self::PingUrl(_) => {
                usage("for another hb write http://:KEY@HOST:PORT/v1/heartbeat/NAME")
            }
            Self::NoApiKey => usage(
                "name a file that holds one with --key-file; `hb key create NAME` makes a key",
            ),
            Self::FirstKey { .. } => failed(
                "make another with `hb key create NAME`, then start again; `hb key revoke first` ends this one",
            ),
            Self::KeyFile { .. } => usage("name a file that holds a key made by `hb key create`"),
            Self::BadApiKey(_) => {
                usage("copy the key again, or make one with `hb key create NAME`")
            }
            Self::Url { .. } => {
                usage("use the address that `hb serve` listens on, such as http://127.0.0.1:8080")
            }
            Self::Refused { status, .. } => refused(*status),
            Self::NotDelivered { .. } => facts(5, SERVER),
            Self::Config(_) => usage("correct or remove the file, or name another with HB_CONFIG"),
            Self::Dir { .. } => failed("name a folder that you can write to with --dir"),
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => facts(
                6,
                "another process listens there, perhaps another hb serve; choose another port with --listen",
            ),
            Self::Listen { .. } => facts(6, "choose an address of this machine with --listen"),
            Self::Tls(_) => {
                usage("name PEM files that this user can read with --tls-cert and --tls-key")
            }
            Self::Internal(_) | Self::Runtime(_) | Self::Output(_) => failed(""),
            Self::ClosedPipe => facts(0, ""),
        }
    }
}

const DATA_FOLDER: &str = "check that the data folder exists, belongs to you, and has free space; --data-dir names another";

/// What to check when a server does not answer.
pub(crate) const SERVER: &str = "check the address, that `hb serve` or the stage runs there, and that no firewall is between; --url names another one";

fn port(error: &PortError, on_stage: bool) -> Facts {
    match error {
        PortError::Conflict { .. } => {
            no("the same request will fail again: change it, or remove what it conflicts with")
        }
        // The message of AWS ends with its next step.
        PortError::Unavailable { .. } | PortError::Unreadable { .. } if on_stage => failed(""),
        PortError::Unavailable { .. } | PortError::Unreadable { .. } => failed(DATA_FOLDER),
    }
}

fn refused(status: u16) -> Facts {
    facts(
        4,
        match status {
            300..=399 => "pass the address that it points to with --url",
            401 => "`hb key list` shows the state of each key",
            _ => "",
        },
    )
}

fn key(error: &KeyError, on_stage: bool) -> Facts {
    match error {
        KeyError::NoSuchKey(_) => no(LIST_KEYS),
        KeyError::Dead(_) => no("`hb key create NAME` makes a new one"),
        KeyError::TooManyPrefixes(_) | KeyError::TooFewHosts(_) => usage(""),
        KeyError::NotRandom => failed(""),
        KeyError::Port(error) => port(error, on_stage),
    }
}

fn host(error: &HostError, on_stage: bool) -> Facts {
    match error {
        HostError::NoSuchHost(_) => no(
            "`hb host list` shows all hosts; names are case-sensitive, other fleets need --fleet",
        ),
        HostError::Busy(_) => no(""),
        HostError::NoTrouble(_) => {
            no("`hb host show` shows its state; `hb host pause` ends all notices of it")
        }
        HostError::TooManyTags(_) => no("remove one: --tag NAME="),
        HostError::Pause(_) => usage(""),
        HostError::Port(error) => port(error, on_stage),
    }
}

#[cfg(test)]
mod tests;
