//! Webhooks: a POST of the notice's JSON, signed.

mod guard;

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::Timestamp;
use hb_service::ports::Delivery;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use self::guard::{Guard, LookUp};
use super::{Refusal, SendError, Sender, notice};
use crate::client::{chain, http_client};

/// How long a whole request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const READ: usize = 1_024;

/// Characters of an answer that are kept in the error.
const SHOWN: usize = 200;

/// Shorter parts of a URL are words, not secrets.
const SECRET_CHARS: usize = 4;

/// Posts notices over HTTP and HTTPS.
///
/// Any 2xx status counts as delivered. Redirects are not followed: a receiver that moved must be subscribed again.
#[derive(Clone, Debug)]
pub struct WebhookSender {
    /// Connects to no address that is off limits.
    guarded: Client,
    /// Of the subscriptions that may lead there.
    unguarded: Client,
}

impl WebhookSender {
    /// A sender with connection pools. Panics when the process has not installed rustls's default provider.
    pub fn new() -> Result<Self, SendError> {
        Self::looking_up(guard::system)
    }

    fn looking_up(look_up: LookUp) -> Result<Self, SendError> {
        let settings = || {
            Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("heartbeat/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            guarded: http_client(|| settings().dns_resolver(Guard(look_up)))?,
            unguarded: http_client(settings)?,
        })
    }
}

#[async_trait]
impl Sender for WebhookSender {
    async fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SendError> {
        let notice = notice(delivery)?;
        let Delivery {
            endpoint, webhook, ..
        } = delivery;
        // An address in the URL is not looked up.
        let reachable = endpoint.check_reachable(webhook.allow_private);
        reachable.map_err(SendError::new)?;
        let url = Url::parse(endpoint.address()).map_err(SendError::new)?;
        let client = if webhook.allow_private {
            &self.unguarded
        } else {
            &self.guarded
        };
        let body = notice.json().to_string();
        let mut request = client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", notice.id.as_str());
        for (name, value) in webhook.headers(notice.id.as_str(), now, &body) {
            request = request.header(name, value);
        }
        let failed = |cause: String| SendError::new(format!("{}: {cause}", delivery.endpoint));
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|e| failed(chain(&e.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        if status.is_redirection() {
            return Err(failed(format!(
                "{status}, redirects are not followed: subscribe the new URL"
            )));
        }
        let body = without_secrets(&beginning(response).await, &url);
        let body: String = body.chars().take(SHOWN).collect();
        let answer = if body.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {body}")
        };
        let cause = format!("{}: {answer}", delivery.endpoint);
        Err(SendError::refused(cause, refusal(status)))
    }
}

/// What an answer says about further tries. Refused credentials (401, 403) are not final: an admin mends them at the
/// receiver, and no notice should be lost meanwhile.
fn refusal(status: StatusCode) -> Refusal {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::GONE
        | StatusCode::URI_TOO_LONG
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Refusal::Final,
        _ => Refusal::Temporary,
    }
}

/// The beginning of the body: its first chunk.
async fn beginning(mut response: Response) -> String {
    match response.chunk().await {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes[..bytes.len().min(READ)])
            .trim()
            .to_owned(),
        _ => String::new(),
    }
}

/// Hides all parts of `url` in `text`: servers echo a path that they do not know, and the path of a webhook is its
/// secret.
fn without_secrets(text: &str, url: &Url) -> String {
    let path = url.path().split('/');
    let query = url.query().unwrap_or_default().split(['&', '=']);
    let mut secrets: Vec<_> = path.chain(query).chain(url.password()).collect();
    secrets.retain(|secret| secret.len() >= SECRET_CHARS);
    // The longest first: a shorter one inside it would leave the rest visible.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use hb_domain::{Endpoint, Kind, Protocol, Webhook};
    use hb_service::ports::Content;
    use hb_service::testing::contract;

    use super::*;

    /// A name that leads to the unspecified address, which is this machine, and would be connected to.
    #[tokio::test]
    async fn a_name_that_leads_off_limits_is_connected_to_only_if_that_is_allowed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sender = WebhookSender {
            unguarded: Client::new(),
            ..WebhookSender::looking_up(|_| Box::pin(async { Ok(vec![([0; 4], 0).into()]) }))
                .unwrap()
        };
        let said = async |url: &str, allow_private| {
            let delivery = Delivery {
                content: Content::Notice(Box::new(contract::notice("web", 1, Kind::Missing))),
                subscription: "hook".parse().unwrap(),
                endpoint: Endpoint::parse(Protocol::Http, url).unwrap(),
                webhook: Webhook::new(allow_private, None),
            };
            let sent = sender.send(&delivery, Timestamp::MIN).await;
            sent.unwrap_err().to_string()
        };
        // Nothing listens on port 1.
        let refused = said("http://localhost:1/s3cret", false).await;
        assert!(
            refused.contains("localhost leads to 0.0.0.0, an unspecified address")
                && refused.contains("--allow-private")
                && !refused.contains("s3cret"),
            "{refused}"
        );
        let allowed = said("http://localhost:1/", true).await;
        assert!(allowed.contains("refused"), "{allowed}");
        let literal = said("http://0.0.0.0:1/s3cret", false).await;
        assert!(
            literal.contains("0.0.0.0 is an unspecified address") && !literal.contains("s3cret"),
            "{literal}"
        );
        let allowed = said("http://0.0.0.0:1/", true).await;
        assert!(allowed.contains("refused"), "{allowed}");
    }

    #[test]
    fn answers_that_no_further_try_changes_are_final() {
        for status in 200..600 {
            let expected = match status {
                413 => Refusal::TooLarge,
                400 | 404 | 405 | 410 | 414 | 415 | 422 => Refusal::Final,
                _ => Refusal::Temporary,
            };
            let found = refusal(StatusCode::from_u16(status).unwrap());
            assert_eq!(found, expected, "{status}");
        }
    }

    #[test]
    fn an_echoed_url_is_hidden() {
        let url =
            Url::parse("https://u:passw0rd@h.example/v1/T0AAAA/s3cret?token=abcd1234&x=1").unwrap();
        let body = "Cannot POST /v1/T0AAAA/s3cret?token=abcd1234 for passw0rd, token unknown";
        assert_eq!(
            without_secrets(body, &url),
            "Cannot POST /v1/***/***?***=*** for ***, *** unknown"
        );
    }
}
