//! Who listens, where, and to which notices.

use std::fmt;
use std::str::FromStr;

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::host::{Fleet, name};
use crate::limits;
use crate::notice::Notice;
use crate::time::Timestamp;
use crate::transition::{Kind, Severity};
use crate::words::words;

words! {
    /// How a subscription is delivered; the words are those of SNS.
    pub enum Protocol: "protocol" {
        /// A line on the terminal of `hb serve`.
        Console = "console",
        /// An e-mail.
        Email = "email",
        /// A text message to a phone.
        Sms = "sms",
        /// A POST to a URL in the clear.
        Http = "http",
        /// A POST to a URL over TLS.
        Https = "https",
        /// A message in an SQS queue.
        Sqs = "sqs",
    }
}

/// Where notices go: a protocol and an address that fits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    protocol: Protocol,
    address: String,
}

/// Why an address is no endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// No e-mail address (RFC 5322).
    #[error("{0:?} is no e-mail address: {1}")]
    Email(String, String),
    /// No URL, or one of another scheme.
    #[error("not a URL of the form {0}://host/path: {1}")]
    Url(Protocol, String),
    /// No phone number.
    #[error("{0:?} is no phone number: write + and 7 to 15 digits (E.164), such as +15550100123")]
    Phone(String),
    /// No queue.
    #[error("{0:?} is no queue: write its ARN, arn:aws:sqs:REGION:ACCOUNT:NAME")]
    Queue(String),
    /// Longer than [`limits::ENDPOINT_BYTES`].
    #[error("the endpoint has {0} bytes, at most {max} are allowed", max = limits::ENDPOINT_BYTES)]
    TooLong(usize),
}

impl Endpoint {
    /// Reads an address as `protocol` wants it.
    pub fn parse(protocol: Protocol, address: &str) -> Result<Self, EndpointError> {
        if address.len() > limits::ENDPOINT_BYTES {
            return Err(EndpointError::TooLong(address.len()));
        }
        let known = || address.to_owned();
        match protocol {
            Protocol::Console => {}
            Protocol::Email => {
                EmailAddress::from_str(address)
                    .map_err(|e| EndpointError::Email(known(), e.to_string()))?;
            }
            Protocol::Http | Protocol::Https => {
                let url =
                    Url::parse(address).map_err(|e| EndpointError::Url(protocol, e.to_string()))?;
                if url.scheme() != protocol.as_str() {
                    let cause = format!("the scheme is {}", url.scheme());
                    return Err(EndpointError::Url(protocol, cause));
                }
            }
            Protocol::Sms => {
                let digits = address
                    .strip_prefix('+')
                    .filter(|d| (7..=15).contains(&d.len()));
                let fits = digits
                    .is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()) && !d.starts_with('0'));
                fits.then_some(())
                    .ok_or_else(|| EndpointError::Phone(known()))?;
            }
            Protocol::Sqs => {
                let parts: Vec<_> = address.split(':').collect();
                let fits = matches!(parts[..], ["arn", _, "sqs", region, account, name]
                    if ![region, account, name].contains(&""));
                fits.then_some(())
                    .ok_or_else(|| EndpointError::Queue(known()))?;
            }
        }
        Ok(Self {
            protocol,
            address: known(),
        })
    }

    /// How it is delivered.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The address in full; a URL may hold a secret, so logs get [`Endpoint`]'s `Display`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The protocol and the address, of a URL only scheme and host: paths of webhooks are secrets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Console => f.write_str("console"),
            Protocol::Http | Protocol::Https => match Url::parse(&self.address) {
                Ok(url) => write!(f, "{}", url.origin().ascii_serialization()),
                Err(_) => write!(f, "{}", self.protocol),
            },
            _ => write!(f, "{} {}", self.protocol, self.address),
        }
    }
}

/// The name of a subscription: 1 to 64 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(String);

/// A string that is no [`SubscriptionId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a subscription's id is 1 to 64 characters of a-z, 0-9 and -, as `hb subscription list` shows it"
)]
pub struct SubscriptionIdError;

impl SubscriptionId {
    /// Makes an id of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 5]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
    }
}

impl FromStr for SubscriptionId {
    type Err = SubscriptionIdError;
    fn from_str(text: &str) -> Result<Self, SubscriptionIdError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(known);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubscriptionIdError)
        }
    }
}

name!(SubscriptionId, SubscriptionIdError);

/// Which notices a subscription wants. What is not named is not asked for: an empty filter lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only of this fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// Only of these kinds; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Only of these severities; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
}

