//! Who listens to the topic, on SNS.
//!
//! SNS names a subscription by an ARN of its own and keeps neither our id nor when it was made, and a filter policy is
//! a poor place to hide them: it would filter on them. So each subscription has a record in the table `system`, by our
//! id, with the ARN in it. SNS is told first: a subscription that nobody lists still alarms, a record that SNS does not
//! know would not. To add the same endpoint again is harmless, and makes the record good.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::operation::confirm_subscription::ConfirmSubscriptionError;
use aws_sdk_sns::operation::get_subscription_attributes::GetSubscriptionAttributesError;
use aws_sdk_sns::operation::unsubscribe::UnsubscribeError;
use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Protocol, Subscription, SubscriptionId, SubscriptionState,
};
use hb_service::ports::{Cursor, Page, PortError, PortResult, Subscriptions};

use crate::client::Clients;
use crate::cursor;
use crate::error;
use crate::item::{self, Cause};
use crate::meter::{Meter, Operation};
use crate::names::{Stage, TopicArn};
use crate::records::{KIND, NAME, Records};
use crate::size::AttributeMap;
use crate::topic;

const PROTOCOL: &str = "protocol";
const ADDRESS: &str = "address";
const FILTER: &str = "filter";
const CREATED: &str = "created";
const ARN: &str = "arn";

/// The subscriptions of a stage.
#[derive(Clone, Debug)]
pub struct SnsSubscriptions {
    client: Client,
    topic: TopicArn,
    records: Records,
    meter: Arc<Meter>,
}

impl SnsSubscriptions {
    /// The subscriptions of `stage` to its `topic`, as [`find_topic`](crate::find_topic) gives it.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage, topic: TopicArn) -> Self {
        // By region: the table may be a global one, and the same subscription has another ARN in each region.
        let records = Records::new(clients, stage, format!("subscription/{}", topic.region()));
        Self {
            client: clients.sns.clone(),
            topic,
            records,
            meter: clients.meter.clone(),
        }
    }

    fn what(&self) -> String {
        format!("topic {}", self.topic.name())
    }

    /// Whether `wanted` can be added: not when its id is taken; an endpoint that is taken is an error, because SNS
    /// keeps one subscription an endpoint, and removing one of two would remove both.
    async fn is_free(&self, wanted: &Subscription) -> PortResult<bool> {
        let mut after = None;
        loop {
            let page = self.list(after).await?;
            for taken in page.items {
                if taken.id == wanted.id {
                    return Ok(false);
                }
                if taken.endpoint == wanted.endpoint {
                    let cause = format!(
                        "{} listens already, as {}: remove that first",
                        taken.endpoint, taken.id
                    );
                    return Err(PortError::unavailable(self.what(), cause));
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(true);
            }
        }
    }

    /// Subscribes the endpoint; gives the ARN.
    async fn subscribe(&self, subscription: &Subscription) -> PortResult<String> {
        self.meter.called(Operation::Subscribe);
        let protocol = subscription.endpoint.protocol();
        let mut request = self.client.subscribe().topic_arn(self.topic.as_str());
        if let Some(policy) = filter_policy(&subscription.filter) {
            request = request.attributes("FilterPolicy", policy);
        }
        if protocol == Protocol::Sqs {
            // The notice itself, without the envelope of SNS around it.
            request = request.attributes("RawMessageDelivery", "true");
        }
        let answer = request
            .protocol(protocol.to_string())
            .endpoint(subscription.endpoint.address())
            // Also while the endpoint has not confirmed: without it there would be nothing to remove.
            .return_subscription_arn(true)
            .send()
            .await;
        match answer {
            Ok(output) => output.subscription_arn.ok_or_else(|| {
                PortError::unavailable(self.what(), "Subscribe was answered without an ARN")
            }),
            Err(cause) => Err(error::trouble(&self.what(), Operation::Subscribe, &cause)),
        }
    }

    async fn state(&self, arn: &str) -> PortResult<SubscriptionState> {
        self.meter.called(Operation::GetSubscriptionAttributes);
        match self
            .client
            .get_subscription_attributes()
            .subscription_arn(arn)
            .send()
            .await
        {
            Ok(output) => {
                let pending = output
                    .attributes
                    .unwrap_or_default()
                    .remove("PendingConfirmation");
                Ok(if pending.as_deref() == Some("true") {
                    SubscriptionState::Pending
                } else {
                    SubscriptionState::Confirmed
                })
            }
            Err(cause) => match cause.as_service_error() {
                Some(GetSubscriptionAttributesError::NotFoundException(_)) => {
                    Ok(SubscriptionState::Gone)
                }
                _ => Err(error::trouble(
                    &self.what(),
                    Operation::GetSubscriptionAttributes,
                    &cause,
                )),
            },
        }
    }

    /// Unsubscribes. SNS forgets what was never confirmed by itself after 48 hours, and refuses to do so earlier
    /// (SNS developer guide, "Deleting an Amazon SNS topic and subscription"); what is gone already is gone.
    async fn unsubscribe(&self, arn: &str) -> PortResult<()> {
        self.meter.called(Operation::Unsubscribe);
        match self.client.unsubscribe().subscription_arn(arn).send().await {
            Ok(_) => Ok(()),
            Err(cause) => match cause.as_service_error() {
                Some(UnsubscribeError::NotFoundException(_)) => Ok(()),
                Some(UnsubscribeError::InvalidParameterException(refusal))
                    if refusal
                        .message()
                        .is_some_and(|said| said.to_lowercase().contains("pending")) =>
                {
                    Ok(())
                }
                _ => Err(error::trouble(&self.what(), Operation::Unsubscribe, &cause)),
            },
        }
    }
}

