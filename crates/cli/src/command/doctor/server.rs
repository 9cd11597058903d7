//! Checks whether the service answers, and whether its clock agrees with ours.

use std::time::{Duration, SystemTime};

use hb_domain::{Incarnation, Timestamp};
use hb_service::doctor::{Finding, clock_skew};
use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::args::DEFAULT_URL;
use crate::exit::{Failure, SERVER};

/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const THING: &str = "server";
const OTHER: &str =
    "name the folder of that server with --data-dir, or the server of this folder with --url";

/// Checks the service at `url`, and whether it serves the database that was examined, if both are known. Without an
/// address the default one is tried; no answer there, or that of another server, is only a warning.
pub(super) async fn examine(
    url: Option<&str>,
    database: Option<Incarnation>,
) -> Result<Vec<Finding>, Failure> {
    let client =
        hb_delivery::http_client(|| Client::builder().timeout(TIMEOUT).redirect(Policy::none()));
    let client = client.map_err(|error| Failure::Internal(error.to_string()))?;
    let base = url.unwrap_or(DEFAULT_URL).trim_end_matches('/');
    let answer = client.get(format!("{base}/v1/status")).send().await;
    let wrong = |cause: String, next: &str| {
        if url.is_some() {
            Finding::problem(THING, cause, next)
        } else {
            Finding::warning(THING, cause, next)
        }
    };
    let unreachable = |cause| wrong(cause, SERVER);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let cause = if error.is_timeout() {
                "no answer within 5 s"
            } else {
                "it cannot be reached"
            };
            let cause = format!("{base}: {cause}: {}", root_cause(&error.without_url()));
            return Ok(vec![unreachable(cause)]);
        }
    };
    let (status, skew) = (answer.status(), skew(&answer));
    let body = answer.bytes().await.unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = body["detail"].as_str().or(body["message"].as_str());
    let theirs = body["database"].as_str();
    let program = body["version"].as_str().zip(body["commit"].as_str());
    let program = program.map(|(version, commit)| format!(", with {version} ({commit})"));
    let program = program.unwrap_or_default();
    let ours = database.map(|database| database.id.to_string());
    let finding = match message {
        Some("OK") if status.is_success() => match theirs.zip(ours) {
            None => Finding::ok(THING, format!("{base} answers{program}")),
            Some((theirs, ours)) if theirs == ours => Finding::ok(
                THING,
                format!("{base} answers{program}, from this database"),
            ),
            Some((theirs, ours)) => wrong(
                format!(
                    "{base} serves another database ({theirs}) than the one in this data folder ({ours})"
                ),
                OTHER,
            ),
        },
        Some(message) if status.is_server_error() => {
            let cause = format!("{base} answers {status}: {message}");
            Finding::problem(THING, cause, "fix what it names; its log has details")
        }
        _ => {
            return Ok(vec![unreachable(format!(
                "{base} answers {status}, which is not an answer of Heartbeat"
            ))]);
        }
    };
    Ok(std::iter::once(finding).chain(skew).collect())
}

/// Compares the clock of the service with ours, if its answer has a date.
fn skew(answer: &Response) -> Option<Finding> {
    let date = httpdate::parse_http_date(answer.headers().get(DATE)?.to_str().ok()?).ok()?;
    let millis = date
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_millis();
    let theirs = Timestamp::from_millis(i64::try_from(millis).ok()?).ok()?;
    Some(clock_skew(theirs, SystemClock.now()))
}

/// The last source of an error.
fn root_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
