//! Where notices go: a protocol and an address that fits it.

mod reach;

use std::fmt;
use std::str::FromStr;

use email_address::EmailAddress;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::limits;
use crate::words::words;

pub use reach::off_limits;

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
    /// An e-mail address that no mail gets to.
    #[error("no mail gets to {address:?}: {cause}")]
    NoMail {
        /// The address.
        address: String,
        /// Why.
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
    /// A webhook that may lead there only when that is asked for.
    #[error(
        "{host} is {what}, where only services for the machine itself listen: write the receiver's own address, or add \
         --allow-private"
    )]
    OffLimits {
        /// The host of its URL.
        host: String,
        /// What that is.
        what: &'static str,
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

impl Protocol {
    /// Whether it posts to a URL.
    #[must_use]
    pub const fn is_webhook(self) -> bool {
        matches!(self.address_form(), AddressForm::Url { .. })
    }
}

impl Endpoint {
    /// Checks the form of an address by the rules of `protocol`, as far as every version did: what is stored must stay
    /// readable. What is new must also be [reachable](Self::check_reachable).
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

    /// Refuses an address that can never work, and one that a webhook may lead to only if `allow_private`.
    pub fn check_reachable(&self, allow_private: bool) -> Result<(), EndpointError> {
        match self.protocol.address_form() {
            AddressForm::Email => unreachable_email(&self.address).map_or(Ok(()), |cause| {
                let address = self.address.clone();
                Err(EndpointError::NoMail { address, cause })
            }),
            AddressForm::Url { scheme } => {
                if let Some(cause) = unreachable_url(&self.address) {
                    let cause = cause.to_owned();
                    return Err(EndpointError::Url { scheme, cause });
                }
                match self.off_limits().filter(|_| !allow_private) {
                    Some((host, what)) => Err(EndpointError::OffLimits { host, what }),
                    None => Ok(()),
                }
            }
            AddressForm::Unused | AddressForm::Phone | AddressForm::Queue => Ok(()),
        }
    }

    /// The host of a webhook's URL and what it is, if it is off limits as it is written; where another name leads is
    /// known only when it is looked up.
    fn off_limits(&self) -> Option<(String, &'static str)> {
        let url = Url::parse(&self.address).ok()?;
        let what = match url.host()? {
            Host::Domain(name) => reach::is_metadata_name(name),
            Host::Ipv4(v4) => off_limits(v4.into()),
            Host::Ipv6(v6) => off_limits(v6.into()),
        };
        Some((url.host_str()?.to_owned(), what?))
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

/// Why no mail can get to an address that is one by its form.
fn unreachable_email(address: &str) -> Option<String> {
    let email = EmailAddress::from_str(address).ok()?;
    let domain = email.domain();
    if !email.local_part().is_ascii() {
        let cause = "few mail servers take letters beyond ASCII before the @ (SMTPUTF8): use an address without them";
        return Some(cause.to_owned());
    }
    if email.local_part().starts_with('"') {
        let cause = "it is quoted before the @, which few mail servers take: use an address without quotation marks";
        return Some(cause.to_owned());
    }
    let named = "write the name of the mail domain after the @, not an IP address";
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if ascii.eq_ignore_ascii_case(domain) => {
            reach::wrong_name(domain).map(ToOwned::to_owned)
        }
        Ok(Host::Domain(ascii)) => Some(format!("write its domain in ASCII, as {ascii}")),
        Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Some(named.to_owned()),
        Err(_) if domain.starts_with('[') => Some(named.to_owned()),
        Err(error) => Some(format!("its domain: {error}")),
    }
}

/// Why nothing can be posted to a URL of the right form.
fn unreachable_url(address: &str) -> Option<&'static str> {
    let url = Url::parse(address).ok()?;
    if url.port() == Some(0) {
        return Some("nothing listens on port 0");
    }
    match url.host()? {
        Host::Domain(name) => reach::wrong_name(name),
        Host::Ipv4(v4) if v4.is_multicast() || v4.is_broadcast() => Some(MANY),
        Host::Ipv6(v6) if v6.is_multicast() => Some(MANY),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

const MANY: &str = "its address is one of many machines (multicast), which answer no requests";

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

#[cfg(test)]
mod tests;
