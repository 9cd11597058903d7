//! E-mail by SMTP.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Notice, Timestamp};
use hb_service::ports::{Content, Delivery};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;

use super::{Refusal, SendError, Sender};

/// How long the server may take for one reply.
const COMMAND: Duration = Duration::from_secs(10);

/// How long the server may take for a whole message.
const MESSAGE: Duration = Duration::from_secs(25);

/// Most pooled connections.
const CONNECTIONS: u32 = 4;

/// How long an idle connection stays in the pool.
const IDLE: Duration = Duration::from_mins(1);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Why e-mail cannot be sent with these settings. Never shows the URL, which may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum SmtpSettingsError {
    #[error(
        "the SMTP URL is not of the form smtp://HOST, smtp://USER:PASSWORD@HOST:PORT?tls=required or \
         smtps://USER:PASSWORD@HOST, with USER and PASSWORD percent-encoded: {0}"
    )]
    Url(String),
    #[error("{0:?} is not a sender address such as hb@example.com or Heartbeat <hb@example.com>")]
    From(String),
}

/// Sends notices as e-mail through one server.
pub struct SmtpSender {
    builder: AsyncSmtpTransportBuilder,
    from: Mailbox,
    /// Made at the first use: it needs the runtime.
    transport: Mutex<Option<Transport>>,
}

impl SmtpSender {
    /// `url` is `smtp://HOST[:PORT]` without TLS, the same with `?tls=required` for STARTTLS, or `smtps://`;
    /// `USER:PASSWORD@` goes before the host, percent-encoded. `from` is the address that e-mails come from.
    pub fn new(url: &str, from: &str) -> Result<Self, SmtpSettingsError> {
        let from = from
            .parse()
            .map_err(|_| SmtpSettingsError::From(from.to_owned()))?;
        check(url)?;
        let builder = Transport::from_url(url)
            .map_err(|error| SmtpSettingsError::Url(error.to_string()))?
            .timeout(Some(COMMAND))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE));
        Ok(Self {
            builder,
            from,
            transport: Mutex::new(None),
        })
    }

    fn transport(&self) -> Transport {
        let mut transport = self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        transport
            .get_or_insert_with(|| self.builder.clone().build())
            .clone()
    }

    fn message(&self, delivery: &Delivery) -> Result<Message, SendError> {
        let Delivery {
            content,
            subscription,
            endpoint,
            webhook: _,
        } = delivery;
        let to: Mailbox = endpoint.address().parse().map_err(SendError::new)?;
        let domain = self.from.email.domain();
        // One for each attempt and reader: a second copy is a message of its own.
        let message_id =
            |sent: &str, attempt: u32| format!("<{sent}.{attempt}.{subscription}@{domain}>");
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .header(ContentType::TEXT_PLAIN);
        let (id, attempt, message, body) = match content {
            // The date is the same at every try, so that a reader recognises a second copy.
            Content::Notice(notice) => {
                let mut message = message.subject(notice.subject_line()).date(date(notice));
                // So that readers show trouble and recovery together.
                if let Some(sent) = &notice.follows {
                    let earlier = message_id(&plain(sent.id.as_str()), sent.attempt);
                    message = message.in_reply_to(earlier.clone()).references(earlier);
                }
                let id = plain(notice.id.as_str());
                (id, notice.attempt, message, notice.email())
            }
            Content::Confirmation(token) => {
                let message = message.subject("Confirm your Heartbeat subscription");
                ("confirmation".to_owned(), 1, message, confirmation(token))
            }
        };
        let message = message.message_id(Some(message_id(&id, attempt)));
        let mut message = message.body(body).map_err(SendError::new)?;
        for (name, value) in [
            ("Auto-Submitted", "auto-generated"),
            ("Idempotency-Key", &id),
        ] {
            let name = HeaderName::new_from_ascii(name.to_owned()).map_err(SendError::new)?;
            message
                .headers_mut()
                .insert_raw(HeaderValue::new(name, value.to_owned()));
        }
        Ok(message)
    }
}

#[async_trait]
impl Sender for SmtpSender {
    async fn send(&self, delivery: &Delivery, _: Timestamp) -> Result<(), SendError> {
        let message = self.message(delivery)?;
        let transport = self.transport();
        if let Ok(sent) = tokio::time::timeout(MESSAGE, transport.send(message)).await {
            return sent
                .map(drop)
                .map_err(|error| SendError::refused(&error, refusal(&error)));
        }
        // Cancelled in the middle of a command, the connection would return to the pool: drop the whole pool.
        *self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        Err(SendError::new(format!(
            "the SMTP server took longer than {} s",
            MESSAGE.as_secs()
        )))
    }
}

