//! Names of hosts, of the fleets they belong to, and of the regions that receive their beats.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::key::KeyId;
use crate::limits;

/// A namespace of hosts, keys and subscriptions: 1 to 32 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fleet(String);

/// A string that is not a [`Fleet`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a fleet is 1 to {} characters of a-z, 0-9 and -", limits::FLEET_CHARS)]
pub struct FleetError;

impl Fleet {
    /// The fleet `main`, the default.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Whether this is the fleet `main`, which texts omit.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.0 == "main"
    }
}

impl FromStr for Fleet {
    type Err = FleetError;
    fn from_str(text: &str) -> Result<Self, FleetError> {
        let fits = is_lower_name(text, limits::FLEET_CHARS);
        fits.then(|| Self(text.to_owned())).ok_or(FleetError)
    }
}

/// The name of a machine or job inside its fleet: 1 to 200 characters of `A-Z a-z 0-9 . _ : @ / -`, case kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

/// Why a string is not a [`HostId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostIdError {
    /// The empty string.
    #[error("hostId is empty")]
    Empty,
    /// More characters than [`limits::HOST_ID_CHARS`].
    #[error("hostId has {chars} characters, at most {max} are allowed", max = limits::HOST_ID_CHARS)]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// A character outside the alphabet.
    #[error("hostId has {found:?} at position {position}, allowed are A-Z a-z 0-9 . _ : @ / -")]
    Character {
        /// The first such character.
        found: char,
        /// Its position, counted from 1.
        position: usize,
    },
}

/// The prefix of the service's own hosts.
const RESERVED: &str = "hb:";
/// The prefix of the service's own hosts that stand for keys.
const KEY: &str = "hb:key-";

impl HostId {
    /// Whether the name belongs to the service itself: to a canary or its receiver. No client may beat for those.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// Its site: what stands before the last slash of its name.
    #[must_use]
    pub fn site(&self) -> Option<&str> {
        let (site, _) = self.0.rsplit_once('/')?;
        Some(site).filter(|site| !site.is_empty())
    }

    /// The beginnings of its name that end with a slash: its site and those above it. A host prefix that ends with a slash
    /// covers the host exactly if it is one of these.
    pub fn site_prefixes(&self) -> impl Iterator<Item = &str> {
        let slashes = self.0.match_indices('/');
        slashes.map(|(slash, _)| &self.0[..=slash])
    }

    /// The host of test notices.
    #[must_use]
    pub fn test() -> Self {
        Self(format!("{RESERVED}test"))
    }

    /// The `n`-th canary.
    #[must_use]
    pub fn canary(n: u8) -> Self {
        Self(format!("{RESERVED}canary-{n}"))
    }

    /// The clock of the server's machine, whose transitions notify people that it stepped.
    #[must_use]
    pub fn clock() -> Self {
        Self(format!("{RESERVED}clock"))
    }

    /// A key, whose transitions notify people that it is nearly full.
    #[must_use]
    pub fn key(id: &KeyId) -> Self {
        Self(format!("{KEY}{id}"))
    }

    /// The key that it stands for.
    #[must_use]
    pub fn as_key(&self) -> Option<KeyId> {
        self.0.strip_prefix(KEY)?.parse().ok()
    }

    /// The receiver of beats, whose transitions notify people that it is degraded.
    #[must_use]
    pub fn receiver() -> Self {
        Self(format!("{RESERVED}receiver"))
    }
}

/// Whether `text` is 1 to `longest` characters of `a-z 0-9 -`.
pub(crate) fn is_lower_name(text: &str, longest: usize) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=longest).contains(&text.len()) && text.bytes().all(allowed)
}

/// `text` without blanks around it, if these are 1 to `longest` characters without line breaks and control characters.
pub(crate) fn one_line(text: &str, longest: usize) -> Option<String> {
    let text = text.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
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
        if let Some((index, found)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
            let position = index + 1;
            return Err(HostIdError::Character { found, position });
        }
        if text.len() > limits::HOST_ID_CHARS {
            return Err(HostIdError::TooLong { chars: text.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// The full name of a host: its fleet and its name there. Written `fleet/host`; a fleet has no slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostKey {
    /// The fleet.
    pub fleet: Fleet,
    /// The host in it.
    pub host: HostId,
}

impl HostKey {
    /// As people read it: with the fleet, unless that is `main`.
    #[must_use]
    pub fn short(&self) -> String {
        if self.fleet.is_main() {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }

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

/// Where a beat was received: an AWS region, or `local` on one machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

/// A string that is not a [`Region`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a region is 1 to {} characters of a-z, 0-9 and -",
    limits::REGION_CHARS
)]
pub struct RegionError;

impl Region {
    /// The region of a service on one machine.
    #[must_use]
    pub fn local() -> Self {
        Self("local".to_owned())
    }
}

impl FromStr for Region {
    type Err = RegionError;
    fn from_str(text: &str) -> Result<Self, RegionError> {
        let fits = is_lower_name(text, limits::REGION_CHARS);
        fits.then(|| Self(text.to_owned())).ok_or(RegionError)
    }
}

/// The conversions that all names share.
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
    fn each_bad_name_is_refused_with_its_reason() {
        assert_eq!("".parse::<HostId>(), Err(HostIdError::Empty));
        assert_eq!(
            "x".repeat(201).parse::<HostId>(),
            Err(HostIdError::TooLong { chars: 201 })
        );
        assert_eq!(
            "web\n01".parse::<HostId>(),
            Err(HostIdError::Character {
                found: '\n',
                position: 4
            })
        );
        assert_eq!(
            "web🔥".parse::<HostId>(),
            Err(HostIdError::Character {
                found: '🔥',
                position: 4
            })
        );
        assert_eq!(
            "a b".parse::<HostId>(),
            Err(HostIdError::Character {
                found: ' ',
                position: 2
            })
        );
    }

    #[test]
    fn a_site_is_what_stands_before_the_last_slash() {
        for (host, site) in [
            ("restaurant-17/pos-3", Some("restaurant-17")),
            ("north/restaurant-17/pos-3", Some("north/restaurant-17")),
            ("restaurant-17/", Some("restaurant-17")),
            ("web-01", None),
            ("/web-01", None),
            ("/", None),
        ] {
            assert_eq!(host.parse::<HostId>().unwrap().site(), site, "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_prefix_with_a_slash_covers_the_hosts_that_have_it(host in "[ab/-]{1,12}", prefix in "[ab/-]{0,6}/") {
            let host: HostId = host.parse().unwrap();
            let covers = prefix.parse::<crate::access::HostPrefix>().unwrap().covers(&host);
            proptest::prop_assert_eq!(host.site_prefixes().any(|one| one == prefix), covers);
        }
    }

    #[test]
    fn fleets_are_short_and_lower_case() {
        assert!("edge-7".parse::<Fleet>().is_ok());
        for bad in ["", "Main", "a/b", "a b", &"x".repeat(33)] {
            assert_eq!(bad.parse::<Fleet>(), Err(FleetError), "{bad}");
        }
    }
}
