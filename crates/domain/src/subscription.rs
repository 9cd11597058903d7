//! Subscriptions: where notices go, and which.

use std::fmt;
use std::str::FromStr;

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::host::{Fleet, is_lower_name, name};
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

/// Where notices go: a protocol and an address that fits it. `Display` and `Debug` hide what may be a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    protocol: Protocol,
    address: String,
}

/// Why an address is not an endpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not an e-mail address (RFC 5322).
    #[error("{address:?} is not an e-mail address: {cause}")]
    Email {
        /// The address.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Not a URL, or one of another scheme. The URL may hold a secret and is left out.
    #[error("not a URL of the form {scheme}://host/path: {cause}")]
    Url {
        /// The scheme that it must have.
        scheme: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// Not a phone number.
    #[error(
        "{address:?} is not a phone number: write + and 7 to 15 digits (E.164), such as +15550100123"
    )]
    Phone {
        /// The address.
        address: String,
    },
    /// Not a queue.
    #[error("{address:?} is not a queue: write its ARN, arn:aws:sqs:REGION:ACCOUNT:NAME")]
    Queue {
        /// The address.
        address: String,
    },
    /// Longer than [`limits::ENDPOINT_BYTES`].
    #[error("the endpoint has {bytes} bytes, at most {max} are allowed", max = limits::ENDPOINT_BYTES)]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
}

/// What the addresses of a protocol look like, and so whether they may be shown.
enum AddressForm {
    Unused,
    Email,
    Phone,
    Queue,
    /// Its path may be a secret.
    Url {
        scheme: &'static str,
    },
}

impl Protocol {
    const fn address_form(self) -> AddressForm {
        match self {
            Self::Console => AddressForm::Unused,
            Self::Email => AddressForm::Email,
            Self::Sms => AddressForm::Phone,
            Self::Http => AddressForm::Url { scheme: "http" },
            Self::Https => AddressForm::Url { scheme: "https" },
            Self::Sqs => AddressForm::Queue,
        }
    }
}

impl Endpoint {
    /// Checks an address by the rules of `protocol`.
    pub fn parse(protocol: Protocol, address: &str) -> Result<Self, EndpointError> {
        if address.len() > limits::ENDPOINT_BYTES {
            let bytes = address.len();
            return Err(EndpointError::TooLong { bytes });
        }
        let address = address.to_owned();
        match protocol.address_form() {
            AddressForm::Unused => {}
            AddressForm::Email => {
                if let Err(error) = EmailAddress::from_str(&address) {
                    let cause = error.to_string();
                    return Err(EndpointError::Email { address, cause });
                }
            }
            AddressForm::Url { scheme } => {
                let cause = match Url::parse(&address) {
                    Ok(url) if url.scheme() == scheme => None,
                    Ok(url) => Some(format!("the scheme is {}", url.scheme())),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(cause) = cause {
                    return Err(EndpointError::Url { scheme, cause });
                }
            }
            AddressForm::Phone => {
                let fits = address.strip_prefix('+').is_some_and(|digits| {
                    (7..=15).contains(&digits.len())
                        && digits.bytes().all(|b| b.is_ascii_digit())
                        && !digits.starts_with('0')
                });
                if !fits {
                    return Err(EndpointError::Phone { address });
                }
            }
            AddressForm::Queue => {
                let parts: Vec<_> = address.split(':').collect();
                let fits = matches!(parts[..], ["arn", _, "sqs", region, account, name]
                    if ![region, account, name].contains(&""));
                if !fits {
                    return Err(EndpointError::Queue { address });
                }
            }
        }
        Ok(Self { protocol, address })
    }

    /// How it is delivered.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The whole address, which may hold a secret; logs get the endpoint's `Display`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The protocol and the address; of a URL only its scheme, host and port.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, address } = self;
        match protocol.address_form() {
            AddressForm::Unused => protocol.fmt(f),
            AddressForm::Url { .. } => match Url::parse(address) {
                Ok(url) => f.write_str(&url.origin().ascii_serialization()),
                Err(_) => protocol.fmt(f),
            },
            AddressForm::Email | AddressForm::Phone | AddressForm::Queue => {
                write!(f, "{protocol} {address}")
            }
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// The id of a subscription: 1 to 64 characters of `a-z 0-9 -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(String);

/// A string that is not a [`SubscriptionId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a subscription's id is 1 to 64 characters of a-z, 0-9 and -, as `hb subscription list` shows it"
)]
pub struct SubscriptionIdError;

impl SubscriptionId {
    /// The id made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 5]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
    }
}

