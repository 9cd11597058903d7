//! The deliveries of the in-memory topic.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use hb_domain::{Endpoint, HostKey, Notice, Protocol, Subscription, SubscriptionId, Timestamp};
use uuid::Uuid;

use super::Memory;
use crate::ports::{
    CONSOLE, Content, Delivery, DeliveryOutcome, DeliveryQueue, LeasedDelivery, PortResult, Tally,
};

/// All deliveries by number.
#[derive(Default)]
pub(super) struct Deliveries(BTreeMap<i64, Row>);

struct Row {
    delivery: Delivery,
    /// The hosts in whose lanes it is.
    hosts: BTreeSet<HostKey>,
    accepted: Timestamp,
    state: State,
    /// Until the end of the lease while `owner` is set.
    due: Timestamp,
    owner: Option<Uuid>,
    failed: u32,
    /// When the last try failed, and why.
    error: Option<(Timestamp, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Delivered,
    Dead,
}

impl Deliveries {
    /// Adds one delivery for the console and for each of the `subscriptions` that want the notice.
    pub(super) fn add<'a>(
        &mut self,
        notice: &Notice,
        subscriptions: impl Iterator<Item = &'a Subscription>,
        now: Timestamp,
    ) {
        let console = Endpoint::parse(Protocol::Console, CONSOLE).ok();
        let console = CONSOLE.parse().ok().zip(console);
        let others = subscriptions
            .filter(|subscription| subscription.filter.lets_through(notice))
            .map(|subscription| (subscription.id.clone(), subscription.endpoint.clone()));
        for (subscription, endpoint) in console.into_iter().chain(others) {
            let number = self.0.last_key_value().map_or(1, |(last, _)| last + 1);
            let hosts = notice
                .host_ids()
                .map(|host| HostKey::new(notice.fleet.clone(), host.clone()));
            let row = Row {
                hosts: hosts.collect(),
                delivery: Delivery {
                    content: Content::Notice(Box::new(notice.clone())),
                    subscription,
                    endpoint,
                },
                accepted: now,
                state: State::Open,
                due: now,
                owner: None,
                failed: 0,
                error: None,
            };
            self.0.insert(number, row);
        }
    }

    /// Drops what the removed subscription `id` has not got yet.
    pub(super) fn remove(&mut self, id: &SubscriptionId) {
        self.0
            .retain(|_, row| row.delivery.subscription != *id || row.state != State::Open);
    }

    /// The numbers that are due at `now`: each the first in all its lanes.
    fn due(&self, now: Timestamp) -> Vec<(&SubscriptionId, i64)> {
        let mut occupied = BTreeSet::new();
        let mut due = Vec::new();
        for (number, row) in self.0.iter().filter(|(_, row)| row.state == State::Open) {
            let subscription = &row.delivery.subscription;
            let lanes = row.hosts.iter().map(|host| (subscription, host));
            // All lanes are entered, also when the first is occupied already.
            let first = lanes.filter(|lane| !occupied.insert(*lane)).count() == 0;
            if first && row.due <= now {
                due.push((subscription, *number));
            }
        }
        due
    }
}

#[async_trait]
impl DeliveryQueue for Memory {
    async fn due(&self, now: Timestamp) -> PortResult<Vec<SubscriptionId>> {
        let tables = self.call("deliveries")?;
        let due = tables.deliveries.due(now).into_iter();
        let subscriptions: BTreeSet<_> =
            due.map(|(subscription, _)| subscription.clone()).collect();
        Ok(subscriptions.into_iter().collect())
    }

    async fn lease(
        &self,
        mut wanted: BTreeMap<SubscriptionId, usize>,
        running: Vec<i64>,
        owner: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> PortResult<Vec<LeasedDelivery>> {
        let mut tables = self.call("deliveries")?;
        let mut numbers = Vec::new();
        for (subscription, number) in tables.deliveries.due(now) {
            let places = wanted.get_mut(subscription).filter(|places| **places > 0);
            if let (Some(places), false) = (places, running.contains(&number)) {
                *places -= 1;
                numbers.push(number);
            }
        }
        let mut leased = Vec::new();
        for number in numbers {
            if let Some(row) = tables.deliveries.0.get_mut(&number) {
                row.owner = Some(owner);
                row.due = until;
                leased.push(LeasedDelivery {
                    number,
                    subscription: row.delivery.subscription.clone(),
                    failed: row.failed,
                    accepted: row.accepted,
                    delivery: Ok(row.delivery.clone()),
                });
            }
        }
        Ok(leased)
    }

    async fn settle(
        &self,
        number: i64,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<()> {
        let mut tables = self.call("deliveries")?;
        let rows = &mut tables.deliveries.0;
        let held = |row: &&mut Row| {
            row.state == State::Open
                && (row.owner == Some(owner) || outcome == DeliveryOutcome::Delivered)
        };
        let Some(row) = rows.get_mut(&number).filter(held) else {
            return Ok(());
        };
        row.owner = None;
        match outcome {
            DeliveryOutcome::Delivered => {
                row.state = State::Delivered;
                row.error = None;
                let subscription = row.delivery.subscription.clone();
                for other in rows.values_mut() {
                    if other.delivery.subscription == subscription && other.owner.is_none() {
                        other.due = other.due.min(now);
                    }
                }
            }
            DeliveryOutcome::Retry { due, error } => {
                row.due = due;
                row.failed += 1;
                row.error = Some((now, error));
            }
            DeliveryOutcome::Dead { error } => {
                row.state = State::Dead;
                row.failed += 1;
                row.error = Some((now, error));
            }
        }
        Ok(())
    }

    async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        let mut tables = self.call("deliveries")?;
        let kept = |row: &Row| row.state == State::Open || row.accepted >= before;
        tables.deliveries.0.retain(|_, row| kept(row));
        Ok(false)
    }

    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>> {
        let tables = self.call("deliveries")?;
        let mut tallies = BTreeMap::<SubscriptionId, Tally>::new();
        let mut last = BTreeMap::new();
        for row in tables.deliveries.0.values() {
            let subscription = &row.delivery.subscription;
            let tally = tallies.entry(subscription.clone()).or_default();
            match row.state {
                State::Open => tally.due += 1,
                State::Delivered => tally.delivered += 1,
                State::Dead => tally.dead += 1,
            }
            if let Some((at, error)) = &row.error
                && last.get(subscription).is_none_or(|last| last <= at)
            {
                last.insert(subscription.clone(), *at);
                tally.last_error = Some(error.clone());
            }
        }
        Ok(tallies)
    }

    async fn added(&self) {
        self.added.notified().await;
    }
}
