//! The topic, who listens to it, and whether its echo queue hears all.

use aws_sdk_sns::types::Subscription;
use aws_sdk_sqs::types::QueueAttributeName;
use hb_service::doctor::Finding;

use super::{DEPLOY, unanswered};
use crate::client::Clients;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};

/// More echoes than a sweep leaves behind: it takes all that there are.
const MANY: u64 = 1_000;
/// What SNS writes instead of an ARN until an endpoint has confirmed (SNS API reference, `ListSubscriptionsByTopic`).
pub(super) async fn examine(clients: &Clients, stage: &Stage, topic: &TopicArn) -> Vec<Finding> {
    let what = format!("topic {}", topic.name());
    clients.meter.called(Operation::GetTopicAttributes);
    let answer = clients
        .sns_quick
        .get_topic_attributes()
        .topic_arn(topic.as_str())
        .send()
        .await;
    if let Err(cause) = answer {
        return vec![unanswered(&what, Operation::GetTopicAttributes, &cause).0];
    }
    let mut findings = vec![Finding::ok(&what, "it exists")];
    findings.extend(queue(clients, stage, topic).await);
    match subscriptions(clients, topic).await {
        Ok(all) => findings.extend(subscribed(clients, stage, topic, &all).await),
        Err(finding) => findings.push(finding),
    }
    findings
}

/// The queue itself: is it there, may the topic write to it, does anybody take what comes?
async fn queue(clients: &Clients, stage: &Stage, topic: &TopicArn) -> Option<Finding> {
    let what = format!("queue {}", stage.echo());
    clients.meter.called(Operation::GetQueueUrl);
    let url = match clients
        .sqs
        .get_queue_url()
        .queue_name(stage.echo())
        .send()
        .await
    {
        Ok(output) => output.queue_url.unwrap_or_default(),
        Err(cause) => return Some(unanswered(&what, Operation::GetQueueUrl, &cause).0),
    };
    clients.meter.called(Operation::GetQueueAttributes);
    let names = [
        QueueAttributeName::Policy,
        QueueAttributeName::ApproximateNumberOfMessages,
    ];
    let request = clients
        .sqs
        .get_queue_attributes()
        .queue_url(url)
        .set_attribute_names(Some(names.into()));
    let attributes = match request.send().await {
        Ok(output) => output.attributes.unwrap_or_default(),
        Err(cause) => return Some(unanswered(&what, Operation::GetQueueAttributes, &cause).0),
    };
    let policy = attributes
        .get(&QueueAttributeName::Policy)
        .map(String::as_str)
        .unwrap_or_default();
    if !policy.contains(topic.as_str()) {
        let cause = "its policy does not name the topic, which then cannot write to it: lost replies become copies";
        return Some(Finding::problem(what, cause, DEPLOY));
    }
    let waiting = attributes.get(&QueueAttributeName::ApproximateNumberOfMessages);
    let waiting: u64 = waiting.and_then(|number| number.parse().ok()).unwrap_or(0);
    let cause = format!("about {waiting} echoes wait");
    Some(if waiting > MANY {
        Finding::warning(
            what,
            cause,
            "see the log of the function sweep, which takes them",
        )
    } else {
        Finding::ok(what, cause)
    })
}

async fn subscriptions(clients: &Clients, topic: &TopicArn) -> Result<Vec<Subscription>, Finding> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        clients.meter.called(Operation::ListSubscriptionsByTopic);
        let request = clients
            .sns
            .list_subscriptions_by_topic()
            .topic_arn(topic.as_str());
        let output = request
            .set_next_token(after)
            .send()
            .await
            .map_err(|cause| {
                let what = format!("topic {}", topic.name());
                unanswered(&what, Operation::ListSubscriptionsByTopic, &cause).0
            })?;
        all.extend(output.subscriptions.unwrap_or_default());
        after = output.next_token;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Whether the queue hears all that the topic accepts, as it is.
async fn subscribed(
    clients: &Clients,
    stage: &Stage,
    topic: &TopicArn,
    all: &[Subscription],
) -> Option<Finding> {
    let (what, queue) = (
        format!("queue {}", stage.echo()),
        topic.beside(&stage.echo(), "sqs"),
    );
    let is_echo =
        |s: &&Subscription| s.protocol() == Some("sqs") && s.endpoint() == Some(queue.as_str());
    let Some(arn) = all
        .iter()
        .find(is_echo)
        .and_then(Subscription::subscription_arn)
    else {
        let cause = "it does not listen to the topic: lost replies become copies";
        return Some(Finding::problem(what, cause, DEPLOY));
    };
    clients.meter.called(Operation::GetSubscriptionAttributes);
    let answer = clients
        .sns
        .get_subscription_attributes()
        .subscription_arn(arn)
        .send()
        .await;
    let attributes = match answer {
        Ok(output) => output.attributes.unwrap_or_default(),
        Err(cause) => {
            return Some(unanswered(&what, Operation::GetSubscriptionAttributes, &cause).0);
        }
    };
    let is = |name: &str| attributes.get(name).map(String::as_str).unwrap_or_default();
    if !matches!(is("FilterPolicy"), "" | "{}") {
        let cause =
            "its subscription has a filter: what that holds back is sent twice after a lost reply";
        return Some(Finding::problem(what, cause, DEPLOY));
    }
    if is("RawMessageDelivery") != "true" {
        let cause = "its subscription wraps notices in an envelope, which is read and costs more";
        return Some(Finding::warning(what, cause, DEPLOY));
    }
    None
}
