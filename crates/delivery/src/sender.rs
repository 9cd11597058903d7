//! How a delivery reaches its endpoint: one sender for each kind of channel.

mod console;
mod smtp;
mod webhook;

use async_trait::async_trait;
use hb_domain::{Notice, Protocol, Timestamp};
use hb_service::ports::{Content, Delivery};

pub use console::ConsoleSender;
pub use smtp::{SmtpSender, SmtpSettingsError};
pub use webhook::WebhookSender;

/// Longest error that is stored of a try, in characters: a line of a table.
const ERROR_CHARS: usize = 300;

/// What a failed try says about further ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A later try may succeed.
    Temporary,
    /// The endpoint will answer every further try of this delivery in the same way.
    Final,
    /// The same, and fewer hosts may be accepted.
    TooLarge,
}

/// Why an endpoint did not accept a delivery: one printable line, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct SendError {
    line: String,
    refusal: Refusal,
}

impl SendError {
    /// A temporary failure with the text of `cause`: on one line, truncated, [visible](hb_domain::visible).
    pub fn new(cause: impl std::fmt::Display) -> Self {
        Self::refused(cause, Refusal::Temporary)
    }

    /// The same, which says more about further tries.
    pub fn refused(cause: impl std::fmt::Display, refusal: Refusal) -> Self {
        let plain = hb_domain::visible(&cause.to_string());
        let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            line: line.chars().take(ERROR_CHARS).collect(),
            refusal,
        }
    }

    /// What it says about further tries.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }
}

/// Brings deliveries to their endpoints.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Sends once, at `now`; `Ok` when the endpoint has accepted the delivery. It may be cancelled at any time.
    async fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SendError>;
}

/// What serves a protocol on one machine.
enum Channel {
    Console,
    Webhook,
    Smtp,
    /// Nothing does; says what to use instead.
    Unsupported(&'static str),
}

/// The channels, a row for each protocol.
fn channel(protocol: Protocol) -> Channel {
    match protocol {
        Protocol::Console => Channel::Console,
        Protocol::Http | Protocol::Https => Channel::Webhook,
        Protocol::Email => Channel::Smtp,
        Protocol::Sms => Channel::Unsupported(
            "sms needs a deployed stage, where SNS sends it: on one machine subscribe by email, for instance to the \
             phone carrier's e-mail gateway, or by https to a webhook",
        ),
        Protocol::Sqs => Channel::Unsupported(
            "sqs needs a deployed stage, where SNS fills the queue: on one machine subscribe by https to a webhook",
        ),
    }
}

/// A protocol that only a deployed stage has; says what to use instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnsupportedError(&'static str);

/// Whether one machine can deliver over `protocol`.
pub fn supported(protocol: Protocol) -> Result<(), UnsupportedError> {
    match channel(protocol) {
        Channel::Unsupported(instead) => Err(UnsupportedError(instead)),
        Channel::Console | Channel::Webhook | Channel::Smtp => Ok(()),
    }
}

/// The senders of a server.
pub struct Senders {
    pub console: ConsoleSender,
    pub webhook: WebhookSender,
    /// `None` when no SMTP server is set.
    pub smtp: Option<SmtpSender>,
}

#[async_trait]
impl Sender for Senders {
    async fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SendError> {
        match (channel(delivery.endpoint.protocol()), &self.smtp) {
            (Channel::Console, _) => self.console.send(delivery, now).await,
            (Channel::Webhook, _) => self.webhook.send(delivery, now).await,
            (Channel::Smtp, Some(smtp)) => smtp.send(delivery, now).await,
            (Channel::Smtp, None) => Err(SendError::new(
                "no SMTP server is set: start hb serve with --smtp-url",
            )),
            (Channel::Unsupported(instead), _) => Err(SendError::new(instead)),
        }
    }
}

/// The notice of a delivery, for channels that need no confirmation.
fn notice(delivery: &Delivery) -> Result<&Notice, SendError> {
    match &delivery.content {
        Content::Notice(notice) => Ok(notice),
        Content::Confirmation(_) => Err(SendError::new("only e-mail addresses are to confirm")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_short_printable_line() {
        let error = SendError::new(format!("a\r\nb\u{1b}[31m\u{202e}  c {}", "x".repeat(1_000)));
        assert!(error.to_string().starts_with("a b [31m c xxx"), "{error}");
        assert_eq!(error.to_string().chars().count(), ERROR_CHARS);
    }

    #[test]
    fn an_unsupported_protocol_names_an_alternative() {
        let instead = |protocol| supported(protocol).unwrap_err().to_string();
        assert!(instead(Protocol::Sms).contains("subscribe by email"));
        assert!(instead(Protocol::Sqs).contains("webhook"));
        assert_eq!(supported(Protocol::Email), Ok(()));
    }
}
