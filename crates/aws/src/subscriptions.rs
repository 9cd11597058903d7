//! Subscriptions to the topic, on SNS.
//!
//! SNS names a subscription by an ARN of its own and stores neither our id nor the time of creation. So each
//! subscription has a record in the table `system`, under our id, that holds the ARN. The SNS subscription is created
//! before the record: a subscription without a record still delivers alarms, a record without a subscription would
//! not. Adding the same endpoint again is harmless and repairs the record.

pub(crate) mod stored;

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_sns::operation::confirm_subscription::ConfirmSubscriptionError;
use aws_sdk_sns::operation::get_subscription_attributes::GetSubscriptionAttributesError;
use aws_sdk_sns::operation::subscribe::SubscribeError;
use aws_sdk_sns::operation::unsubscribe::UnsubscribeError;
use hb_domain::{
    ConfirmationToken, Filter, HostPrefix, Protocol, Subscription, SubscriptionId,
    SubscriptionState,
};
use hb_service::ports::{Cursor, Page, PortError, PortResult, Subscriptions, every_page};
use serde_json::json;
use tracing::instrument;

use self::stored::ARN;
use crate::client::Clients;
use crate::error::{CallError, unavailable};
use crate::find::TopicAddress;
use crate::item;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};
use crate::records::{NAME, Records};
use crate::topic;

/// The subscriptions of a stage, in the region of the clients.
#[derive(Clone, Debug)]
pub struct SnsSubscriptions {
    clients: Clients,
    topic: TopicAddress,
    records: Records,
}

impl SnsSubscriptions {
    /// Finds the ARN of the topic on first use.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        // By region: the table may be a global one, and the same subscription has another ARN in each region.
        let region = clients.region().unwrap_or_default();
        Self {
            clients: clients.clone(),
            topic: TopicAddress::new(clients, stage),
            records: Records::new(clients, stage, format!("subscription/{region}")),
        }
    }

    /// The same on a topic whose ARN is known.
    #[must_use]
    pub fn at(self, arn: TopicArn) -> Self {
        Self {
            topic: self.topic.known(arn),
            ..self
        }
    }

    /// Whether `wanted` can be added: `false` when its id is taken. An endpoint that is taken is a conflict, because
    /// SNS keeps one subscription an endpoint, and removing one of two would remove both.
    async fn is_free(&self, wanted: &Subscription) -> PortResult<bool> {
        let (all, _) = every_page(|after| self.list(after)).await?;
        if all.iter().any(|taken| taken.id == wanted.id) {
            return Ok(false);
        }
        match all.iter().find(|taken| taken.endpoint == wanted.endpoint) {
            None => Ok(true),
            // The address stays out of the message, and so of the log: a webhook's is a secret.
            Some(taken) => Err(conflict(
                wanted,
                format!(
                    "its endpoint is already subscribed as {}: remove that first",
                    taken.id
                ),
            )),
        }
    }

    /// Subscribes the endpoint and returns the ARN of the subscription.
    async fn subscribe(&self, subscription: &Subscription) -> PortResult<String> {
        let protocol = subscription.endpoint.protocol();
        let mut request = self
            .clients
            .sns
            .subscribe()
            .topic_arn(self.topic.arn().await?);
        let policy = filter_policy(&subscription.filter);
        if let Some(policy) = policy.map_err(|cause| conflict(subscription, cause))? {
            request = request.attributes("FilterPolicy", policy);
        }
        if protocol == Protocol::Sqs {
            // The notice itself, without the envelope of SNS.
            request = request.attributes("RawMessageDelivery", "true");
        }
        self.clients.meter.called(Operation::Subscribe);
        let answer = request
            .protocol(protocol.to_string())
            .endpoint(subscription.endpoint.address())
            // Also before the endpoint confirms: without the ARN there would be nothing to remove.
            .return_subscription_arn(true)
            .send()
            .await;
        let what = self.topic.what();
        match answer {
            Ok(output) => output
                .subscription_arn
                .ok_or_else(|| PortError::unavailable(what, "Subscribe returned no ARN")),
            // SNS does not accept this endpoint, now or later.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(SubscribeError::is_invalid_parameter_exception) =>
            {
                let cause = CallError::new(&what, Operation::Subscribe, error);
                Err(conflict(subscription, cause))
            }
            Err(error) => Err(unavailable(&what, Operation::Subscribe, error)),
        }
    }

    /// The ARN of each subscription. Unreadable records are reported by `list`.
    async fn arns(&self) -> PortResult<Vec<(SubscriptionId, String)>> {
        let decode = |item: &_| {
            let arn = item::get_text(item, ARN)?.to_owned();
            Ok((item::get_parsed::<SubscriptionId>(item, NAME)?, arn))
        };
        let (arns, _) = every_page(|after| self.records.page(after, decode)).await?;
        Ok(arns)
    }

    /// The id of the subscription with this ARN; the ARN where there is no record of it.
    async fn name_of(&self, arn: Option<String>) -> String {
        let arn = arn.unwrap_or_default();
        let known = self.arns().await.unwrap_or_default();
        let id = known.into_iter().find(|(_, known)| *known == arn);
        id.map_or(arn, |(id, _)| id.to_string())
    }

    async fn state(&self, arn: &str) -> PortResult<SubscriptionState> {
        let operation = Operation::GetSubscriptionAttributes;
        self.clients.meter.called(operation);
        let request = self.clients.sns.get_subscription_attributes();
        match request.subscription_arn(arn).send().await {
            Ok(output) => {
                let attributes = output.attributes.unwrap_or_default();
                let pending = attributes.get("PendingConfirmation");
                Ok(if pending.is_some_and(|pending| pending == "true") {
                    SubscriptionState::Pending
                } else {
                    SubscriptionState::Confirmed
                })
            }
            Err(error) => match error.as_service_error() {
                Some(GetSubscriptionAttributesError::NotFoundException(_)) => {
                    Ok(SubscriptionState::Gone)
                }
                _ => Err(unavailable(&self.topic.what(), operation, error)),
            },
        }
    }

    /// SNS deletes an unconfirmed subscription by itself after 48 hours, and refuses to delete it earlier (SNS
    /// developer guide, "Deleting an Amazon SNS topic and subscription").
    async fn unsubscribe(&self, arn: &str) -> PortResult<()> {
        self.clients.meter.called(Operation::Unsubscribe);
        let request = self.clients.sns.unsubscribe().subscription_arn(arn);
        let Err(error) = request.send().await else {
            return Ok(());
        };
        match error.as_service_error() {
            Some(UnsubscribeError::NotFoundException(_)) => Ok(()),
            Some(UnsubscribeError::InvalidParameterException(refusal))
                if refusal
                    .message()
                    .is_some_and(|message| message.to_lowercase().contains("pending")) =>
            {
                Ok(())
            }
            _ => Err(unavailable(
                &self.topic.what(),
                Operation::Unsubscribe,
                error,
            )),
        }
    }
}

