//! Subscriptions: SNS first, then the record, and both again when a reply was lost.

use hb_aws::SnsSubscriptions;
use hb_domain::{ConfirmationToken, Endpoint, Filter, Kind, Protocol, Subscription, Webhook};
use hb_service::ports::{PortError, Subscriptions};
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
        webhook: Webhook::default(),
        created: at(0),
    }
}

/// The record of a subscription, in the wire format.
fn record() -> Value {
    let text = |text: &str| json!({"S": text});
    json!({"kind": text("subscription/eu-west-1"), "name": text("abc"), "arn": text("arn:1"), "protocol": text("email"),
           "address": text("on-call@example.com"), "filter": text("{}"), "created": {"N": "1"}})
}

fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

fn adapter(script: &Script) -> SnsSubscriptions {
    SnsSubscriptions::new(&script.clients(), &stage()).at(arn())
}

#[tokio::test]
async fn the_endpoint_is_subscribed_before_the_record_is_written() {
    let none = Answer::done(json!({"Items": []}));
    let script = Script::new([none, subscribed(), Answer::Reset, Answer::done(json!({}))]);
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
async fn a_refused_subscribe_writes_no_record() {
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

/// A conflict is the user's to solve: as "unavailable" it would end with the advice to try again later.
#[tokio::test]
async fn what_can_never_be_subscribed_is_a_conflict_and_not_unavailable() {
    let nothing = || Answer::done(json!({"Items": []}));
    let taken = Answer::done(json!({"Items": [record()]}));
    let invalid = Answer::sns_error(400, "InvalidParameter");
    let cases = [
        (
            Script::new([taken]),
            Subscription {
                id: "other".parse().unwrap(),
                ..subscription(Protocol::Email, "on-call@example.com")
            },
            "subscription other: its endpoint is already subscribed as abc: remove that first",
        ),
        (
            Script::new([nothing()]),
            subscription(Protocol::Console, ""),
            "subscription abc: AWS has no console endpoint: only `hb serve` has one",
        ),
        (
            Script::new([nothing(), invalid]),
            subscription(Protocol::Sms, "+4915112345678"),
            "subscription abc: InvalidParameter to Subscribe (HTTP status 400): said",
        ),
    ];
    for (script, subscription, expected) in cases {
        let error = adapter(&script)
            .add(&subscription, &token())
            .await
            .unwrap_err();
        assert!(matches!(error, PortError::Conflict { .. }), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn deleted_and_unconfirmed_subscriptions_can_be_removed() {
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
async fn a_failed_unsubscribe_keeps_the_record() {
    let found = Answer::done(json!({"Item": record()}));
    let script = Script::new([found, Answer::sns_error(400, "InvalidParameter")]);
    adapter(&script)
        .remove(&"abc".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(script.operations(), ["GetItem", "Unsubscribe"]);
}

#[tokio::test]
async fn a_confirmed_subscription_is_named_by_its_id_or_else_by_its_arn() {
    for (arn, name) in [("arn:1", "abc"), ("arn:2", "arn:2")] {
        let result = format!(
            "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult><SubscriptionArn>{arn}</SubscriptionArn>\
             </ConfirmSubscriptionResult></ConfirmSubscriptionResponse>"
        );
        let records = Answer::done(json!({"Items": [record()]}));
        let script = Script::new([Answer::Http(200, result), records]);
        let confirmed = adapter(&script).confirm(&token()).await.unwrap();
        assert_eq!(confirmed.as_deref(), Some(name));
        assert_eq!(script.operations(), ["ConfirmSubscription", "Query"]);
    }
}
