//! Subscriptions: where notices go, and which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::endpoint::Endpoint;
use crate::filter::Filter;
use crate::host::{is_lower_name, name};
use crate::time::Timestamp;
use crate::webhook::Webhook;
use crate::words::words;

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
    /// How a webhook on one machine is signed, and where it may lead; the default for all others.
    pub webhook: Webhook,
    /// When it was created.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
