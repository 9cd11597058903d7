//! What an API key may do.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::host::{Fleet, HostId, is_delimiter, name};
use crate::key::{KeyId, SecretHash};
use crate::limits;
use crate::time::Timestamp;
use crate::words::words;

words! {
    /// What a key is for.
    pub enum Scope: "scope" {
        /// Sending beats.
        Ingest = "ingest",
        /// Reading hosts.
        Read = "read",
        /// Sending the service's own beats, and no others.
        Canary = "canary",
    }
}

/// The beginning of the names a key may beat for, up to a delimiter: `web` covers `web`, `web-01` and `web.eu`,
/// not `website`; `web-` covers whatever starts so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPrefix(String);

/// A string that is no [`HostPrefix`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a host prefix is the beginning of a hostId: 1 to 200 characters of A-Z a-z 0-9 . _ : @ / -"
)]
pub struct HostPrefixError;

impl HostPrefix {
    /// Whether `host` begins with this prefix, up to a delimiter.
    #[must_use]
    pub fn covers(&self, host: &HostId) -> bool {
        host.as_str().strip_prefix(&self.0).is_some_and(|rest| {
            rest.is_empty() || self.0.ends_with(is_delimiter) || rest.starts_with(is_delimiter)
        })
    }
}

impl FromStr for HostPrefix {
    type Err = HostPrefixError;
    fn from_str(text: &str) -> Result<Self, HostPrefixError> {
        text.parse::<HostId>()
            .map(|host| Self(host.into()))
            .map_err(|_| HostPrefixError)
    }
}

name!(HostPrefix, HostPrefixError);

/// What an admin calls a key: 1 to 64 visible characters, blanks inside allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// A string that is no [`KeyName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a key's name is 1 to {} characters, without line breaks or control characters",
    limits::KEY_NAME_CHARS
)]
pub struct KeyNameError;

impl KeyName {
    /// The name of the key that the first start of a service makes.
    #[must_use]
    pub fn first() -> Self {
        Self("first".to_owned())
    }

    /// The name of the key of the service's own beats.
    #[must_use]
    pub fn canary() -> Self {
        Self("canary".to_owned())
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;
    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let text = text.trim();
        let fits = (1..=limits::KEY_NAME_CHARS).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyNameError)
        }
    }
}

name!(KeyName, KeyNameError);

/// An API key as it is stored: everything but the secret.
#[derive(Clone, Debug)]
pub struct Key {
    /// By which a token names it.
    pub id: KeyId,
    /// For people.
    pub name: KeyName,
    /// What proves a token.
    pub hash: SecretHash,
    /// The only fleet it acts in.
    pub fleet: Fleet,
    /// What it is for.
    pub scope: Scope,
    /// The hosts it may beat for; empty means all of the fleet.
    pub host_prefixes: Vec<HostPrefix>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    /// When an admin took it back.
    pub revoked: Option<Timestamp>,
    /// The begin of the day (UTC) on which it was last used, as far as that was written down.
    pub used: Option<Timestamp>,
}

/// Why a valid key may not do what was asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// The key is for something else.
    #[error("this key has the scope {has}, {needs} is needed")]
    Scope {
        /// What it has.
        has: Scope,
        /// What it would need.
        needs: Scope,
    },
    /// The host is outside the key's prefixes.
    #[error("this key may not beat for {0}: its host prefixes do not cover that name")]
    Host(HostId),
    /// The name is one of the service's own, or the key is for those alone.
    #[error("this key may not beat for {0}: names that begin with hb: are the service's own")]
    Reserved(HostId),
}

impl Key {
    /// Whether the key can be used at all at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether a use at `now` is news: at most one a day is written down.
    #[must_use]
    pub fn is_news(&self, now: Timestamp) -> bool {
        self.used.is_none_or(|used| used < now.day())
    }

    /// Whether the key is for `scope`.
    pub fn permits(&self, needs: Scope) -> Result<(), Denied> {
        if self.scope == needs {
            Ok(())
        } else {
            Err(Denied::Scope {
                has: self.scope,
                needs,
            })
        }
    }

    /// Whether the key may beat for `host`.
    pub fn beats_for(&self, host: &HostId) -> Result<(), Denied> {
        self.permits(if self.scope == Scope::Canary {
            Scope::Canary
        } else {
            Scope::Ingest
        })?;
        if host.is_reserved() != (self.scope == Scope::Canary) {
            return Err(Denied::Reserved(host.clone()));
        }
        let open = self.host_prefixes.is_empty();
        if open || self.host_prefixes.iter().any(|p| p.covers(host)) {
            Ok(())
        } else {
            Err(Denied::Host(host.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_a_delimiter() {
        let covers = |prefix: &str, host: &str| {
            prefix
                .parse::<HostPrefix>()
                .unwrap()
                .covers(&host.parse().unwrap())
        };
        for host in ["web", "web-01", "web.eu", "web/cron"] {
            assert!(covers("web", host), "{host}");
        }
        for host in ["website", "we", "Web-01", "x-web"] {
            assert!(!covers("web", host), "{host}");
        }
        assert!(covers("web-", "web-01") && !covers("web-", "web"));
    }

    #[test]
    fn names_are_one_visible_line() {
        assert_eq!(
            " nightly backup ".parse::<KeyName>().unwrap().as_str(),
            "nightly backup"
        );
        for bad in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert_eq!(bad.parse::<KeyName>(), Err(KeyNameError), "{bad:?}");
        }
    }
}