/// What a failure says about further tries: an answer of 5xx is final. A refused login is not (530, 534, 535, 538 by
/// RFC 4954): an admin mends it in the settings, and no notice should be lost meanwhile.
fn refusal(error: &Error) -> Refusal {
    let login = [530, 534, 535, 538];
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !login.contains(&code) => Refusal::Final,
        _ => Refusal::Temporary,
    }
}

/// Refuses what lettre would silently read as "without TLS" or "without a password".
fn check(url: &str) -> Result<(), SmtpSettingsError> {
    let refused = |cause: &str| Err(SmtpSettingsError::Url(cause.to_owned()));
    let url = Url::parse(url).map_err(|error| SmtpSettingsError::Url(error.to_string()))?;
    if url
        .query_pairs()
        .any(|(name, value)| name != "tls" || value != "required")
    {
        return refused("the only parameter is tls=required");
    }
    if !url.username().is_empty() && url.password().is_none() {
        return refused("a user without a password");
    }
    Ok(())
}

/// The body of the only e-mail that an unconfirmed address gets.
fn confirmation(token: &ConfirmationToken) -> String {
    format!(
        "Someone has subscribed this address to Heartbeat notices, which report machines that stop sending \
         heartbeats.\n\nTo confirm the subscription, have this command run on the Heartbeat server:\n\n    \
         hb subscription confirm --token {}\n\nIf you did not expect this message, ignore it. You will receive no \
         further messages.\n",
        token.reveal()
    )
}

fn date(notice: &Notice) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(notice.at.as_millis()).unwrap_or(0))
}

/// Only the letters and digits of a stored id, in case it was edited by hand: it goes into a header.
fn plain(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use hb_domain::{Endpoint, Protocol, Webhook};

    use super::*;

    /// An address that is accepted when it is added, and that lettre cannot send to, would get no mail for ever.
    #[test]
    fn every_address_that_can_be_added_can_be_sent_to_without_smtputf8() {
        let sender = SmtpSender::new("smtp://localhost", "hb@example.com").unwrap();
        let mut accepted = 0;
        for address in [
            "on-call@example.com",
            "root@localhost",
            "o'neil+hb/{x}@sub.example.com",
            "\"on call\"@example.com",
            "\"on@call\"@example.com",
            "On Call <on-call@example.com>",
            "Jörg <joerg@example.com>",
            "\"Call, On\" <on-call@example.com>",
            "a@xn--bcher-kva.example",
            "a@example.com.",
            "a@my_host",
            "a@-x-.example",
            "a.@example.com",
            "a@b",
            "a@1.2.3.4.example",
            "jörg@example.com",
            "a@bücher.example",
        ] {
            let endpoint = Endpoint::parse(Protocol::Email, address);
            let Some(endpoint) = endpoint.ok().filter(|e| e.check_reachable(false).is_ok()) else {
                continue;
            };
            accepted += 1;
            let message = sender.message(&Delivery {
                content: Content::Confirmation(ConfirmationToken::from_random([7; 20])),
                subscription: "on-call".parse().unwrap(),
                endpoint,
                webhook: Webhook::default(),
            });
            let message = message.unwrap_or_else(|error| panic!("{address}: {error}"));
            let mut to = message.envelope().to().iter();
            assert!(to.all(|to| to.to_string().is_ascii()), "{address}");
        }
        assert!(accepted >= 10, "{accepted}");
    }

    #[test]
    fn plain_starttls_and_smtps_urls_are_accepted() {
        for good in [
            "smtp://localhost:2525",
            "smtp://user:p%40ss@mail.example.com?tls=required",
            "smtps://user:p%40ss@mail.example.com",
        ] {
            let sender = SmtpSender::new(good, "Heartbeat <hb@example.com>");
            assert!(sender.is_ok(), "{good}: {:?}", sender.err());
        }
    }

    #[test]
    fn refused_settings_do_not_show_the_password() {
        for bad in [
            "mail.example.com",
            "http://user:hunter2@mail.example.com",
            "smtp://user:hunter2@mail.example.com?tls=reqired",
            "smtp://user:hunter2@mail.example.com?starttls=true",
            "smtp://user@mail.example.com",
            "smtp:///",
        ] {
            let error = SmtpSender::new(bad, "hb@example.com")
                .err()
                .unwrap()
                .to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(matches!(
            SmtpSender::new("smtp://localhost", "hb"),
            Err(SmtpSettingsError::From(_))
        ));
    }
}
