//! `hb key`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Subcommand;
use hb_domain::{Fleet, HostPrefix, Interval, KeyId, KeyName, Scope, Token, TokenError};

use super::{duration, interval, one_of};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key and show it, once.
    Create {
        /// Its name.
        name: KeyName,
        /// What it may do: send beats (ingest), read hosts, or send the canaries of a stage.
        #[arg(long, default_value = "ingest", value_parser = one_of(Scope::ALL))]
        scope: Scope,
        /// The fleet it is limited to.
        #[arg(long, default_value = "main")]
        fleet: Fleet,
        /// Limits it to hosts whose name starts with this, up to a delimiter; may be repeated.
        #[arg(long = "host-prefix", value_name = "P")]
        host_prefixes: Vec<HostPrefix>,
        /// How long it is valid, such as 90d [default: for ever].
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<Duration>,
        /// How many hosts may beat with it, from 10 [default: 10000].
        #[arg(long, value_name = "N")]
        max_hosts: Option<u32>,
        /// The longest interval that its beats may have, such as 1h [default: any].
        #[arg(long, value_name = "DURATION", value_parser = interval)]
        max_interval: Option<Interval>,
    },
    /// Change what a key is limited to.
    #[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
    Limit {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
        /// How many hosts may beat with it, from 10, or `default`.
        #[arg(long, value_name = "N", group = "limits", value_parser = max_hosts)]
        max_hosts: Option<Change<u32>>,
        /// The longest interval that its beats may have, such as 1h, or `default`, which is any.
        #[arg(long, value_name = "DURATION", group = "limits", value_parser = max_interval)]
        max_interval: Option<Change<Interval>>,
    },
    /// List all keys, without their secrets.
    List,
    /// Show one key and the hosts whose last beat came with it.
    Show {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
    },
    /// Create a new key like an existing one, which then expires.
    Rotate {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
        /// How long the old key stays valid.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "7d")]
        overlap: Duration,
    },
    /// Revoke a key; `hb serve` refuses it within two seconds, a stage within a minute.
    Revoke {
        /// The key's id, its name, or the whole key.
        key: KeyRef,
    },
    /// Show the id of a key and whether its checksum is right. Works offline.
    Inspect {
        /// The whole key, or - to read it from standard input, where no list of processes shows it.
        token: String,
    },
    /// Print all keys for `hb key import`: CSV, or JSON with --output json. Hashes, never secrets.
    Export,
    /// Create many keys from CSV or JSON. Rows without a hash are new keys, which are shown once.
    Import {
        /// The file, or - for standard input.
        file: PathBuf,
        /// The column `key` has keys of another system, such as Amazon API Gateway, which machines go on using.
        #[arg(long)]
        opaque: bool,
        /// Leave out wrong rows, instead of doing nothing.
        #[arg(long)]
        skip_invalid: bool,
    },
}

/// A new value, or back to the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<T>(pub(crate) Option<T>);

fn change<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Change<T>, String> {
    match text {
        "default" => Ok(Change(None)),
        _ => parse(text).map(|value| Change(Some(value))),
    }
}

fn max_hosts(text: &str) -> Result<Change<u32>, String> {
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    change(text, number)
}

fn max_interval(text: &str) -> Result<Change<Interval>, String> {
    change(text, interval)
}

/// Which key: by its id, by its name, or by the whole token, of which only the id is kept.
#[derive(Clone, Debug)]
pub(crate) enum KeyRef {
    Id(KeyId),
    /// A name may look like an id.
    IdOrName(KeyId, KeyName),
    Name(KeyName),
    /// It looks like a token and cannot be read. Refused later, because clap would print it.
    Mistyped(TokenError),
}

impl FromStr for KeyRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("hbk_") {
            let token = text.parse::<Token>();
            return Ok(token.map_or_else(Self::Mistyped, |token| Self::Id(*token.id())));
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
