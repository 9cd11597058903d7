//! Adds, lists, confirms, tests and removes subscriptions, in all regions of the service, and rotates the secrets of
//! webhooks where the topic is our own.
//!
//! Each region has its own topic, and a region that does not answer must not block the others: results are reported
//! region by region, and every operation can be repeated safely.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hb_domain::{
    ActKind, ConfirmationToken, Endpoint, Filter, FilterError, Fleet, Kind, Notice, Publication,
    Region, Subscription, SubscriptionId, SubscriptionState, Timestamp, Webhook, WebhookSecret,
};
use serde_json::{Value, json};

use super::audit::Auditor;
use crate::ports::every_page;
use crate::ports::{
    Clock, DeliveryQueue, Ids, PortError, PortResult, Subscriptions, Topic, Unreadable,
};

/// The topic of a region, as admins see it.
#[derive(Clone)]
pub struct RegionalTopic {
    pub region: Region,
    pub topic: Arc<dyn Topic>,
    pub subscriptions: Arc<dyn Subscriptions>,
}

/// The result of an operation in one region.
#[derive(Debug)]
pub struct InRegion<T> {
    pub region: Region,
    pub result: PortResult<T>,
}

/// How an endpoint was added in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It had no subscription before.
    New,
    /// It had not confirmed, and was asked again.
    Again,
    /// It has a confirmed subscription already.
    Already,
}

/// A subscription and how it was added in each region.
#[derive(Debug)]
pub struct Subscribed {
    /// The subscription; the existing one if there was one.
    pub subscription: Subscription,
    pub regions: Vec<InRegion<Added>>,
}

/// A subscription as admins see it.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    pub subscription: Subscription,
    /// Its state in each region that knows it.
    pub states: BTreeMap<Region, SubscriptionState>,
}