impl Filter {
    /// Whether `notice` passes.
    #[must_use]
    pub fn lets_through(&self, notice: &Notice) -> bool {
        self.fleet
            .as_ref()
            .is_none_or(|fleet| *fleet == notice.fleet)
            && (self.kinds.is_empty() || self.kinds.contains(&notice.kind))
            && (self.severities.is_empty() || self.severities.contains(&Severity::of(notice.kind)))
    }
}

/// What proves that somebody at an endpoint wants to be told: it comes with the message that asks. 16 to 1,024 letters
/// and digits; those of SNS have about 200. Also read from the link of such a message. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmationToken(String);

/// A string that is no [`ConfirmationToken`]. Never holds a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a token: copy it, or the whole link, from the message that asks to confirm")]
pub struct ConfirmationTokenError;

impl ConfirmationToken {
    /// Makes a token of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 20]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// The token in full.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConfirmationToken {
    type Err = ConfirmationTokenError;
    fn from_str(text: &str) -> Result<Self, ConfirmationTokenError> {
        // The links of SNS: https://sns.REGION.amazonaws.com/confirmation.html?TopicArn=...&Token=...&Endpoint=...
        let linked = Url::parse(text).ok().and_then(|url| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(name, _)| name == "Token")
                .map(|(_, token)| token.into_owned())
        });
        let token = linked.unwrap_or_else(|| text.to_owned());
        let fits =
            (16..=1_024).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric());
        if fits {
            Ok(Self(token))
        } else {
            Err(ConfirmationTokenError)
        }
    }
}

impl fmt::Debug for ConfirmationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfirmationToken(hidden)")
    }
}

words! {
    /// Whether a subscription receives notices.
    pub enum SubscriptionState: "state of a subscription" {
        /// It does.
        Confirmed = "confirmed",
        /// Not before the owner of the endpoint confirms.
        Pending = "pending",
        /// The topic no longer knows it: it was unsubscribed elsewhere, or not confirmed in time.
        Gone = "gone",
    }
}

/// Somebody who listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its name.
    pub id: SubscriptionId,
    /// Where its notices go.
    pub endpoint: Endpoint,
    /// Which ones.
    pub filter: Filter,
    /// When it was made.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_by_protocol() {
        let good = [
            (Protocol::Email, "on-call@example.com"),
            (Protocol::Http, "http://127.0.0.1:9000/hook?x=1"),
            (Protocol::Https, "https://hooks.example.com/T0/secret"),
            (Protocol::Sms, "+15550100123"),
            (Protocol::Sqs, "arn:aws:sqs:eu-west-1:123456789012:hb"),
        ];
        for (protocol, address) in good {
            assert_eq!(
                Endpoint::parse(protocol, address).unwrap().address(),
                address
            );
        }
        let bad = [
            (Protocol::Email, "on-call"),
            (Protocol::Email, "a@example.com\r\nBcc: b@example.com"),
            (Protocol::Http, "https://example.com"),
            (Protocol::Https, "example.com/hook"),
            (Protocol::Sms, "0151 234"),
            (Protocol::Sqs, "https://sqs.eu-west-1.amazonaws.com/1/hb"),
        ];
        for (protocol, address) in bad {
            assert!(Endpoint::parse(protocol, address).is_err(), "{address}");
        }
    }

    #[test]
    fn filters_let_through_what_the_shared_table_says() {
        let cases = include_str!("../../../tests/shared/filters.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
        for case in cases {
            let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
            for fleet in ["main", "lab"] {
                for kind in Kind::ALL {
                    let region = crate::host::Region::local();
                    let notice = Notice::test(fleet.parse().unwrap(), kind, region, Timestamp::MIN);
                    let told = case["told"]
                        .as_array()
                        .unwrap()
                        .contains(&format!("{fleet}/{kind}").into());
                    assert_eq!(
                        filter.lets_through(&notice),
                        told,
                        "{filter:?} {fleet}/{kind}"
                    );
                }
            }
        }
    }

    #[test]
    fn tokens_are_read_bare_and_from_links_and_never_shown() {
        let token = ConfirmationToken::from_random([7; 20]);
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        let link = format!(
            "https://sns.eu-west-1.amazonaws.com/confirmation.html?TopicArn=a:b&Token={}&Endpoint=c",
            token.reveal()
        );
        assert_eq!(link.parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains(token.reveal()));
        for bad in [
            "",
            "short",
            "has blanks in it and more",
            "https://example.com/?Token=1",
            &"x".repeat(1_025),
        ] {
            assert_eq!(
                bad.parse::<ConfirmationToken>(),
                Err(ConfirmationTokenError),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_path_of_a_webhook_is_not_shown() {
        let hook = Endpoint::parse(Protocol::Https, "https://hooks.example.com/T0/secret").unwrap();
        assert_eq!(hook.to_string(), "https://hooks.example.com");
    }
}