#[async_trait]
impl Subscriptions for SnsSubscriptions {
    /// SNS makes tokens of its own.
    async fn add(&self, subscription: &Subscription, _: &ConfirmationToken) -> PortResult<bool> {
        if subscription.endpoint.protocol() == Protocol::Console {
            return Err(PortError::unavailable(
                self.what(),
                "there is no console on AWS: only `hb serve` has one",
            ));
        }
        if !self.is_free(subscription).await? {
            return Ok(false);
        }
        let arn = self.subscribe(subscription).await?;
        let record = encode(subscription, &arn).map_err(|cause| {
            PortError::unreadable(self.what(), subscription.id.to_string(), cause)
        })?;
        // The same record again is no other: its reply was lost, and the SDK tried again.
        let free = "attribute_not_exists(#name) OR #arn = :arn";
        self.records
            .put(subscription.id.as_str(), record, free)
            .await
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        let after = after
            .map(|cursor| cursor::position::<1>(&cursor))
            .transpose()?;
        let (items, next) = self
            .records
            .page(after.as_ref().map(|[name]| name.as_str()))
            .await?;
        let page = item::page(items, &[KIND, NAME], decode);
        Ok(Page {
            next: next.map(|name| cursor::behind(&[&name])),
            ..page
        })
    }

    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        let (mut states, mut after) = (BTreeMap::new(), None::<String>);
        loop {
            let (items, next) = self.records.page(after.as_deref()).await?;
            for item in &items {
                // What cannot be read is told by the listing.
                let (Ok(id), Ok(arn)) = (item::get_parsed(item, NAME), item::get_text(item, ARN))
                else {
                    continue;
                };
                states.insert(id, self.state(arn).await?);
            }
            after = next;
            if after.is_none() {
                return Ok(states);
            }
        }
    }

    /// Whoever has confirmed can be unsubscribed by nobody without credentials: the link that SNS puts below each
    /// mail does not do it any more (SNS API reference, `ConfirmSubscription`, `AuthenticateOnUnsubscribe`).
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<bool> {
        self.meter.called(Operation::ConfirmSubscription);
        let request = self
            .client
            .confirm_subscription()
            .topic_arn(self.topic.as_str());
        match request
            .token(token.reveal())
            .authenticate_on_unsubscribe("true")
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(cause) => match cause.as_service_error() {
                // The token of another region, or an old one.
                Some(ConfirmSubscriptionError::InvalidParameterException(_)) => Ok(false),
                _ => Err(error::trouble(
                    &self.what(),
                    Operation::ConfirmSubscription,
                    &cause,
                )),
            },
        }
    }

    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let Some(record) = self.records.load(id.as_str()).await? else {
            return Ok(false);
        };
        // Of a record that cannot be read, the ARN is enough to be rid of it.
        let arn = self.records.read(&record, |record| {
            item::get_text(record, ARN).map(ToOwned::to_owned)
        })?;
        self.unsubscribe(&arn).await?;
        self.records.delete(id.as_str()).await?;
        Ok(true)
    }
}