/// Why nothing was added in any region.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The endpoint has another filter, or may lead elsewhere; the last says which. SNS allows one subscription for each
    /// endpoint.
    #[error("{0} is subscribed already, as {1}, {2}")]
    Taken(Endpoint, SubscriptionId, &'static str),
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// A new secret, and until when those of before sign as well.
#[derive(Debug)]
pub struct RotatedSecret {
    /// As it was before.
    pub subscription: Subscription,
    pub secret: WebhookSecret,
    pub old_until: Timestamp,
}

/// Why a subscription got no new secret.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("on a stage SNS sends the notices, and signs them with its own key")]
    SignedBySns,
    #[error("there is no subscription {0}")]
    NoSuchSubscription(String),
    #[error("{0} has no secret: only webhooks are signed")]
    NotAWebhook(Endpoint),
    #[error(transparent)]
    Port(#[from] PortError),
}

pub struct SubscriptionAdmin {
    /// One for each region.
    pub topics: Vec<RegionalTopic>,
    /// Where the topic is our own, which signs webhooks.
    pub deliveries: Option<Arc<dyn DeliveryQueue>>,
    pub clock: Arc<dyn Clock>,
    /// For ids and tokens.
    pub ids: Arc<dyn Ids>,
    pub auditor: Arc<Auditor>,
}

impl SubscriptionAdmin {
    /// Adds an endpoint in every region under one id. Where it is subscribed with the same filter nothing changes; where
    /// it has not confirmed, it is asked again. A new webhook gets a secret, where the topic is our own.
    pub async fn add(
        &self,
        endpoint: Endpoint,
        filter: Filter,
        allow_private: bool,
    ) -> Result<Subscribed, SubscribeError> {
        filter.check()?;
        let known = self.everywhere(async |topic| list_views(topic).await).await;
        let same_endpoint = |view: &&SubscriptionView| view.subscription.endpoint == endpoint;
        let found = known
            .iter()
            .filter_map(|region| region.result.as_ref().ok());
        let found = found
            .flat_map(|(views, _)| views)
            .find(same_endpoint)
            .map(|view| view.subscription.clone());
        if let Some(found) = &found {
            let id = || found.id.clone();
            if found.filter != filter {
                return Err(SubscribeError::Taken(endpoint, id(), "with another filter"));
            } else if found.webhook.allow_private != allow_private {
                let cause = if allow_private {
                    "without --allow-private"
                } else {
                    "with --allow-private"
                };
                return Err(SubscribeError::Taken(endpoint, id(), cause));
            }
        }
        let old = found.as_ref().map(facts);
        let (id, webhook) = if let Some(found) = found {
            (found.id, found.webhook)
        } else {
            let bytes = self.ids.random();
            let id = SubscriptionId::from_random(std::array::from_fn(|i| bytes[i]));
            let signs = self.deliveries.is_some() && endpoint.protocol().is_webhook();
            let secret = signs.then(|| WebhookSecret::from_random(self.ids.random()));
            (id, Webhook::new(allow_private, secret))
        };
        let subscription = Subscription {
            id,
            endpoint,
            filter,
            webhook,
            created: self.clock.now(),
        };
        let mut regions = Vec::new();
        for (topic, InRegion { region, result }) in self.topics.iter().zip(known) {
            let result = match result {
                Ok((views, _)) => self.add_in(topic, &subscription, &views).await,
                Err(error) => Err(error),
            };
            regions.push(InRegion { region, result });
        }
        if let Some(done) = done(&regions, |_| true) {
            let id = subscription.id.as_str();
            let mut new = facts(&subscription);
            new["regions"] = done;
            let record = self
                .auditor
                .record(ActKind::SubscriptionAdd, id, old, Some(new));
            record.await;
        }
        Ok(Subscribed {
            subscription,
            regions,
        })
    }

    async fn add_in(
        &self,
        topic: &RegionalTopic,
        wanted: &Subscription,
        known: &[SubscriptionView],
    ) -> PortResult<Added> {
        let found = known
            .iter()
            .find(|view| view.subscription.endpoint == wanted.endpoint);
        let state = found.and_then(|view| view.states.get(&topic.region));
        let added = match (found, state) {
            (Some(_), Some(SubscriptionState::Confirmed)) => return Ok(Added::Already),
            (Some(view), _) => {
                topic.subscriptions.remove(&view.subscription.id).await?;
                Added::Again
            }
            (None, _) => Added::New,
        };
        let bytes = self.ids.random();
        let token = ConfirmationToken::from_random(std::array::from_fn(|i| bytes[i]));
        if topic.subscriptions.add(wanted, &token).await? {
            Ok(added)
        } else {
            Err(PortError::conflict(
                format!("subscription {}", wanted.id),
                "another endpoint has this name",
            ))
        }
    }

    /// All subscriptions by id, with their state in each region; what could not be read; and the regions that did not
    /// answer.
    pub async fn list(&self) -> (Vec<SubscriptionView>, Vec<Unreadable>, Vec<InRegion<()>>) {
        let mut views = BTreeMap::new();
        let mut unreadable = Vec::new();
        let mut failed = Vec::new();
        for InRegion { region, result } in
            self.everywhere(async |topic| list_views(topic).await).await
        {
            match result {
                Ok((known, bad)) => {
                    for view in known {
                        let id = view.subscription.id.clone();
                        let kept: &mut SubscriptionView =
                            views.entry(id).or_insert_with(|| view.clone());
                        kept.states.extend(view.states);
                    }
                    unreadable.extend(bad);
                }
                Err(error) => failed.push(InRegion {
                    region,
                    result: Err(error),
                }),
            }
        }
        (views.into_values().collect(), unreadable, failed)
    }

    /// Confirms the subscription that `token` was sent for. By region, whether there was one.
    pub async fn confirm(&self, token: &ConfirmationToken) -> Vec<InRegion<bool>> {
        let regions = self.everywhere(async |topic| topic.subscriptions.confirm(token).await);
        let regions = regions.await;
        let confirmed = |region: &InRegion<_>| region.result.as_ref().ok().cloned().flatten();
        // A token belongs to one region.
        if let Some(id) = regions.iter().find_map(confirmed) {
            let state = |state: SubscriptionState| Some(json!({"state": state}));
            let old = state(SubscriptionState::Pending);
            let new = state(SubscriptionState::Confirmed);
            let kind = ActKind::SubscriptionConfirm;
            self.auditor.record(kind, &id, old, new).await;
        }
        let was_there = |InRegion { region, result }: InRegion<Option<String>>| InRegion {
            region,
            result: result.map(|id| id.is_some()),
        };
        regions.into_iter().map(was_there).collect()
    }

    /// Signs what a webhook gets with a new secret, and for `overlap` with those that it has as well. `which` is its id or
    /// its address.
    pub async fn rotate_secret(
        &self,
        which: &str,
        overlap: Duration,
    ) -> Result<RotatedSecret, RotateError> {
        let deliveries = self.deliveries.as_ref().ok_or(RotateError::SignedBySns)?;
        let (views, _, failed) = self.list().await;
        if let Some(error) = failed.into_iter().find_map(|region| region.result.err()) {
            return Err(error.into());
        }
        let is_meant = |subscription: &Subscription| {
            subscription.id.as_str() == which || subscription.endpoint.address() == which
        };
        let mut subscriptions = views.into_iter().map(|view| view.subscription);
        let no_such = || RotateError::NoSuchSubscription(which.to_owned());
        let subscription = subscriptions.find(is_meant).ok_or_else(no_such)?;
        if !subscription.endpoint.protocol().is_webhook() {
            return Err(RotateError::NotAWebhook(subscription.endpoint));
        }
        let secret = WebhookSecret::from_random(self.ids.random());
        let now = self.clock.now();
        let rotated = deliveries.rotate_secret(&subscription.id, secret.clone(), now, overlap);
        if !rotated.await? {
            return Err(no_such());
        }
        let old_until = now.plus(overlap);
        let (kind, id) = (ActKind::SubscriptionRotateSecret, subscription.id.as_str());
        let new = Some(json!({"oldUntil": old_until}));
        self.auditor.record(kind, id, None, new).await;
        Ok(RotatedSecret {
            subscription,
            secret,
            old_until,
        })
    }

    /// Removes a subscription everywhere. By region, whether there was one.
    pub async fn remove(&self, id: &SubscriptionId) -> Vec<InRegion<bool>> {
        let (known, ..) = self.list().await;
        let old = known.iter().find(|view| view.subscription.id == *id);
        let old = old.map(|view| facts(&view.subscription));
        let regions = self.everywhere(async |topic| topic.subscriptions.remove(id).await);
        let regions = regions.await;
        if let Some(done) = done(&regions, |removed| *removed) {
            let (kind, id) = (ActKind::SubscriptionRemove, id.as_str());
            let new = (!done.is_null()).then(|| json!({"regions": done}));
            self.auditor.record(kind, id, old, new).await;
        }
        regions
    }

    /// Publishes, in each region, a test notice of `kind` in `fleet`. Subscriptions whose filter matches receive it.
    pub async fn test(&self, fleet: &Fleet, kind: Kind) -> Vec<InRegion<Notice>> {
        let now = self.clock.now();
        self.everywhere(async |topic| {
            let notice = Notice::test(fleet.clone(), kind, topic.region.clone(), now);
            match topic.topic.publish(&notice).await {
                Publication::Accepted => Ok(notice),
                Publication::Refused(cause) => Err(PortError::unavailable("the topic", cause)),
                Publication::Unknown(cause) => Err(PortError::unavailable(
                    "the topic",
                    format!("the notice may have been sent: {cause}"),
                )),
            }
        })
        .await
    }

    /// Calls `what` for all regions concurrently.
    async fn everywhere<T>(
        &self,
        what: impl AsyncFn(&RegionalTopic) -> PortResult<T>,
    ) -> Vec<InRegion<T>> {
        let what = &what;
        let each = self.topics.iter().map(async |topic| InRegion {
            region: topic.region.clone(),
            result: what(topic).await,
        });
        join_all(each).await
    }
}

/// What the audit shows of a subscription: of a URL, which may be a secret, only the origin.
fn facts(subscription: &Subscription) -> Value {
    let Subscription {
        endpoint, filter, ..
    } = subscription;
    json!({
        "protocol": endpoint.protocol(),
        "endpoint": endpoint.to_string(),
        "fleet": filter.fleet,
        "kinds": filter.kinds,
        "severities": filter.severities,
        "hostPrefixes": filter.host_prefixes,
    })
}

/// `None` when nothing was done anywhere. With several regions, what became of it in each of them; else `null`.
fn done<T>(regions: &[InRegion<T>], is_done: impl Fn(&T) -> bool) -> Option<Value> {
    let word = |region: &InRegion<T>| match &region.result {
        Ok(value) if is_done(value) => "done",
        Ok(_) => "was not there",
        Err(_) => "failed",
    };
    let words = regions.iter().map(|region| (&region.region, word(region)));
    let words: BTreeMap<_, _> = words.collect();
    let anywhere = words.values().any(|word| *word == "done");
    anywhere.then(|| match words.len() {
        1 => Value::Null,
        _ => json!(words),
    })
}

async fn list_views(topic: &RegionalTopic) -> PortResult<(Vec<SubscriptionView>, Vec<Unreadable>)> {
    let (subscriptions, unreadable) = every_page(|after| topic.subscriptions.list(after)).await?;
    let mut states = topic.subscriptions.states().await?;
    let view = |subscription: Subscription| {
        let state = states
            .remove(&subscription.id)
            .unwrap_or(SubscriptionState::Gone);
        SubscriptionView {
            subscription,
            states: BTreeMap::from([(topic.region.clone(), state)]),
        }
    };
    Ok((subscriptions.into_iter().map(view).collect(), unreadable))
}
