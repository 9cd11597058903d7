//! Who beats: hosts, the fleets they belong to, the regions that heard them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits;

/// A namespace of hosts, keys and subscriptions: 1 to 32 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fleet(String);

/// A string that is no [`Fleet`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a fleet is 1 to {} characters of a-z, 0-9 and -", limits::FLEET_CHARS)]
pub struct FleetError;

impl Fleet {
    /// The fleet `main`, meant when nobody says otherwise.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Whether this is the fleet `main`, which texts leave out.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.0 == "main"
    }
}

impl FromStr for Fleet {
    type Err = FleetError;
    fn from_str(text: &str) -> Result<Self, FleetError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=limits::FLEET_CHARS).contains(&text.len());
        if fits && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(FleetError)
        }
    }
}

/// The name of a machine or job inside its fleet: 1 to 200 characters of `A-Z a-z 0-9 . _ : @ / -`, case kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

/// Why a string is no [`HostId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostIdError {
    /// The empty string.
    #[error("hostId is empty")]
    Empty,
    /// More characters than [`limits::HOST_ID_CHARS`].
    #[error("hostId has {0} characters, at most {max} are allowed", max = limits::HOST_ID_CHARS)]
    TooLong(usize),
    /// A character outside the alphabet, with its place counted from 1.
    #[error("hostId has {0:?} at place {1}, allowed are A-Z a-z 0-9 . _ : @ / -")]
    Character(char, usize),
}

/// How the names of the service's own hosts begin.
const RESERVED: &str = "hb:";

impl HostId {
    /// Whether the name is one of the service's own: of its canaries and its receiver. No client may beat for them.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// The name that test notices bear.
    #[must_use]
    pub fn test() -> Self {
        Self(format!("{RESERVED}test"))
    }

    /// The `n`-th canary.
    #[must_use]
    pub fn canary(n: u8) -> Self {
        Self(format!("{RESERVED}canary-{n}"))
    }

    /// The receiver of beats, under whose name people are told that it is degraded.
    #[must_use]
    pub fn receiver() -> Self {
        Self(format!("{RESERVED}receiver"))
    }
}

/// Whether a character may separate the parts of a [`HostId`].
pub(crate) fn is_delimiter(c: char) -> bool {
    matches!(c, '.' | '_' | ':' | '@' | '/' | '-')
}

impl FromStr for HostId {
    type Err = HostIdError;
    fn from_str(text: &str) -> Result<Self, HostIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || is_delimiter(c);
        if text.is_empty() {
            return Err(HostIdError::Empty);
        }
        if let Some((place, c)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
            return Err(HostIdError::Character(c, place + 1));
        }
        if text.len() > limits::HOST_ID_CHARS {
            return Err(HostIdError::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What names a host everywhere: its fleet and its name there. Written `fleet/host`; a fleet has no slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostKey {
    /// The fleet.
    pub fleet: Fleet,
    /// The host in it.
    pub host: HostId,
}

impl HostKey {
    /// Names `host` in `fleet`.
    #[must_use]
    pub fn new(fleet: Fleet, host: HostId) -> Self {
        Self { fleet, host }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.fleet, self.host)
    }
}

/// Where a beat was heard: an AWS region, or `local` on one machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

/// A string that is no [`Region`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a region is 1 to {} characters of a-z, 0-9 and -",
    limits::REGION_CHARS
)]
pub struct RegionError;

impl Region {
    /// The one region of a service on one machine.
    #[must_use]
    pub fn local() -> Self {
        Self("local".to_owned())
    }
}

impl FromStr for Region {
    type Err = RegionError;
    fn from_str(text: &str) -> Result<Self, RegionError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=limits::REGION_CHARS).contains(&text.len());
        if fits && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RegionError)
        }
    }
}

/// The conversions every name shares: to and from strings, and back out unchanged.
macro_rules! name {
    ($name:ident, $error:ty) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}
pub(crate) use name;

name!(Fleet, FleetError);
name!(HostId, HostIdError);
name!(Region, RegionError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_are_host_ids() {
        for name in [
            "web-01",
            "Web_01.example.com",
            "db:5432/base",
            "cron@backup",
            "a",
            &"x".repeat(200),
        ] {
            assert_eq!(name.parse::<HostId>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn other_names_are_refused_by_reason() {
        assert_eq!("".parse::<HostId>(), Err(HostIdError::Empty));
        assert_eq!(
            "x".repeat(201).parse::<HostId>(),
            Err(HostIdError::TooLong(201))
        );
        assert_eq!(
            "web\n01".parse::<HostId>(),
            Err(HostIdError::Character('\n', 4))
        );
        assert_eq!(
            "web🔥".parse::<HostId>(),
            Err(HostIdError::Character('🔥', 4))
        );
        assert_eq!("a b".parse::<HostId>(), Err(HostIdError::Character(' ', 2)));
    }

    #[test]
    fn fleets_are_short_and_lower_case() {
        assert!("edge-7".parse::<Fleet>().is_ok());
        for bad in ["", "Main", "a/b", "a b", &"x".repeat(33)] {
            assert_eq!(bad.parse::<Fleet>(), Err(FleetError), "{bad}");
        }
    }
}
