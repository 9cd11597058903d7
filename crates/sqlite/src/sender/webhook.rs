//! Webhooks: a POST of the notice's JSON.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, ClientBuilder, Response, redirect};
use url::Url;

use super::{Delivery, SendError, Sender};

/// How long a whole request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What is read of an answer, in bytes, and shown of it, in characters.
const READ: usize = 1_024;
const SHOWN: usize = 200;

/// Shorter parts of a URL are words, not secrets.
const SECRET_CHARS: usize = 4;

/// Posts notices over HTTP and HTTPS.
///
/// An answer of the 200s is a delivery. Redirects are not followed: whoever moved should subscribe anew.
#[derive(Clone, Debug)]
pub struct WebhookSender {
    client: Client,
}

impl WebhookSender {
    /// A sender with a pool of connections. Panics when the process has not installed rustls's default provider.
    pub fn new() -> Result<Self, SendError> {
        let client = http_client(|| {
            Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT)
                .redirect(redirect::Policy::none())
                .user_agent(concat!("heartbeat/", env!("CARGO_PKG_VERSION")))
        })?;
        Ok(Self { client })
    }
}

/// The client that `settings` describe; on a machine without certificates one that trusts nobody over TLS, and still
/// speaks HTTP in the clear. There everything else must go on.
pub fn http_client(settings: impl Fn() -> ClientBuilder) -> Result<Client, SendError> {
    settings().build().or_else(|error| {
        tracing::warn!(
            "https will not work here, install the package ca-certificates: {}",
            chain(&error)
        );
        settings()
            .tls_certs_only([])
            .build()
            .map_err(|error| SendError::new(chain(&error)))
    })
}

#[async_trait]
impl Sender for WebhookSender {
    async fn send(&self, delivery: &Delivery) -> Result<(), SendError> {
        let notice = delivery.notice()?;
        let url = Url::parse(delivery.endpoint.address()).map_err(SendError::new)?;
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", notice.id.as_str())
            .body(notice.json().to_string());
        let failed = |cause: String| SendError::new(format!("{}: {cause}", delivery.endpoint));
        let response = request
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
        let said: String = without_secrets(&beginning(response).await, &url)
            .chars()
            .take(SHOWN)
            .collect();
        Err(failed(if said.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {said}")
        }))
    }
}

/// The beginning of the body, as far as it comes in one piece.
async fn beginning(mut response: Response) -> String {
    match response.chunk().await {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes[..bytes.len().min(READ)])
            .trim()
            .to_owned(),
        _ => String::new(),
    }
}

/// Servers like to say which path they do not know, and the path of a webhook is its secret.
fn without_secrets(text: &str, url: &Url) -> String {
    let path = url.path().split('/');
    let query = url.query().unwrap_or_default().split(['&', '=']);
    let mut secrets: Vec<_> = path.chain(query).chain(url.password()).collect();
    secrets.retain(|secret| secret.len() >= SECRET_CHARS);
    // The longest first, so that none is torn by a shorter one inside it.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
        .iter()
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// An error and what caused it, which reqwest does not say by itself.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_path_is_hidden() {
        let url =
            Url::parse("https://u:passw0rd@h.example/v1/T0AAAA/s3cret?token=abcd1234&x=1").unwrap();
        let said = "Cannot POST /v1/T0AAAA/s3cret?token=abcd1234 for passw0rd, token unknown";
        assert_eq!(
            without_secrets(said, &url),
            "Cannot POST /v1/***/***?***=*** for ***, *** unknown"
        );
    }
}
