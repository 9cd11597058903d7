//! What `hb doctor` finds on a stage: on `moto`, which has topics and queues, and with errors made up by `dynoxide`.

use hb_aws::examine;
use hb_service::doctor::{Finding, Verdict};
use serde_json::json;

use crate::dynoxide::Account;
use crate::moto::{Deployed, deploy};

/// What is not well: thing and cause.
fn trouble(findings: Vec<Finding>) -> Vec<(Verdict, String, String)> {
    let bad = findings
        .into_iter()
        .filter(|finding| finding.verdict != Verdict::Ok);
    bad.map(|finding| {
        assert!(finding.next_step.is_some(), "{finding:?}");
        (finding.verdict, finding.thing, finding.cause)
    })
    .collect()
}

async fn found(deployed: &Deployed) -> Vec<(Verdict, String, String)> {
    trouble(examine(&deployed.clients, &deployed.stage).await)
}

fn assert_one(found: &[(Verdict, String, String)], thing: &str, cause: &str) {
    let [(verdict, of, said)] = found else {
        panic!("{found:?}")
    };
    assert!(
        *verdict == Verdict::Problem && of == thing && said.contains(cause),
        "{found:?}"
    );
}

/// The ARN of the echo queue's subscription.
async fn echo(sns: &aws_sdk_sns::Client, deployed: &Deployed) -> String {
    let topic = deployed.topic.as_str();
    let output = sns
        .list_subscriptions_by_topic()
        .topic_arn(topic)
        .send()
        .await
        .unwrap();
    output.subscriptions()[0]
        .subscription_arn()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_stage_as_it_is_made_is_well() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let findings = examine(&deployed.clients, &deployed.stage).await;
    assert!(
        findings.len() == 6 && findings.iter().all(|f| f.verdict == Verdict::Ok),
        "{findings:?}"
    );
}

#[tokio::test]
async fn an_echo_queue_that_does_not_hear_all_is_told() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let (sns, thing) = (
        aws_sdk_sns::Client::new(&deployed.raw),
        format!("queue {}", deployed.stage.echo()),
    );
    let arn = echo(&sns, &deployed).await;
    let set = async |name: &str, value: &str| {
        let request = sns.set_subscription_attributes().subscription_arn(&arn);
        request
            .attribute_name(name)
            .attribute_value(value)
            .send()
            .await
            .unwrap();
    };
    set("FilterPolicy", &json!({"kind": ["missing"]}).to_string()).await;
    assert_one(&found(&deployed).await, &thing, "has a filter");
    set("FilterPolicy", "{}").await;
    set("RawMessageDelivery", "false").await;
    let [(Verdict::Warning, _, cause)] = &found(&deployed).await[..] else {
        panic!("a warning")
    };
    assert!(cause.contains("envelope"), "{cause}");
    sns.unsubscribe()
        .subscription_arn(&arn)
        .send()
        .await
        .unwrap();
    assert_one(
        &found(&deployed).await,
        &thing,
        "is not subscribed to the topic",
    );
}

#[tokio::test]
async fn a_queue_without_leave_or_that_is_gone_is_told() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let (sqs, thing) = (
        aws_sdk_sqs::Client::new(&deployed.raw),
        format!("queue {}", deployed.stage.echo()),
    );
    let url = sqs
        .get_queue_url()
        .queue_name(deployed.stage.echo())
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*",
        "Action": "sqs:ReceiveMessage", "Resource": "*"}]});
    let request = sqs.set_queue_attributes().queue_url(&url);
    request
        .attributes("Policy".into(), policy.to_string())
        .send()
        .await
        .unwrap();
    assert_one(&found(&deployed).await, &thing, "its policy");
    sqs.delete_queue().queue_url(&url).send().await.unwrap();
    assert_one(&found(&deployed).await, &thing, "does not exist");
}

#[tokio::test]
async fn a_table_and_a_topic_that_are_gone_are_named() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let sns = aws_sdk_sns::Client::new(&deployed.raw);
    sns.delete_topic()
        .topic_arn(deployed.topic.as_str())
        .send()
        .await
        .unwrap();
    let topic = format!("topic {}", deployed.stage.notices());
    assert_one(&found(&deployed).await, &topic, "does not exist");
    let dynamodb = aws_sdk_dynamodb::Client::new(&deployed.raw);
    dynamodb
        .delete_table()
        .table_name(deployed.stage.keys())
        .send()
        .await
        .unwrap();
    let found = found(&deployed).await;
    assert!(
        found.len() == 2 && found[0].1 == format!("table {}", deployed.stage.keys()),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_stops_every_call_is_one_finding() {
    let cases = [
        ("UnrecognizedClientException", "credentials"),
        ("ExpiredTokenException", "credentials"),
        ("RequestTimeTooSkewed", "clock"),
    ];
    for (code, thing) in cases {
        let account = Account::new();
        let (clients, stage) = account.stage().await;
        account.fail(move |_| Some(code));
        let found = trouble(examine(&clients, &stage).await);
        assert_one(&found, thing, "");
    }
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    account.fail(|operation| (operation == "DescribeTable").then_some("AccessDeniedException"));
    let found = trouble(examine(&clients, &stage).await);
    assert!(
        found.len() == 4
            && found
                .iter()
                .all(|(_, _, cause)| cause.contains("allow dynamodb:DescribeTable"))
    );
}