/// A filter as SNS wants it: for each attribute of a message the values that pass. `None` lets all through.
fn filter_policy(filter: &Filter) -> Option<String> {
    let mut policy = serde_json::Map::new();
    if let Some(fleet) = &filter.fleet {
        policy.insert(topic::FLEET.to_owned(), serde_json::json!([fleet]));
    }
    if !filter.kinds.is_empty() {
        policy.insert(topic::KIND.to_owned(), serde_json::json!(filter.kinds));
    }
    if !filter.severities.is_empty() {
        policy.insert(
            topic::SEVERITY.to_owned(),
            serde_json::json!(filter.severities),
        );
    }
    (!policy.is_empty()).then(|| serde_json::Value::from(policy).to_string())
}

fn encode(subscription: &Subscription, arn: &str) -> Result<AttributeMap, Cause> {
    let filter = serde_json::to_string(&subscription.filter).map_err(|error| error.to_string())?;
    Ok(item::of([
        (
            PROTOCOL,
            item::text(subscription.endpoint.protocol().to_string()),
        ),
        (ADDRESS, item::text(subscription.endpoint.address())),
        (FILTER, item::text(filter)),
        (CREATED, item::instant(subscription.created)),
        (ARN, item::text(arn)),
    ]))
}

fn decode(item: &AttributeMap) -> Result<Subscription, Cause> {
    let protocol = serde_json::Value::from(item::get_text(item, PROTOCOL)?);
    let protocol: Protocol =
        serde_json::from_value(protocol).map_err(|error| item::wrong(PROTOCOL, error))?;
    // The error of an address may show it, and of a webhook it is a secret.
    let endpoint = Endpoint::parse(protocol, item::get_text(item, ADDRESS)?)
        .map_err(|_| item::wrong(ADDRESS, format!("not one of {protocol}")))?;
    Ok(Subscription {
        id: item::get_parsed(item, NAME)?,
        endpoint,
        filter: serde_json::from_str(item::get_text(item, FILTER)?)
            .map_err(|error| item::wrong(FILTER, error))?,
        created: item::get_instant(item, CREATED)?,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Kind, Severity, Timestamp};

    use super::*;

    #[test]
    fn filters_become_policies() {
        let fleet = Some("lab".parse().unwrap());
        let kinds = vec![Kind::Missing, Kind::Recovered];
        let policies = [
            (Filter::default(), None),
            (
                Filter {
                    fleet: fleet.clone(),
                    ..Filter::default()
                },
                Some(r#"{"fleet":["lab"]}"#),
            ),
            (
                Filter {
                    severities: vec![Severity::Critical],
                    ..Filter::default()
                },
                Some(r#"{"severity":["critical"]}"#),
            ),
            (
                Filter {
                    fleet,
                    kinds,
                    severities: vec![],
                },
                Some(r#"{"fleet":["lab"],"kind":["missing","recovered"]}"#),
            ),
        ];
        for (filter, policy) in policies {
            assert_eq!(filter_policy(&filter).as_deref(), policy);
        }
    }

    #[test]
    fn what_is_written_reads_back_and_garbage_hides_the_address() {
        let subscription = Subscription {
            id: "abc".parse().unwrap(),
            endpoint: Endpoint::parse(Protocol::Https, "https://example.com/s3cr3t").unwrap(),
            filter: Filter {
                kinds: vec![Kind::Missing],
                ..Filter::default()
            },
            created: Timestamp::MAX,
        };
        let mut item = encode(&subscription, "arn:1").unwrap();
        item.insert(NAME.to_owned(), item::text("abc"));
        assert_eq!(decode(&item).unwrap(), subscription);
        item.insert(PROTOCOL.to_owned(), item::text("email"));
        assert_eq!(
            decode(&item).unwrap_err(),
            "attribute address: not one of email"
        );
    }
}