impl FromStr for SubscriptionId {
    type Err = SubscriptionIdError;
    fn from_str(text: &str) -> Result<Self, SubscriptionIdError> {
        let fits = is_lower_name(text, 64);
        fits.then(|| Self(text.to_owned()))
            .ok_or(SubscriptionIdError)
    }
}

name!(SubscriptionId, SubscriptionIdError);

/// Which notices a subscription wants. An absent part does not restrict: an empty filter lets all through.
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
            && (self.severities.is_empty() || self.severities.contains(&notice.severity()))
    }
}

/// The token in a confirmation message, which proves that the owner of the endpoint wants notices. 16 to 1,024 letters
/// and digits; those of SNS have about 200. Also parsed from the link in such a message. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfirmationToken(String);

/// A string that is not a [`ConfirmationToken`]. Never contains a part of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a token: copy it, or the whole link, from the message that asks to confirm")]
pub struct ConfirmationTokenError;

impl ConfirmationToken {
    /// The token made of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 20]) -> Self {
        Self(data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// The whole token.
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
        fits.then_some(Self(token)).ok_or(ConfirmationTokenError)
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

/// A receiver of notices, with its filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// As admins name it.
    pub id: SubscriptionId,
    /// Where its notices go.
    pub endpoint: Endpoint,
    /// Which notices it wants.
    pub filter: Filter,
    /// When it was created.
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
    fn filters_match_the_shared_table() {
        let cases = include_str!("../../../tests/shared/filters.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
        for case in cases {
            let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
            for fleet in ["main", "lab"] {
                for kind in Kind::ALL {
                    let region = crate::host::Region::local();
                    let notice = Notice::test(fleet.parse().unwrap(), kind, region, Timestamp::MIN);
                    let delivered = case["delivered"]
                        .as_array()
                        .unwrap()
                        .contains(&format!("{fleet}/{kind}").into());
                    assert_eq!(
                        filter.lets_through(&notice),
                        delivered,
                        "{filter:?} {fleet}/{kind}"
                    );
                }
            }
        }
    }

    #[test]
    fn tokens_are_parsed_bare_and_from_links_and_never_shown() {
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

    /// An address of every protocol, and the part of it that must stay hidden, if any.
    fn address_and_secret(protocol: Protocol) -> (&'static str, Option<&'static str>) {
        match protocol {
            Protocol::Console => ("s3cret", Some("s3cret")),
            Protocol::Email => ("on-call@example.com", None),
            Protocol::Sms => ("+15550100123", None),
            Protocol::Http => (
                "http://user:s3cret@127.0.0.1:9000/s3cret?s3cret#s3cret",
                Some("s3cret"),
            ),
            Protocol::Https => ("https://hooks.example.com/T0/s3cret", Some("s3cret")),
            Protocol::Sqs => ("arn:aws:sqs:eu-west-1:123456789012:hb", None),
        }
    }

    #[test]
    fn the_secret_in_an_address_is_shown_for_no_protocol() {
        for protocol in Protocol::ALL {
            let (address, secret) = address_and_secret(protocol);
            let endpoint = Endpoint::parse(protocol, address).unwrap();
            let subscription = Subscription {
                id: SubscriptionId::from_random([7; 5]),
                endpoint: endpoint.clone(),
                filter: Filter::default(),
                created: Timestamp::MIN,
            };
            for shown in [
                endpoint.to_string(),
                format!("{endpoint:?}"),
                format!("{subscription:?}"),
            ] {
                match secret {
                    Some(secret) => assert!(!shown.contains(secret), "{shown}"),
                    None => assert!(shown.contains(address), "{shown}"),
                }
            }
        }
    }
}