fn conflict(subscription: &Subscription, cause: impl Into<hb_service::ports::Cause>) -> PortError {
    PortError::conflict(format!("subscription {}", subscription.id), cause)
}

#[async_trait]
impl Subscriptions for SnsSubscriptions {
    /// Ignores the token: SNS issues its own.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(
        id = subscription.id.as_str(), protocol = %subscription.endpoint.protocol()))]
    async fn add(&self, subscription: &Subscription, _: &ConfirmationToken) -> PortResult<bool> {
        if subscription.endpoint.protocol() == Protocol::Console {
            let cause = "AWS has no console endpoint: only `hb serve` has one";
            return Err(conflict(subscription, cause));
        }
        if !self.is_free(subscription).await? {
            return Ok(false);
        }
        let arn = self.subscribe(subscription).await?;
        let record = stored::encode(subscription, &arn).map_err(|cause| {
            PortError::unreadable(self.topic.what(), subscription.id.to_string(), cause)
        })?;
        // The same ARN is the same subscription: the reply was lost and the SDK tried again.
        let free = "attribute_not_exists(#name) OR #arn = :arn";
        self.records
            .put(subscription.id.as_str(), record, free, None)
            .await
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        self.records.page(after, stored::decode).await
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        let mut states = BTreeMap::new();
        for (id, arn) in self.arns().await? {
            states.insert(id, self.state(&arn).await?);
        }
        Ok(states)
    }

    /// After this, unsubscribing needs credentials: the link below each mail no longer works (SNS API reference,
    /// `ConfirmSubscription`, `AuthenticateOnUnsubscribe`).
    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<Option<String>> {
        let operation = Operation::ConfirmSubscription;
        let arn = self.topic.arn().await?;
        self.clients.meter.called(operation);
        let request = self.clients.sns.confirm_subscription().topic_arn(arn);
        let answer = request
            .token(token.reveal())
            .authenticate_on_unsubscribe("true")
            .send()
            .await;
        let error = match answer {
            Ok(output) => return Ok(Some(self.name_of(output.subscription_arn).await)),
            Err(error) => error,
        };
        match error.as_service_error() {
            // The token is of another region, or too old.
            Some(ConfirmSubscriptionError::InvalidParameterException(_)) => Ok(None),
            _ => Err(unavailable(&self.topic.what(), operation, error)),
        }
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        let Some(record) = self.records.load(id.as_str()).await? else {
            return Ok(false);
        };
        // Only the ARN must be readable, so that a damaged record can be removed, too.
        let arn = self.records.read(&record, |record| {
            item::get_text(record, ARN).map(ToOwned::to_owned)
        })?;
        self.unsubscribe(&arn).await?;
        self.records.delete(id.as_str()).await?;
        Ok(true)
    }
}

