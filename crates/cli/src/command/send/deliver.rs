//! Delivers a beat to the service, with retries of what may pass, within a time limit.

use std::error::Error;
use std::time::{Duration, SystemTime};

use hb_domain::{Token, jittered};
use hb_service::ports::{Clock, Ids};
use hb_service::system::{SystemClock, SystemIds};
use reqwest::header::{HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::args::{DEFAULT_URL, SendArgs};
use crate::exit::Failure;
use crate::output;

/// The variable with the API key. A command of `--exec` does not get it.
pub(super) const API_KEY: &str = "HB_API_KEY";
/// One try may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer of the service, generously.
const LONGEST: usize = 16 * 1024;

/// The result of one try.
enum Try {
    Done,
    Refused {
        status: u16,
        cause: String,
    },
    /// Worth another try, after what `Retry-After` asks for.
    Failed {
        cause: String,
        retry_after: Option<Duration>,
    },
}

pub(super) struct Service {
    client: Client,
    url: Url,
    token: Token,
    /// The same as a header, marked as secret.
    key: HeaderValue,
    retries: u32,
    timeout: Duration,
}

impl Service {
    pub(super) fn of(send: &SendArgs) -> Result<Self, Failure> {
        let token = token(send)?;
        let impossible = |error: &dyn Error| Failure::Internal(error.to_string());
        let mut key = HeaderValue::from_str(&token.reveal()).map_err(|error| impossible(&error))?;
        key.set_sensitive(true);
        let agent = concat!("hb/", env!("CARGO_PKG_VERSION"));
        // A redirect would send the key to another server.
        let client = hb_delivery::http_client(|| {
            Client::builder()
                .timeout(TIMEOUT)
                .redirect(Policy::none())
                .user_agent(agent)
        });
        let client = client.map_err(|error| impossible(&error))?;
        Ok(Self {
            client,
            url: url(send.url.as_deref().unwrap_or(DEFAULT_URL))?,
            token,
            key,
            retries: send.retries,
            timeout: send.timeout,
        })
    }

    /// Sends the beat; returns the number of tries.
    pub(super) async fn deliver(&self, body: &str) -> Result<u32, Failure> {
        let mut tries = 0;
        let mut last = "there was no answer".to_owned();
        let done = tokio::time::timeout(
            self.timeout,
            self.try_until_done(body, &mut tries, &mut last),
        )
        .await;
        match done {
            Ok(result) => result.map(|()| tries),
            Err(_elapsed) => {
                let cause = format!("{last}; gave up after {:?}", self.timeout);
                Err(Failure::NotDelivered { tries, cause })
            }
        }
    }

    /// Sends a beat that need not arrive.
    pub(super) async fn try_once(&self, body: &str) {
        let _ = self.post(body).await;
    }

    async fn post(&self, body: &str) -> reqwest::Result<Response> {
        let request = self
            .client
            .post(self.url.clone())
            .header("x-api-key", &self.key);
        request.body(body.to_owned()).send().await
    }

    async fn try_until_done(
        &self,
        body: &str,
        tries: &mut u32,
        last: &mut String,
    ) -> Result<(), Failure> {
        loop {
            *tries += 1;
            let answer = self.post(body).await;
            let (cause, retry_after) = match judge(answer).await {
                Try::Done => return Ok(()),
                Try::Refused { status, cause } => return Err(Failure::Refused { status, cause }),
                Try::Failed { cause, retry_after } => (cause, retry_after),
            };
            let [a, b, c, d, ..] = SystemIds.random();
            let pause = pause(*tries, u32::from_be_bytes([a, b, c, d]), retry_after);
            if *tries > self.retries || pause >= self.timeout {
                return Err(Failure::NotDelivered {
                    tries: *tries,
                    cause,
                });
            }
            output::remark(&format!(
                "hb: {cause}; trying again in {:.1} s",
                pause.as_secs_f32()
            ));
            *last = cause;
            tokio::time::sleep(pause).await;
        }
    }

    /// The API key, which must not appear in a notice when a command prints it.
    pub(super) fn secret(&self) -> String {
        self.token.reveal()
    }
}

/// How long to wait after the `tries`-th failure. The jitter is added to `Retry-After`, so that clients with the same
/// answer do not come back together.
fn pause(tries: u32, spread: u32, retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default() + jittered(tries, spread)
}

/// Only an answer of the service counts: a portal or a proxy on the way may say anything, and often passes. Worth another try are
/// also what `curl --retry` retries, the other server errors, and every failure to get an answer.
async fn judge(answer: reqwest::Result<Response>) -> Try {
    let failed = |cause, retry_after| Try::Failed { cause, retry_after };
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(error) => return failed(chain(&error.without_url()), None),
    };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let now: SystemTime = SystemTime::UNIX_EPOCH + epoch(SystemClock.now());
    let retry_after = retry_after(&headers, now);
    if matches!(
        status,
        StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
    ) {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let cause = match location {
            Some(location) => format!("it redirects to {location}"),
            None => "it redirects without a location".to_owned(),
        };
        let status = status.as_u16();
        return Try::Refused { status, cause };
    }
    let ours = Ours::read(&mut answer).await;
    match (ours.detail, ours.message) {
        (None, Some(message)) if status == StatusCode::OK && message == "OK" => Try::Done,
        (Some(cause), _) if status.is_client_error() && !passes(status) => Try::Refused {
            status: status.as_u16(),
            cause,
        },
        (Some(cause), _) => failed(format!("the server answers {status}: {cause}"), retry_after),
        (None, _) => {
            let cause =
                "not as the heartbeat service does; is there a proxy or a login page on the way?";
            failed(format!("{status} is answered, {cause}"), retry_after)
        }
    }
}

