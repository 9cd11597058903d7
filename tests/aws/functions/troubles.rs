//! What the log says when something is in trouble: one line, with the thing and what to do, and never a secret.
//!
//! That no function ever prints a secret, `Function` sees to in all tests.

use serde_json::{Value, json};

use super::function::Function;
use super::ingest::{World as Ingest, beat};
use super::sweep::{World, scheduled};
use crate::faults::{BROKEN, THROTTLED};

const DENIED: &str = "AccessDeniedException";
const EXPIRED: &str = "ExpiredTokenException";
const NO_TABLE: &str = "ResourceNotFoundException";

/// Lets one operation of an account fail.
fn only(operation: &'static str, code: &'static str) -> impl Fn(&str) -> Option<&'static str> {
    move |asked| (asked == operation).then_some(code)
}

fn message(line: &Value) -> &str {
    // At debug level, the span of an adapter is inside the one of the invocation, and its errors have no message.
    let invocation = match &line["spans"][0] {
        Value::Null => &line["span"],
        outer => outer,
    };
    assert!(
        line["timestamp"].is_string() && invocation["requestId"].is_string(),
        "{line}"
    );
    let text = line["message"].as_str().or(line["error"].as_str());
    text.unwrap()
}

#[tokio::test]
async fn a_beat_that_cannot_be_stored_is_503_and_one_line_until_it_works_again() {
    let world = Ingest::new(&[]).await;
    world.beat("web-01").await;
    let mut lines = 0;
    for (code, words) in [
        (
            DENIED,
            "not allowed: allow dynamodb:UpdateItem on table hb-test-heartbeats",
        ),
        (
            NO_TABLE,
            "table hb-test-heartbeats does not exist in this account and region: deploy the stage, or check its name \
             and the region",
        ),
        (
            EXPIRED,
            "the credentials have expired: sign in again, or restart what holds the old ones",
        ),
        (
            THROTTLED,
            "throttled: UpdateItem was refused for its rate (ProvisionedThroughputExceededException)",
        ),
        (
            BROKEN,
            "InternalServerError to UpdateItem (HTTP status 500): said",
        ),
    ] {
        world.account.fail(only("UpdateItem", code));
        for _ in 0..2 {
            let answer = world.beat("web-01").await;
            assert_eq!(
                (&answer["statusCode"], &answer["headers"]["retry-after"]),
                (&json!(503), &json!("5"))
            );
            assert!(
                answer["body"]
                    .as_str()
                    .unwrap()
                    .contains("beat storage is unavailable")
            );
        }
        world.account.fail(|_| None);
        assert_eq!(world.beat("web-01").await["statusCode"], 200);
        let log = world.function.log(lines + 2).await;
        let [trouble, end] = &log[lines..] else {
            panic!("two lines, not {log:#?}")
        };
        let head = "recording beats failed: table hb-test-heartbeats is unavailable: ";
        assert_eq!(
            (message(trouble), &trouble["level"]),
            (
                &*format!("{head}{words} (logged once per cause)"),
                &json!("ERROR")
            )
        );
        assert!(
            message(end).starts_with("recording beats works again after "),
            "{end}"
        );
        lines += 2;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_503_and_one_line() {
    let world = Ingest::new(&[]).await;
    world.account.fail(only("GetItem", DENIED));
    for _ in 0..2 {
        let answer = world.beat("web-01").await;
        assert_eq!(
            (&answer["statusCode"], &answer["headers"]["retry-after"]),
            (&json!(503), &json!("5"))
        );
    }
    world.account.fail(|_| None);
    assert_eq!(world.beat("web-01").await["statusCode"], 200);
    let log = world.function.log(2).await;
    let text = "reading API keys failed: table hb-test-keys is unavailable: not allowed: allow \
                dynamodb:GetItem on table hb-test-keys (logged once per cause)";
    assert_eq!((log.len(), message(&log[0])), (2, text));
}

#[tokio::test]
async fn a_topic_in_trouble_shows_in_the_status() {
    let world = Ingest::new(&[]).await;
    world
        .account
        .fail(only("GetTopicAttributes", "AuthorizationError"));
    let answer = world
        .function
        .invoke(&json!({"httpMethod": "GET", "path": "/v1/status", "requestContext": {"elb": {}}}))
        .await
        .unwrap();
    assert_eq!(
        (
            &answer["statusCode"],
            &answer["multiValueHeaders"]["retry-after"]
        ),
        (&json!(503), &json!(["5"]))
    );
    let log = world.function.log(1).await;
    let text = "checking health failed: topic hb-test-notices is unavailable: not allowed: allow \
                sns:GetTopicAttributes on topic hb-test-notices (logged once per cause)";
    assert_eq!((log.len(), message(&log[0])), (1, text));
}

#[tokio::test]
async fn a_stage_that_is_not_there_is_named() {
    let world = Ingest::new(&[("HB_STAGE", "nowhere")]).await;
    assert_eq!(world.beat("web-01").await["statusCode"], 503);
    let log = world.function.log(1).await;
    let missing = |table: &str| {
        format!("table {table} is unavailable: table {table} does not exist in this account")
    };
    assert!(
        message(&log[0]).contains(&missing("hb-nowhere-keys")),
        "{log:#?}"
    );

    let world = World::new().await;
    let function = Function::start("sweep", &world.front, &[("HB_STAGE", "nowhere")]).await;
    let error = function.invoke(&scheduled()).await.unwrap_err();
    assert!(
        error["errorMessage"]
            .as_str()
            .unwrap()
            .contains(&missing("hb-nowhere-ledger")),
        "{error}"
    );
    let log = function.log(1).await;
    assert_eq!(log.len(), 1, "{log:#?}");
    assert!(
        message(&log[0]).starts_with("the sweep failed: "),
        "{log:#?}"
    );
}

#[tokio::test]
async fn a_sweep_that_cannot_read_or_write_is_one_line_an_error_and_no_completion() {
    let world = World::new().await;
    world.silent_host().await;
    let function = Function::start("sweep", &world.front, &[]).await;
    let cases = [
        (
            "GetItem",
            DENIED,
            "table hb-test-system",
            "allow dynamodb:GetItem on table hb-test-system",
        ),
        (
            "Query",
            DENIED,
            "table hb-test-ledger",
            "allow dynamodb:Query on table hb-test-ledger",
        ),
        (
            "Scan",
            DENIED,
            "table hb-test-heartbeats",
            "allow dynamodb:Scan on table hb-test-heartbeats",
        ),
        (
            "Scan",
            NO_TABLE,
            "table hb-test-heartbeats",
            "deploy the stage",
        ),
        (
            "Scan",
            EXPIRED,
            "table hb-test-heartbeats",
            "the credentials have expired: sign in again",
        ),
        (
            "PutItem",
            DENIED,
            "table hb-test-ledger",
            "allow dynamodb:PutItem on table hb-test-ledger",
        ),
    ];
    for (i, (operation, code, thing, words)) in cases.into_iter().enumerate() {
        world.account.fail(only(operation, code));
        let error = function.invoke(&scheduled()).await.unwrap_err();
        assert_eq!(error["errorType"], "PassesFailed");
        let log = function.log(i + 1).await;
        assert_eq!(log.len(), i + 1, "one line each: {log:#?}");
        let text = message(&log[i]);
        assert!(
            text.starts_with(&format!("the sweep failed: {thing} is unavailable: ")),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
        assert_eq!(function.metrics(i + 1).await[i]["SweepCompleted"], 0.0);
    }
    world.account.fail(|_| None);
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(
        done["passes"][0]["accepted"], 1,
        "and the next one completes"
    );
}

#[tokio::test]
async fn a_notice_that_the_topic_refuses_is_one_line_and_stays_pending() {
    for (operation, code, words) in [
        (
            "Publish",
            "AuthorizationError",
            "topic hb-test-notices: not allowed: allow sns:Publish on topic hb-test-notices",
        ),
        (
            "Publish",
            "NotFound",
            "topic hb-test-notices does not exist in this account and region: deploy the stage",
        ),
        (
            "Publish",
            "ExpiredToken",
            "topic hb-test-notices: the credentials have expired: sign in again",
        ),
        (
            "Publish",
            "Throttled",
            "topic hb-test-notices: throttled: Publish was refused for its rate (Throttled)",
        ),
        (
            "DescribeTable",
            DENIED,
            "not allowed: allow dynamodb:DescribeTable on table hb-test-ledger",
        ),
    ] {
        let world = World::new().await;
        world.silent_host().await;
        let function = Function::start("sweep", &world.front, &[]).await;
        world.account.fail(only(operation, code));
        let done = function.invoke(&scheduled()).await.unwrap();
        assert_eq!(
            (&done["passes"][0]["missing"], &done["passes"][0]["refused"]),
            (&json!(1), &json!(1))
        );
        let log = function.log(2).await;
        let [refused, swept] = &log[..] else {
            panic!("{log:#?}")
        };
        assert!(
            message(refused).starts_with("the topic refused notice "),
            "{refused}"
        );
        assert!(message(refused).contains(" of main/web-01: "), "{refused}");
        assert!(message(refused).contains(words), "{refused}");
        assert_eq!(
            (&refused["level"], message(swept)),
            (&json!("WARN"), "sweep completed")
        );
        let metrics = function.metrics(1).await.remove(0);
        assert_eq!(
            (&metrics["NoticesRefused"], &metrics["NoticesAccepted"]),
            (&json!(1.0), &json!(0.0))
        );
        assert!(world.account.accepted().is_empty());
    }
}

#[tokio::test]
async fn logs_are_lines_of_json_at_every_level() {
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        let world = Ingest::new(&[("HB_LOG", level)]).await;
        world.beat("web-01").await;
        world.account.fail(|_| Some(DENIED));
        world.beat("web-01").await;
        let _ = world.function.invoke(&beat("web-01", "hbk_wrong")).await;
        let troubles = usize::from(level != "off");
        let mut log = world.function.log(troubles).await;
        // The first line, at debug level, is of no invocation: it says which program this is.
        let starts = |line: &Value| {
            line["message"]
                .as_str()
                .unwrap_or_default()
                .starts_with("heartbeat ")
        };
        log.retain(|line| !starts(line));
        let told = log
            .iter()
            .filter(|line| message(line).contains("recording beats failed"))
            .count();
        assert_eq!(told, troubles, "{level}: {log:#?}");
        assert!(log.iter().all(|line| line["level"].is_string()), "{log:#?}");
        // Metrics are no log.
        assert_eq!(world.function.metrics(3).await.len(), 3);
    }
}
