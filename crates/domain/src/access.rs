//! What an API key may do.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::beat::Interval;
use crate::host::{Fleet, HostId, is_delimiter, name, one_line};
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
/// not `website`; `web-` covers all names that start with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPrefix(String);

/// A string that is not a [`HostPrefix`].
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

/// A string that is not a [`KeyName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a key's name is 1 to {} characters, without line breaks or control characters",
    limits::KEY_NAME_CHARS
)]
pub struct KeyNameError;

impl KeyName {
    /// The name of the key that a service makes at its first start.
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
        let line = one_line(text, limits::KEY_NAME_CHARS);
        line.map(Self).ok_or(KeyNameError)
    }
}

name!(KeyName, KeyNameError);

/// What a key is limited to besides its fleet and its prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// How many hosts may beat with it, from [`limits::KEY_HOSTS_MIN`]; `None` means [`limits::KEY_HOSTS`].
    pub hosts: Option<u32>,
    /// The longest interval that its beats may have.
    pub interval: Option<Interval>,
}

/// An API key as it is stored: everything but the secret.
#[derive(Clone, Debug)]
pub struct Key {
    /// As tokens contain it.
    pub id: KeyId,
    /// For people.
    pub name: KeyName,
    /// The hash that a token must match.
    pub hash: SecretHash,
    /// The only fleet it acts in.
    pub fleet: Fleet,
    /// What it is for.
    pub scope: Scope,
    /// The hosts it may beat for; empty means all of the fleet.
    pub host_prefixes: Vec<HostPrefix>,
    /// When it was created.
    pub created: Timestamp,
    /// When it stops working.
    pub expires: Option<Timestamp>,
    /// When an admin revoked it.
    pub revoked: Option<Timestamp>,
    /// The start of the day (UTC) of its last recorded use.
    pub used: Option<Timestamp>,
    /// What an admin limited it to.
    pub limits: KeyLimits,
    /// How many hosts beat with it, as far as they were counted.
    pub hosts: u32,
}

/// Why a valid key may not do what was asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// The key has another scope.
    #[error("this key has the scope {has}, {needs} is needed")]
    Scope {
        /// The scope of the key.
        has: Scope,
        /// The scope that was needed.
        needs: Scope,
    },
    /// The host is outside the key's prefixes.
    #[error("this key may not beat for {0}: its host prefixes do not cover that name")]
    Host(HostId),
    /// The name is one of the service's own, or the key is for those alone.
    #[error("this key may not beat for {0}: names that begin with hb: are the service's own")]
    Reserved(HostId),
    /// The host is new, and the key has all the hosts that it may have.
    #[error("this key has {0} hosts and may have no more; {1} would be a new one")]
    Full(u32, HostId),
    /// The interval is longer than the key allows.
    #[error("this key allows intervals of up to {} ms, not {}", .0.as_millis(), .1.as_millis())]
    Interval(Interval, Interval),
}

impl Key {
    /// Whether the key can be used at all at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether a use at `now` is to be recorded: at most one a day is.
    #[must_use]
    pub fn is_news(&self, now: Timestamp) -> bool {
        self.used.is_none_or(|used| used < now.day())
    }

    /// How many hosts may beat with it.
    #[must_use]
    pub fn most_hosts(&self) -> u32 {
        self.limits.hosts.unwrap_or(limits::KEY_HOSTS)
    }

    /// Whether no new host may beat with it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.hosts >= self.most_hosts()
    }

    /// Whether people are to know that it will soon be full, or is.
    #[must_use]
    pub fn is_nearly_full(&self, now: Timestamp) -> bool {
        let share = u64::from(self.hosts) * 100;
        self.is_live(now) && share >= u64::from(self.most_hosts()) * limits::KEY_HOSTS_ALARM_PERCENT
    }

    /// Whether its beats may have this interval.
    pub fn allows(&self, interval: Interval) -> Result<(), Denied> {
        match self.limits.interval {
            Some(most) if interval > most => Err(Denied::Interval(most, interval)),
            _ => Ok(()),
        }
    }

    /// Whether the key has this scope.
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
    fn key_names_are_one_visible_line() {
        assert_eq!(
            " nightly backup ".parse::<KeyName>().unwrap().as_str(),
            "nightly backup"
        );
        for bad in ["", "  ", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert_eq!(bad.parse::<KeyName>(), Err(KeyNameError), "{bad:?}");
        }
    }
}
