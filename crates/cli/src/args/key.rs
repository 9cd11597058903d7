//! `hb key`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use hb_domain::{Fleet, HostPrefix, KeyId, KeyName, Token, TokenError};

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show it, once.
    Create {
        /// What you call it.
        name: KeyName,
        /// What it is for.
        #[arg(long, value_enum, default_value_t = ScopeArg::Ingest)]
        scope: ScopeArg,
        /// The only fleet it acts in.
        #[arg(long, default_value = "main")]
        fleet: Fleet,
        /// Only for hosts whose name begins so, up to a delimiter; may be repeated.
        #[arg(long = "host-prefix", value_name = "P")]
        host_prefixes: Vec<HostPrefix>,
        /// How long it is good for, such as 90d; for ever when not given.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
    },
    /// Show all keys, never their secrets.
    List,
    /// Make a new key like another, which expires after a while.
    Rotate {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
        /// How long the old key stays good.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "7d")]
        overlap: Duration,
    },
    /// Take a key back; `hb serve` refuses it within two seconds, a stage within a minute.
    Revoke {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
    },
    /// Say which key a token is, without asking anybody: its id, and whether it was typed right.
    Inspect {
        /// The whole key, or - to read it from standard input, where no list of processes shows it.
        token: String,
    },
    /// Print all keys for `hb key import`: CSV, or JSON with --output json. Hashes, never secrets.
    Export,
    /// Make many keys from CSV or JSON. Rows without a hash are new keys, which are shown once.
    Import {
        /// The file, or - for standard input.
        file: PathBuf,
        /// Leave out rows that are wrong, instead of doing nothing.
        #[arg(long)]
        skip_invalid: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Sending beats.
    Ingest,
    /// Reading hosts.
    Read,
    /// The canaries of a deployed stage.
    Canary,
}

/// Which key: by its id, by its name, or by the whole of it, of which the id is kept.
#[derive(Clone, Debug)]
pub(crate) enum KeyRef {
    Id(KeyId),
    /// A name may look like an id.
    IdOrName(KeyId, KeyName),
    Name(KeyName),
    /// It looks like a whole key and is none. Refused later, because clap would show it.
    Mistyped(TokenError),
}

impl FromStr for KeyRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("hbk_") {
            let token = text.parse::<Token>();
            return Ok(token.map_or_else(Self::Mistyped, |token| Self::Id(token.id().clone())));
        }
        let name = text
            .parse()
            .map_err(|error: hb_domain::KeyNameError| error.to_string())?;
        Ok(match text.parse() {
            Ok(id) => Self::IdOrName(id, name),
            Err(_) => Self::Name(name),
        })
    }
}
