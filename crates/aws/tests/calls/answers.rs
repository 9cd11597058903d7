//! Errors of AWS, as the log shows them.

use std::error::Error;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use hb_aws::{DynamoHeartbeats, DynamoLedger, Stage, create_stage, find_stage};
use hb_domain::{Entry, Signal};
use hb_service::ports::{Heartbeats, Ledger, PortError};
use serde_json::json;

use crate::script::{Answer, Script, heard, host, item, stage};

#[tokio::test]
async fn errors_name_the_table_and_the_next_step() {
    let cases = [
        (
            Answer::error("AccessDeniedException"),
            "table hb-prod-heartbeats is unavailable: not allowed: allow dynamodb:UpdateItem on table \
             hb-prod-heartbeats",
        ),
        (
            Answer::error("ResourceNotFoundException"),
            "table hb-prod-heartbeats is unavailable: table hb-prod-heartbeats does not exist in this account and \
             region: deploy the stage, or check its name and the region",
        ),
        (
            Answer::error("ExpiredTokenException"),
            "table hb-prod-heartbeats is unavailable: the credentials have expired: sign in again, or restart what \
             holds the old ones",
        ),
        (
            Answer::Reset,
            "table hb-prod-heartbeats is unavailable: no answer to UpdateItem: dispatch failure: io error: \
             connection reset by peer",
        ),
        (
            Answer::Http(503, "<html>".to_owned()),
            "table hb-prod-heartbeats is unavailable: HTTP status 503 to UpdateItem",
        ),
    ];
    for (answer, expected) in cases {
        let heartbeats = DynamoHeartbeats::new(&Script::new([answer]).clients(), &stage());
        for error in [
            heartbeats.record(&heard(0, Signal::Ok)).await.unwrap_err(),
            heartbeats.check().await.unwrap_err(),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[tokio::test]
async fn the_error_of_the_sdk_stays_the_source() {
    let script = Script::new([Answer::error("AccessDeniedException")]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    let error = heartbeats.record(&heard(0, Signal::Ok)).await.unwrap_err();
    let sources = std::iter::successors(error.source(), |source| (**source).source());
    let mut sdk = sources.filter_map(|source| source.downcast_ref::<SdkError<UpdateItemError>>());
    assert!(
        matches!(sdk.next(), Some(SdkError::ServiceError(_))),
        "{error}"
    );
}

#[tokio::test]
async fn the_error_of_an_unreadable_item_names_its_key() {
    let mut spoiled = item(9);
    spoiled["i"] = json!({"N": "-1"});
    let script = Script::new([Answer::condition_failed(&spoiled)]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    let error = heartbeats.record(&heard(5, Signal::Ok)).await.unwrap_err();
    assert!(
        matches!(&error, PortError::Unreadable { key, .. } if key == "main/web-01/eu-west-1"),
        "{error}"
    );
    let entry = json!({"h": {"S": "main/web-01"}, "entry": {"S": "{"}});
    let script = Script::new([Answer::done(json!({"Item": entry}))]);
    let error = Ledger::<Entry>::load(&DynamoLedger::new(&script.clients(), &stage()), &host())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, PortError::Unreadable { key, .. } if key == "main/web-01"),
        "{error}"
    );
}

#[tokio::test]
async fn find_stage_derives_the_topic_from_the_ledger() {
    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/hb-prod-ledger";
    let script = Script::new([Answer::done(json!({"Table": {"TableArn": arn}}))]);
    let topic = find_stage(&script.clients(), &stage()).await.unwrap().topic;
    assert_eq!(
        topic.as_str(),
        "arn:aws:sns:eu-west-1:123456789012:hb-prod-notices"
    );
}

#[tokio::test]
async fn the_error_of_a_forbidden_creation_names_the_permission() {
    let script = Script::new([Answer::error("AccessDeniedException")]);
    let error = create_stage(&script.clients(), &Stage::parse("dev").unwrap())
        .await
        .unwrap_err();
    let expected = "table hb-dev-heartbeats is unavailable: not allowed: allow dynamodb:CreateTable on table \
                    hb-dev-heartbeats";
    assert_eq!(error.to_string(), expected);
}
