//! `hb send`: a beat, with the retries of `curl --retry`.

use std::time::Duration;

use hb_domain::{Token, pause, splay};
use hb_service::ports::Ids;
use hb_service::system::SystemIds;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, Url};

use crate::args::{Format, Send, StatusArg};
use crate::exit::Failure;
use crate::output;

/// One try may take this long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A server may ask for a longer rest; nobody waits for it.
const LONGEST_REST: Duration = Duration::from_mins(5);

/// What came of one try.
enum Try {
    Done,
    Refused(u16, String),
    /// Why, and how long the server wants to be left alone.
    Trouble(String, Option<Duration>),
}

pub(crate) async fn run(format: Format, send: Send) -> Result<(), Failure> {
    let token = token(&send)?;
    let url = url(&send.url)?;
    let body = serde_json::json!({
        "hostId": send.host,
        "intervalMs": send.interval,
        "status": match send.status { StatusArg::Ok => "ok", StatusArg::Fail => "fail" },
        "message": send.message,
    });
    if let Some(within) = send.splay {
        tokio::time::sleep(splay(&send.host, within)).await;
    }
    let agent = concat!("hb/", env!("CARGO_PKG_VERSION"));
    let client = hb_embedded::http_client(|| Client::builder().timeout(TIMEOUT).user_agent(agent));
    let client = client.map_err(|error| Failure::NotDelivered(0, error.to_string()))?;
    let mut tries = 0;
    loop {
        let request = client.post(url.clone()).header("x-api-key", token.reveal()).body(body.to_string());
        tries += 1;
        let (cause, rest) = match judge(request.send().await).await {
            Try::Done => break,
            Try::Refused(status, cause) => return Err(Failure::Refused(status, cause)),
            Try::Trouble(cause, rest) => (cause, rest),
        };
        if tries > send.retries {
            return Err(Failure::NotDelivered(tries, cause));
        }
        let [spread, ..] = SystemIds.random();
        let rest = pause(tries, spread).max(rest.unwrap_or_default()).min(LONGEST_REST);
        output::remark(&format!("{cause}; trying again in {:.0} s", rest.as_secs_f32()));
        tokio::time::sleep(rest).await;
    }
    let value = serde_json::json!({ "hostId": send.host, "tries": tries });
    Ok(output::one(format, &format!("{} beats", send.host), &value)?)
}

/// Passing trouble is worth another try: the codes that `curl --retry` retries, and every failure to get an answer.
async fn judge(answer: reqwest::Result<Response>) -> Try {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Try::Trouble(chain(&error.without_url()), None),
    };
    let status = answer.status();
    let rest = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let rest = rest.map(Duration::from_secs);
    if status.is_success() {
        return Try::Done;
    }
    let body = answer.bytes().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let cause = body["detail"].as_str().unwrap_or("no reason given").to_owned();
    match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => {
            Try::Trouble(format!("the server answers {status}: {cause}"), rest)
        }
        refused => Try::Refused(refused, cause),
    }
}

fn url(text: &str) -> Result<Url, Failure> {
    let wrong = |why: String| Failure::Url(text.to_owned(), why);
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("the scheme is {}", url.scheme())));
    }
    let base = url.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/v1/heartbeat")).map_err(|error| wrong(error.to_string()))
}

/// The key: never an argument, which everybody on the machine could read.
fn token(send: &Send) -> Result<Token, Failure> {
    let text = match &send.key_file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| Failure::KeyFile(file.clone(), error))?,
        None => std::env::var("HB_API_KEY").map_err(|_| Failure::NoApiKey)?,
    };
    text.trim().parse().map_err(Failure::BadApiKey)
}

/// An error with its causes; the deepest one tells a person what is wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let causes =
        std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}
