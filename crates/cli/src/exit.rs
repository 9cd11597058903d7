//! How a command ends: one error type, one number for each sort of it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use hb_domain::{ConfirmationTokenError, EndpointError};
use hb_service::admin::{HostError, KeyError, SubscribeError};
use hb_service::ports::{Cause, PortError};

use crate::output;

/// What the numbers mean that the process ends with.
pub(crate) const CODES: [(&str, &str); 12] = [
    ("0", "done; of `hb doctor`: no problem"),
    (
        "1",
        "the answer is no, such as: no such host; of `hb doctor`: there is a problem",
    ),
    (
        "2",
        "usage: a word, an option, a setting or the config file is wrong; nothing was done",
    ),
    (
        "3",
        "the store, the stage, a file or the system does not do its part",
    ),
    ("4", "the server refused the beat"),
    (
        "5",
        "the server was not reached, or was in trouble for too long",
    ),
    ("6", "the address cannot be listened on"),
    (
        "7",
        "done in part, such as in one of two regions: run it again",
    ),
    ("126", "of `hb send --exec`: the command cannot be run"),
    ("127", "of `hb send --exec`: the command was not found"),
    (
        "128 + n",
        "of `hb send --exec`: signal n ended the command; any other code of it is kept as well",
    ),
    (
        "130",
        "of `hb serve`: told twice to stop, it stopped at once",
    ),
];