/// The SNS filter policy: for each message attribute the values that pass. `None` passes everything.
///
/// A message says of which sites its hosts are, not which hosts they are: of a digest that would be too long. So a prefix must
/// be that of sites; an error says so.
fn filter_policy(filter: &Filter) -> Result<Option<String>, String> {
    let mut policy = serde_json::Map::new();
    if let Some(fleet) = &filter.fleet {
        policy.insert(topic::FLEET.to_owned(), json!([fleet]));
    }
    if !filter.kinds.is_empty() {
        policy.insert(topic::KIND.to_owned(), json!(filter.kinds));
    }
    if !filter.severities.is_empty() {
        policy.insert(topic::SEVERITY.to_owned(), json!(filter.severities));
    }
    if !filter.host_prefixes.is_empty() {
        let mut sites: Vec<_> = filter
            .host_prefixes
            .iter()
            .map(HostPrefix::as_str)
            .collect();
        if let Some(prefix) = sites.iter().find(|prefix| !prefix.ends_with('/')) {
            return Err(format!(
                "on AWS a subscription can be limited to sites, not to hosts: end the prefix {prefix} with a slash"
            ));
        }
        sites.push(topic::TEST);
        policy.insert(topic::SITES.to_owned(), json!(sites));
    }
    Ok((!policy.is_empty()).then(|| serde_json::Value::from(policy).to_string()))
}

#[cfg(test)]
mod tests {
    use hb_domain::{Kind, Severity, limits};

    use super::*;

    #[test]
    fn filters_become_filter_policies() {
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
                    ..Filter::default()
                },
                Some(r#"{"fleet":["lab"],"kind":["missing","recovered"]}"#),
            ),
            (
                of_hosts(&["restaurant-17/", "north/"]),
                Some(r##"{"sites":["restaurant-17/","north/","#test"]}"##),
            ),
        ];
        for (filter, policy) in policies {
            assert_eq!(filter_policy(&filter).unwrap().as_deref(), policy);
        }
        let refused = filter_policy(&of_hosts(&["restaurant-17/", "web-"])).unwrap_err();
        assert!(
            refused.ends_with("end the prefix web- with a slash"),
            "{refused}"
        );
    }

    fn of_hosts(prefixes: &[&str]) -> Filter {
        serde_json::from_value(json!({"hostPrefixes": prefixes})).unwrap()
    }

    /// SNS multiplies the numbers of values of all attributes, and takes 150 of at most five attributes.
    #[test]
    fn the_largest_filter_fits_into_a_policy() {
        let filter = Filter {
            fleet: Some("lab".parse().unwrap()),
            kinds: Kind::ALL.to_vec(),
            severities: Severity::ALL.to_vec(),
            host_prefixes: vec!["a/".parse().unwrap(); limits::FILTER_PREFIXES],
        };
        assert_eq!(filter.check(), Ok(()));
        let policy = filter_policy(&filter).unwrap().unwrap();
        let policy: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&policy).unwrap();
        let values = policy
            .values()
            .map(|values| values.as_array().unwrap().len());
        assert!(values.product::<usize>() <= 150 && policy.len() <= 5);
    }
}