/// Whether the status is of trouble that passes, though it is said to be the client's.
fn passes(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
    )
}

/// What an answer of the service has: this message when the beat is recorded, and the detail when it is not.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Ours {
    message: Option<String>,
    detail: Option<String>,
}

impl Ours {
    /// Empty when another program answers.
    async fn read(answer: &mut Response) -> Self {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Self::default();
            }
        }
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

/// What `Retry-After` asks for: seconds, or an instant (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .ok(),
    }
}

fn epoch(now: hb_domain::Timestamp) -> Duration {
    now.since(hb_domain::Timestamp::MIN)
}

fn url(text: &str) -> Result<Url, Failure> {
    let wrong = |cause: String| Failure::Url {
        url: text.to_owned(),
        cause,
    };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("the scheme is {}", url.scheme())));
    }
    let base = url.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/v1/heartbeat")).map_err(|error| wrong(error.to_string()))
}

/// The key is never an argument, because the list of processes shows those.
fn token(send: &SendArgs) -> Result<Token, Failure> {
    let text = match &send.key_file {
        Some(file) => std::fs::read_to_string(file).map_err(|source| Failure::KeyFile {
            path: file.clone(),
            source,
        })?,
        None => std::env::var(API_KEY).map_err(|_| Failure::NoApiKey)?,
    };
    let text = text.trim();
    // A file for `curl -H @FILE` holds a header.
    let key = text.strip_prefix("x-api-key:").unwrap_or(text);
    key.trim().parse().map_err(Failure::BadApiKey)
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    std::iter::once(error.to_string())
        .chain(causes.map(|cause| format!(": {cause}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_the_shortest_pause() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, 0, None), Duration::ZERO);
        assert_eq!(pause(1, u32::MAX, None), 2 * second);
        assert_eq!(pause(1, 0, Some(30 * second)), 30 * second);
        assert_eq!(pause(1, u32::MAX, Some(30 * second)), 32 * second);
    }

    #[test]
    fn retry_after_is_seconds_or_an_instant() {
        let now = httpdate::parse_http_date("Sat, 31 Jan 2026 10:02:00 GMT").unwrap();
        let asked = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        let cases = [
            ("7", Some(7)),
            ("Sat, 31 Jan 2026 10:03:30 GMT", Some(90)),
            ("-1", None),
            ("soon", None),
        ];
        for (value, wait) in cases {
            assert_eq!(asked(value), wait, "{value}");
        }
        assert_eq!(asked("Sat, 31 Jan 2026 10:00:00 GMT"), None, "in the past");
    }
}