/// The same as the end of `hb --help`.
pub(crate) fn help() -> String {
    let lines = CODES
        .iter()
        .map(|(code, meaning)| format!("  {code:<8} {meaning}"));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Why a command did not do what it was told. The message says what and why, [`Failure::next_step`] what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Store(Cause),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("HB_DATA_DIR and HB_STAGE are both set, and nothing says which is meant")]
    TwoPlaces,
    #[error("--profile and --region belong to a stage, and none is named")]
    NoStage,
    #[error("hb serve runs on one machine, not on a stage")]
    ServeOnStage,
    #[cfg(not(feature = "stage"))]
    #[error("this hb was built without stages")]
    BuiltWithoutStages,
    #[cfg(feature = "stage")]
    #[error("{0}")]
    Stage(String),
    #[error("there is no key called {0:?}")]
    NoSuchKeyName(String),
    #[error("{} keys are called {name:?}: {}", ids.len(), ids.join(", "))]
    AmbiguousKey { name: String, ids: Vec<String> },
    #[error("{0}: {1}")]
    Input(String, String),
    #[error("{wrong} of {of} rows are wrong, and nothing was done")]
    WrongRows { wrong: usize, of: usize },
    #[error("{0}")]
    NoToken(hb_domain::TokenError),
    #[error(transparent)]
    Confirmation(#[from] ConfirmationTokenError),
    #[error("the token confirms nothing here")]
    NotConfirmed,
    #[error("done in part: {failed} of {of} {what} failed")]
    InPart {
        failed: usize,
        of: usize,
        what: &'static str,
    },
    #[error("the output is no terminal")]
    NoTerminal,
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("there is no subscription {0}")]
    NoSuchSubscription(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Unsupported(#[from] hb_delivery::UnsupportedError),
    #[error("the mail settings are wrong: {0}")]
    Smtp(String),
    #[error("no API key: HB_API_KEY is not set and there is no --key-file")]
    NoApiKey,
    #[error("the key file {0} cannot be read: {1}")]
    KeyFile(PathBuf, io::Error),
    #[error("what HB_API_KEY or the key file holds is no API key: {0}")]
    BadApiKey(hb_domain::TokenError),
    #[error("--url {0:?} is no URL of the form http://host:port: {1}")]
    Url(String, String),
    #[error("the server refused the beat with {0}: {1}")]
    Refused(u16, String),
    #[error("the beat was not delivered, in {0} tries: {1}")]
    NotDelivered(u32, String),
    #[error("the config file is wrong: {0}")]
    Config(String),
    #[error("the folder {0} cannot be written: {1}")]
    Dir(PathBuf, io::Error),
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("this should not happen, please report it: {0}")]
    Internal(String),
    #[error("the runtime cannot start: {0}")]
    Runtime(io::Error),
    /// Whoever read our output wants no more of it.
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

impl Failure {
    /// Says on standard error what failed and what to do about it.
    pub(crate) fn tell(&self, on_stage: bool) {
        if !matches!(self, Self::ClosedPipe) {
            output::remark(&format!("hb: {self}"));
        }
        if let Some(next_step) = self.next_step(on_stage) {
            output::remark(&format!("    {next_step}"));
        }
    }

    /// The number that the process ends with; they are listed in `hb --help`.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::ClosedPipe => 0,
            Self::NoSuchSubscription(_)
            | Self::NoSuchKeyName(_)
            | Self::AmbiguousKey { .. }
            | Self::NoToken(_)
            | Self::NotConfirmed
            | Self::Subscribe(_)
            | Self::Key(KeyError::NoSuchKey(_) | KeyError::Dead(_))
            | Self::Host(HostError::NoSuchHost(_) | HostError::Busy(_)) => 1,
            #[cfg(feature = "stage")]
            Self::Stage(_) => 2,
            #[cfg(not(feature = "stage"))]
            Self::BuiltWithoutStages => 2,
            Self::TwoPlaces
            | Self::NoStage
            | Self::ServeOnStage
            | Self::Input(..)
            | Self::WrongRows { .. }
            | Self::NoTerminal
            | Self::Confirmation(_)
            | Self::Endpoint(_)
            | Self::Unsupported(_)
            | Self::Smtp(_)
            | Self::NoApiKey
            | Self::KeyFile(..)
            | Self::BadApiKey(_)
            | Self::Url(..)
            | Self::Config(_)
            | Self::Key(KeyError::TooManyPrefixes(_))
            | Self::Host(HostError::Pause(_)) => 2,
            Self::Store(_)
            | Self::Port(_)
            | Self::Internal(_)
            | Self::Runtime(_)
            | Self::Output(_)
            | Self::Dir(..)
            | Self::Key(KeyError::NotRandom | KeyError::Port(_))
            | Self::Host(HostError::Port(_)) => 3,
            Self::Refused(..) => 4,
            Self::NotDelivered(..) => 5,
            Self::Listen(..) => 6,
            Self::InPart { .. } => 7,
        })
    }

    /// What a person can do about it; `on_stage` is whether the command is about a deployed stage.
    pub(crate) fn next_step(&self, on_stage: bool) -> Option<&'static str> {
        Some(match self {
            Self::TwoPlaces => "name one with --data-dir or --stage, or unset the other variable",
            Self::NoStage => "name it with --stage",
            Self::ServeOnStage => "leave --stage and HB_STAGE out; a stage has its functions",
            #[cfg(feature = "stage")]
            Self::Stage(_) => {
                "the stage is named with --stage, its region with --region, AWS_REGION or the profile"
            }
            #[cfg(not(feature = "stage"))]
            Self::BuiltWithoutStages => "build it with the feature `stage`",
            Self::AmbiguousKey { .. } => "name the one that is meant by its id",
            Self::WrongRows { .. } => "mend them, or leave them out with --skip-invalid",
            Self::NoToken(_) => "copy it anew, the whole of it",
            Self::NotConfirmed => {
                "it was used, is of another service or region, or the subscription is gone: add it again"
            }
            Self::InPart { .. } => {
                "see to the cause and run the same command again: what is done is left as it is"
            }
            Self::NoTerminal => "run it in a terminal, or use `hb host list --output json`",
            Self::Subscribe(SubscribeError::Taken(..)) => "`hb subscription remove` it first",
            Self::Key(KeyError::Dead(_)) => "`hb key create NAME` makes a new one",
            Self::Key(KeyError::NoSuchKey(_)) | Self::NoSuchKeyName(_) => {
                "`hb key list` shows the keys there are"
            }
            Self::Host(HostError::NoSuchHost(_)) => {
                "`hb host list` shows the hosts there are; names are case-sensitive, other fleets need --fleet"
            }
            Self::NoSuchSubscription(_) => {
                "`hb subscription list` shows the subscriptions there are"
            }
            Self::NoApiKey => "export HB_API_KEY=hbk_...; `hb key create NAME` makes a key",
            Self::KeyFile(..) => "give a file that holds a key of `hb key create`",
            Self::BadApiKey(_) => "copy the key anew, or make one with `hb key create NAME`",
            Self::Smtp(_) => {
                "write smtp://USER:PASSWORD@HOST:587?tls=required and --smtp-from hb@example.com"
            }
            Self::Url(..) => {
                "give the address that `hb serve` listens on, such as http://127.0.0.1:8080"
            }
            Self::Dir(..) => "name a folder that you can write with --dir",
            Self::Config(_) => "mend or remove the file, or name another with HB_CONFIG",
            Self::Refused(300..=399, _) => "give the address that it points to with --url",
            Self::Refused(401, _) => "`hb key list` shows which keys are alive",
            Self::NotDelivered(..) => "see whether `hb serve` runs there and a firewall is between",
            Self::Listen(_, error) if error.kind() == io::ErrorKind::AddrInUse => {
                "another process listens there, perhaps another hb serve; choose another port with --listen"
            }
            Self::Listen(..) => "choose an address of this machine with --listen",
            // What AWS said ends with its next step.
            Self::Port(_) | Self::Key(KeyError::Port(_)) | Self::Host(HostError::Port(_))
                if on_stage =>
            {
                return None;
            }
            Self::Store(_)
            | Self::Port(_)
            | Self::Key(KeyError::Port(_))
            | Self::Host(HostError::Port(_)) => {
                "see whether the data folder exists, belongs to you, and has space left; --data-dir names another"
            }
            Self::Key(KeyError::TooManyPrefixes(_) | KeyError::NotRandom)
            | Self::Host(HostError::Busy(_) | HostError::Pause(_))
            | Self::Endpoint(_)
            | Self::Input(..)
            | Self::Confirmation(_)
            | Self::Unsupported(_)
            | Self::Refused(..)
            | Self::Internal(_)
            | Self::Runtime(_)
            | Self::ClosedPipe
            | Self::Output(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_listed_once_and_in_order() {
        let listed: Vec<_> = CODES
            .iter()
            .filter_map(|(code, _)| code.parse::<u8>().ok())
            .collect();
        assert!(listed.is_sorted_by(|a, b| a < b));
        let failures = [
            Failure::ClosedPipe,
            Failure::NoSuchSubscription(String::new()),
            Failure::NoApiKey,
            Failure::Internal(String::new()),
            Failure::Refused(403, String::new()),
            Failure::NotDelivered(1, String::new()),
            Failure::Listen(([127, 0, 0, 1], 80).into(), io::Error::other("")),
            Failure::InPart {
                failed: 1,
                of: 2,
                what: "regions",
            },
        ];
        let ends: Vec<_> = failures.iter().map(Failure::code).collect();
        let meant: Vec<_> = listed[..ends.len()]
            .iter()
            .map(|code| ExitCode::from(*code))
            .collect();
        assert_eq!(ends, meant);
    }
}
