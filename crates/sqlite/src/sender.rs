//! How a delivery reaches its endpoint: one adapter a protocol.

mod console;
mod smtp;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Endpoint, Notice, Protocol, SubscriptionId};

pub use console::ConsoleSender;
pub use smtp::{SmtpSender, SmtpSettingsError};
pub use webhook::{WebhookSender, http_client};

/// Longest error that is kept of a try, in characters: a line of a table.
const ERROR_CHARS: usize = 300;

/// What is sent.
#[derive(Clone, Debug)]
pub enum Content {
    /// A notice.
    Notice(Box<Notice>),
    /// Whether whoever is there wants notices; this token says yes.
    Question(ConfirmationToken),
}

/// Something on its way to one subscription.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What is sent.
    pub content: Content,
    /// To whom.
    pub subscription: SubscriptionId,
    /// Where that is.
    pub endpoint: Endpoint,
}

impl Delivery {
    /// The notice, for endpoints that are never asked anything.
    pub(crate) fn notice(&self) -> Result<&Notice, SendError> {
        match &self.content {
            Content::Notice(notice) => Ok(notice),
            Content::Question(_) => {
                Err(SendError::new("only an e-mail address is asked to confirm"))
            }
        }
    }
}

/// Why an endpoint did not take a delivery: one harmless line, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SendError(String);

impl SendError {
    /// Keeps what `cause` says: on one line, cut, without control characters.
    pub fn new(cause: impl std::fmt::Display) -> Self {
        let plain: String = cause
            .to_string()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line: String = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(line.chars().take(ERROR_CHARS).collect())
    }
}

/// Brings deliveries to the endpoints of a protocol.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends once; `Ok` when the endpoint has taken the delivery over. It may be cancelled at any time.
    async fn send(&self, delivery: &Delivery) -> Result<(), SendError>;
}

/// The senders of a server, by protocol.
#[derive(Clone, Default)]
pub struct Senders {
    by_protocol: HashMap<Protocol, Arc<dyn Sender>>,
}

impl Senders {
    /// Adds the sender for `protocol`.
    #[must_use]
    pub fn with(mut self, protocol: Protocol, sender: Arc<dyn Sender>) -> Self {
        self.by_protocol.insert(protocol, sender);
        self
    }

    /// The sender for `protocol`, or what an admin can do about there being none.
    pub(crate) fn of(&self, protocol: Protocol) -> Result<&dyn Sender, SendError> {
        self.by_protocol
            .get(&protocol)
            .map(AsRef::as_ref)
            .ok_or_else(|| match protocol {
                Protocol::Email => {
                    SendError::new("no SMTP server is set: start hb serve with --smtp-url")
                }
                _ => supported(protocol).map_or_else(SendError::new, |()| {
                    SendError::new(format!("this server has no {protocol}"))
                }),
            })
    }
}

/// A protocol that only a deployed stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedError {
    /// Text messages.
    #[error(
        "sms needs a deployed stage, where SNS sends it: on one machine subscribe by email, for instance to the \
         phone carrier's e-mail gateway, or by https to a webhook"
    )]
    Sms,
    /// Queues.
    #[error(
        "sqs needs a deployed stage, where SNS fills the queue: on one machine subscribe by https to a webhook"
    )]
    Sqs,
}

/// Whether one machine can deliver over `protocol`; the error says what to do instead.
pub fn supported(protocol: Protocol) -> Result<(), UnsupportedError> {
    match protocol {
        Protocol::Console | Protocol::Email | Protocol::Http | Protocol::Https => Ok(()),
        Protocol::Sms => Err(UnsupportedError::Sms),
        Protocol::Sqs => Err(UnsupportedError::Sqs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_harmless_line() {
        let error = SendError::new(format!("a\r\nb\u{1b}[31m  c {}", "x".repeat(1_000)));
        assert!(error.to_string().starts_with("a b [31m c xxx"), "{error}");
        assert_eq!(error.to_string().chars().count(), ERROR_CHARS);
    }

    #[test]
    fn what_is_missing_says_what_to_do() {
        let cause = |protocol| Senders::default().of(protocol).err().unwrap().to_string();
        assert_eq!(
            cause(Protocol::Email),
            "no SMTP server is set: start hb serve with --smtp-url"
        );
        assert!(cause(Protocol::Sms).contains("subscribe by email"));
        assert!(cause(Protocol::Sqs).contains("webhook"));
        assert_eq!(cause(Protocol::Https), "this server has no https");
        assert!(supported(Protocol::Email).is_ok() && supported(Protocol::Sms).is_err());
    }
}
