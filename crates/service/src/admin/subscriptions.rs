//! Adds, lists, confirms, tries and removes subscriptions, in all regions of the service.
//!
//! Each region has a topic of its own, and one that does not answer must not keep an admin from the others: what was
//! done is told region by region, and everything can be done again without harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Fleet, Kind, Notice, Publication, Region, Subscription,
    SubscriptionId, SubscriptionState,
};

use crate::ports::every_page;
use crate::ports::{Clock, Ids, PortError, PortResult, Subscriptions, Topic, Unreadable};

/// The topic of a region, as admins see it.
#[derive(Clone)]
pub struct RegionalTopic {
    /// The region.
    pub region: Region,
    /// Where its notices are published.
    pub topic: Arc<dyn Topic>,
    /// Who listens there.
    pub subscriptions: Arc<dyn Subscriptions>,
}

/// What something came to in a region.
#[derive(Debug)]
pub struct InRegion<T> {
    /// The region.
    pub region: Region,
    /// What it came to.
    pub result: PortResult<T>,
}

/// How an endpoint was added in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It did not listen before.
    New,
    /// It had not confirmed, and is asked again.
    Again,
    /// It listens already.
    Already,
}

/// A subscription that was added, and where.
#[derive(Debug)]
pub struct Subscribed {
    /// The subscription; of one that was there already, that one.
    pub subscription: Subscription,
    /// What was done in each region.
    pub regions: Vec<InRegion<Added>>,
}

/// A subscription as admins see it.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// The subscription.
    pub subscription: Subscription,
    /// How it stands in each region that knows it.
    pub states: BTreeMap<Region, SubscriptionState>,
}

/// Why nothing was added anywhere.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The endpoint listens with another filter; SNS keeps one subscription an endpoint.
    #[error("{0} listens already, as {1}, with another filter")]
    Taken(Endpoint, SubscriptionId),
}

/// Manages who is told.
pub struct SubscriptionAdmin {
    /// The topics of all regions.
    pub topics: Vec<RegionalTopic>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids and tokens.
    pub ids: Arc<dyn Ids>,
}

impl SubscriptionAdmin {
    /// Adds an endpoint in every region under one name; where it listens already, with the same filter, nothing is
    /// done, and where it has not confirmed, it is asked again.
    pub async fn add(
        &self,
        endpoint: Endpoint,
        filter: Filter,
    ) -> Result<Subscribed, SubscribeError> {
        let known = self.everywhere(async |topic| everything(topic).await).await;
        let listens = |view: &&SubscriptionView| view.subscription.endpoint == endpoint;
        let found = known
            .iter()
            .filter_map(|region| region.result.as_ref().ok());
        let found = found
            .flat_map(|(views, _)| views)
            .find(listens)
            .map(|view| view.subscription.clone());
        if let Some(found) = found.as_ref().filter(|found| found.filter != filter) {
            return Err(SubscribeError::Taken(endpoint, found.id.clone()));
        }
        let bytes = self.ids.random();
        let drawn = || SubscriptionId::from_random(std::array::from_fn(|i| bytes[i]));
        let id = found.map_or_else(drawn, |found| found.id);
        let subscription = Subscription {
            id,
            endpoint,
            filter,
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

    /// All subscriptions by name, with how they stand in each region; what could not be read; and the regions that
    /// did not answer.
    pub async fn list(&self) -> (Vec<SubscriptionView>, Vec<Unreadable>, Vec<InRegion<()>>) {
        let (mut views, mut unreadable, mut failed) = (BTreeMap::new(), Vec::new(), Vec::new());
        for InRegion { region, result } in
            self.everywhere(async |topic| everything(topic).await).await
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

    /// Confirms what `token` was sent for; whether it was sent there, by region.
    pub async fn confirm(&self, token: &ConfirmationToken) -> Vec<InRegion<bool>> {
        self.everywhere(async |topic| topic.subscriptions.confirm(token).await)
            .await
    }

    /// Removes a subscription everywhere; whether it was there, by region.
    pub async fn remove(&self, id: &SubscriptionId) -> Vec<InRegion<bool>> {
        self.everywhere(async |topic| topic.subscriptions.remove(id).await)
            .await
    }

    /// Publishes, in each region, a test notice of `kind` in `fleet`: all whose filter lets it through get it.
    pub async fn test(&self, fleet: &Fleet, kind: Kind) -> Vec<InRegion<Notice>> {
        let now = self.clock.now();
        self.everywhere(async |topic| {
            let notice = Notice::test(fleet.clone(), kind, topic.region.clone(), now);
            match topic.topic.publish(&notice).await {
                Publication::Accepted => Ok(notice),
                Publication::Refused(cause) => Err(PortError::unavailable("the topic", cause)),
                Publication::Unknown(cause) => Err(PortError::unavailable(
                    "the topic",
                    format!("it may have been sent: {cause}"),
                )),
            }
        })
        .await
    }

    /// Does something in all regions at the same time.
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

async fn everything(topic: &RegionalTopic) -> PortResult<(Vec<SubscriptionView>, Vec<Unreadable>)> {
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
