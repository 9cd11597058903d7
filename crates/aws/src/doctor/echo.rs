//! The topic, its echo queue, and the subscription between them.

use aws_sdk_sns::types::Subscription;
use aws_sdk_sqs::types::QueueAttributeName;
use hb_service::doctor::Finding;

use super::answer::{DEPLOY, answer};
use crate::client::Clients;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};

/// More waiting echoes than this mean that sweeps do not read them: a sweep takes all there are.
const MANY: u64 = 1_000;

pub(super) async fn examine(clients: &Clients, stage: &Stage, topic: &TopicArn) -> Vec<Finding> {
    let what = format!("topic {}", topic.name());
    let request = clients.sns_quick.get_topic_attributes();
    let found = request.topic_arn(topic.as_str()).send().await;
    if let Err(error) = answer(clients, &what, Operation::GetTopicAttributes, found) {
        return vec![error.into()];
    }
    let mut findings = vec![Finding::ok(&what, "it exists")];
    let queue = queue(clients, stage, topic).await;
    findings.push(queue.unwrap_or_else(|finding| finding));
    findings.extend(subscription(clients, stage, topic).await.err());
    findings
}

/// Whether the queue exists, whether the topic may write to it, and whether its messages are read.
async fn queue(clients: &Clients, stage: &Stage, topic: &TopicArn) -> Result<Finding, Finding> {
    let what = format!("queue {}", stage.echo());
    let request = clients.sqs.get_queue_url().queue_name(stage.echo());
    let found = request.send().await;
    let url = answer(clients, &what, Operation::GetQueueUrl, found)?.queue_url;
    let names = [
        QueueAttributeName::Policy,
        QueueAttributeName::ApproximateNumberOfMessages,
    ];
    let request = clients.sqs.get_queue_attributes();
    let found = request
        .set_queue_url(url)
        .set_attribute_names(Some(names.into()))
        .send()
        .await;
    let attributes = answer(clients, &what, Operation::GetQueueAttributes, found)?
        .attributes
        .unwrap_or_default();
    let policy = attributes.get(&QueueAttributeName::Policy);
    if !policy.is_some_and(|policy| policy.contains(topic.as_str())) {
        let cause = "its policy does not let the topic write to it: lost replies become copies";
        return Err(Finding::problem(what, cause, DEPLOY));
    }
    let waiting = attributes.get(&QueueAttributeName::ApproximateNumberOfMessages);
    let waiting: u64 = waiting.and_then(|count| count.parse().ok()).unwrap_or(0);
    let cause = format!("about {waiting} echoes are waiting");
    if waiting > MANY {
        let next = "see the log of the function sweep, which reads them";
        return Ok(Finding::warning(what, cause, next));
    }
    Ok(Finding::ok(what, cause))
}

/// Whether the queue receives everything that the topic accepts, raw and unfiltered.
async fn subscription(clients: &Clients, stage: &Stage, topic: &TopicArn) -> Result<(), Finding> {
    let what = format!("queue {}", stage.echo());
    let queue = topic.beside(&stage.echo(), "sqs");
    let all = subscriptions(clients, topic).await?;
    let is_echo =
        |s: &&Subscription| s.protocol() == Some("sqs") && s.endpoint() == Some(queue.as_str());
    let echo = all.iter().find(is_echo);
    let Some(arn) = echo.and_then(Subscription::subscription_arn) else {
        let cause = "it is not subscribed to the topic: lost replies become copies";
        return Err(Finding::problem(what, cause, DEPLOY));
    };
    let request = clients.sns.get_subscription_attributes();
    let found = request.subscription_arn(arn).send().await;
    let attributes = answer(clients, &what, Operation::GetSubscriptionAttributes, found)?
        .attributes
        .unwrap_or_default();
    let is = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    if !matches!(is("FilterPolicy"), "" | "{}") {
        let cause =
            "its subscription has a filter: after a lost reply, a filtered notice is sent twice";
        return Err(Finding::problem(what, cause, DEPLOY));
    }
    if is("RawMessageDelivery") != "true" {
        let cause = "its subscription wraps notices in an envelope, which costs more";
        return Err(Finding::warning(what, cause, DEPLOY));
    }
    Ok(())
}

async fn subscriptions(clients: &Clients, topic: &TopicArn) -> Result<Vec<Subscription>, Finding> {
    let what = format!("topic {}", topic.name());
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let request = clients.sns.list_subscriptions_by_topic();
        let found = request
            .topic_arn(topic.as_str())
            .set_next_token(after)
            .send()
            .await;
        let output = answer(clients, &what, Operation::ListSubscriptionsByTopic, found)?;
        all.extend(output.subscriptions.unwrap_or_default());
        after = output.next_token;
        if after.is_none() {
            return Ok(all);
        }
    }
}
