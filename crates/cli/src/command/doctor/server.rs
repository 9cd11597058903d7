//! Whether the service answers, and whether its clock is ours.

use std::time::{Duration, SystemTime};

use hb_domain::Timestamp;
use hb_service::doctor::{Finding, clock_skew};
use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::exit::Failure;

/// Where `hb serve` listens when nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:8080";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
const THING: &str = "server";

/// Asks the service at `url`. Without one the usual place is tried, and it is no problem when nobody is there.
pub(super) async fn examine(url: Option<&str>) -> Result<Vec<Finding>, Failure> {
    let client =
        hb_delivery::http_client(|| Client::builder().timeout(TIMEOUT).redirect(Policy::none()));
    let client = client.map_err(|error| Failure::Internal(error.to_string()))?;
    let base = url.unwrap_or(USUAL).trim_end_matches('/');
    let answer = client.get(format!("{base}/v1/status")).send().await;
    let next =
        "see whether `hb serve` runs there and a firewall is between; --url names another address";
    let trouble = |cause: String| {
        if url.is_some() {
            Finding::problem(THING, cause, next)
        } else {
            Finding::warning(THING, cause, next)
        }
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let cause = if error.is_timeout() {
                "it gives no answer in 5 s"
            } else {
                "it is not reached"
            };
            let cause = format!("{base}: {cause}: {}", deepest(&error.without_url()));
            return Ok(vec![trouble(cause)]);
        }
    };
    let (status, skew) = (answer.status(), skew(&answer));
    let body = answer.bytes().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let said = body["detail"].as_str().or(body["message"].as_str());
    let finding = match said {
        Some("OK") if status.is_success() => Finding::ok(THING, format!("{base} answers")),
        Some(said) if status.is_server_error() => {
            let cause = format!("{base} answers {status}: {said}");
            Finding::problem(THING, cause, "mend what it names; its log says more")
        }
        _ => {
            return Ok(vec![trouble(format!(
                "{base} answers {status}, which is no answer of Heartbeat"
            ))]);
        }
    };
    Ok(std::iter::once(finding).chain(skew).collect())
}

/// How the service's clock stands to ours; nothing when it does not say.
fn skew(answer: &Response) -> Option<Finding> {
    let date = httpdate::parse_http_date(answer.headers().get(DATE)?.to_str().ok()?).ok()?;
    let millis = date
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_millis();
    let theirs = Timestamp::from_millis(i64::try_from(millis).ok()?).ok()?;
    Some(clock_skew(theirs, SystemClock.now()))
}

/// What is at the bottom of an error.
fn deepest(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
