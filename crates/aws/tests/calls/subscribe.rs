//! Subscribing: SNS first, then the record, and both again when a reply was lost.

use hb_aws::SnsSubscriptions;
use hb_domain::{ConfirmationToken, Endpoint, Filter, Kind, Protocol, Subscription};
use hb_service::ports::Subscriptions;
use serde_json::{Value, json};

use crate::script::{Answer, Script, arn, at, stage};

fn subscribed() -> Answer {
    let result = "<SubscribeResult><SubscriptionArn>arn:1</SubscriptionArn></SubscribeResult>";
    Answer::Http(
        200,
        format!("<SubscribeResponse>{result}</SubscribeResponse>"),
    )
}

fn subscription(protocol: Protocol, address: &str) -> Subscription {
    Subscription {
        id: "abc".parse().unwrap(),
        endpoint: Endpoint::parse(protocol, address).unwrap(),
        filter: Filter {
            kinds: vec![Kind::Missing],
            ..Filter::default()
        },
        created: at(0),
    }
}

/// The record of a subscription, in the form of the wire.
fn record() -> Value {
    let text = |text: &str| json!({"S": text});
    json!({"kind": text("subscription/eu-west-1"), "name": text("abc"), "arn": text("arn:1"), "protocol": text("email"),
           "address": text("on-call@example.com"), "filter": text("{}"), "created": {"N": "1"}})
}

fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

fn adapter(script: &Script) -> SnsSubscriptions {
    SnsSubscriptions::new(&script.clients(), &stage(), arn())
}

#[tokio::test]
async fn sns_is_told_before_the_record_is_made() {
    let nobody = Answer::done(json!({"Items": []}));
    let script = Script::new([nobody, subscribed(), Answer::Reset, Answer::done(json!({}))]);
    let queue = subscription(Protocol::Sqs, "arn:aws:sqs:eu-west-1:123456789012:ops");
    assert!(adapter(&script).add(&queue, &token()).await.unwrap());
    assert_eq!(
        script.operations(),
        ["Query", "Subscribe", "PutItem", "PutItem"]
    );
    let asked = script.asked();
    // {"kind":["missing"]}, as a form.
    assert!(
        asked[1]
            .body
            .contains("%7B%22kind%22%3A%5B%22missing%22%5D%7D"),
        "{}",
        asked[1].body
    );
    assert!(asked[1].body.contains("RawMessageDelivery"));
    assert_eq!(
        asked[3].json["ConditionExpression"],
        "attribute_not_exists(#name) OR #arn = :arn"
    );
    assert_eq!(asked[3].json["Item"]["arn"], json!({"S": "arn:1"}));
}

#[tokio::test]
async fn without_sns_there_is_no_record() {
    let script = Script::new([
        Answer::done(json!({"Items": []})),
        Answer::sns_error(403, "AuthorizationError"),
    ]);
    let mail = subscription(Protocol::Email, "on-call@example.com");
    let error = adapter(&script)
        .add(&mail, &token())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("not allowed: allow sns:Subscribe on topic hb-prod-notices"),
        "{error}"
    );
    assert_eq!(script.operations(), ["Query", "Subscribe"]);
}

#[tokio::test]
async fn what_sns_has_forgotten_or_never_confirmed_can_be_removed() {
    let pending = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid parameter: \
                   This subscription is pending confirmation</Message></Error></ErrorResponse>";
    for answer in [
        Answer::sns_error(404, "NotFound"),
        Answer::Http(400, pending.to_owned()),
    ] {
        let found = Answer::done(json!({"Item": record()}));
        let script = Script::new([found, answer, Answer::done(json!({}))]);
        assert!(
            adapter(&script)
                .remove(&"abc".parse().unwrap())
                .await
                .unwrap()
        );
        assert_eq!(
            script.operations(),
            ["GetItem", "Unsubscribe", "DeleteItem"]
        );
    }
}

#[tokio::test]
async fn a_record_stays_while_sns_may_still_deliver() {
    let found = Answer::done(json!({"Item": record()}));
    let script = Script::new([found, Answer::sns_error(400, "InvalidParameter")]);
    adapter(&script)
        .remove(&"abc".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(script.operations(), ["GetItem", "Unsubscribe"]);
}
