//! E-mail by SMTP.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hb_domain::{ConfirmationToken, Notice};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;

use super::{Content, Delivery, SendError, Sender};

/// How long the server may take for one answer, and for a whole message.
const COMMAND: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(25);

/// Connections kept for the next message, and for how long.
const CONNECTIONS: u32 = 4;
const IDLE: Duration = Duration::from_mins(1);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Why e-mail cannot be sent with these settings. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum SmtpSettingsError {
    /// The URL.
    #[error(
        "the SMTP URL is not of the form smtp://HOST, smtp://USER:PASSWORD@HOST:PORT?tls=required or \
         smtps://USER:PASSWORD@HOST, with USER and PASSWORD percent-encoded: {0}"
    )]
    Url(String),
    /// The sender's address.
    #[error("{0:?} is no sender's address, such as hb@example.com or Heartbeat <hb@example.com>")]
    From(String),
}

/// Sends notices as e-mail through one server.
pub struct SmtpSender {
    builder: AsyncSmtpTransportBuilder,
    from: Mailbox,
    /// Made at the first use, as it needs the runtime.
    transport: Mutex<Option<Transport>>,
}

impl SmtpSender {
    /// `url` is `smtp://HOST[:PORT]` in the clear, the same with `?tls=required` for STARTTLS, or `smtps://`;
    /// `USER:PASSWORD@` goes before the host, percent-encoded. `from` is the address that mails come from.
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
        } = delivery;
        let to: Mailbox = endpoint.address().parse().map_err(SendError::new)?;
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .header(ContentType::TEXT_PLAIN);
        let (id, message, body) = match content {
            // The date is the same at every try: whoever gets a mail twice can see it.
            Content::Notice(notice) => {
                let message = message.subject(notice.subject_line()).date(date(notice));
                (plain(notice.id.as_str()), message, notice.email())
            }
            Content::Question(token) => {
                let message = message.subject("[hb] Do you want to be told?");
                ("question".to_owned(), message, question(token))
            }
        };
        let message = message.message_id(Some(format!("<{id}.{subscription}@{domain}>")));
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
    async fn send(&self, delivery: &Delivery) -> Result<(), SendError> {
        let message = self.message(delivery)?;
        let transport = self.transport();
        if let Ok(sent) = tokio::time::timeout(WHOLE, transport.send(message)).await {
            return sent.map(drop).map_err(SendError::new);
        }
        // The pool would take back the connection in the middle of a command, so it goes as a whole.
        *self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        Err(SendError::new(format!(
            "the SMTP server took longer than {} s",
            WHOLE.as_secs()
        )))
    }
}

/// Refuses what lettre would silently read as "in the clear" or as "without a password".
fn check(url: &str) -> Result<(), SmtpSettingsError> {
    let refused = |cause: &str| Err(SmtpSettingsError::Url(cause.to_owned()));
    let url = Url::parse(url).map_err(|error| SmtpSettingsError::Url(error.to_string()))?;
    if url
        .query_pairs()
        .any(|(name, value)| name != "tls" || value != "required")
    {
        return refused("only tls=required can stand behind the question mark");
    }
    if !url.username().is_empty() && url.password().is_none() {
        return refused("there is a user but no password");
    }
    Ok(())
}

/// The mail that asks; the only one before its answer.
fn question(token: &ConfirmationToken) -> String {
    format!(
        "Somebody wants Heartbeat to tell this address when machines fall silent.\n\nIf that is right, have this run \
         where the service runs:\n\n    hb subscription confirm --token {}\n\nIf it is a mistake, do nothing: no \
         other mail follows.\n",
        token.reveal()
    )
}

fn date(notice: &Notice) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(notice.at.as_millis()).unwrap_or(0))
}

/// A stored id is made of letters and digits, unless somebody wrote to the database by hand.
fn plain(id: &str) -> String {
    id.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_three_kinds_are_read() {
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
