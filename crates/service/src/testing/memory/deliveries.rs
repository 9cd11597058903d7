//! The deliveries of the in-memory topic.

use std::collections::{BTreeMap, BTreeSet};

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Digest, Endpoint, Filter, HostId, HostKey, Notice, Protocol, Subscription, SubscriptionId,
    Timestamp, Tries, Webhook, WebhookSecret, limits,
};
use uuid::Uuid;

use super::Memory;
use crate::codec;
use crate::ports::{
    CONSOLE, Content, Delivery, DeliveryOutcome, DeliveryQueue, LeasedDelivery, PortResult, Record,
    Tally, overtaken,
};

/// All deliveries by number.
#[derive(Default)]
pub(super) struct Deliveries {
    rows: BTreeMap<i64, Row>,
    /// How many hosts each subscription took last in a part of a digest.
    took: BTreeMap<SubscriptionId, usize>,
}

struct Row {
    delivery: Delivery,
    notice: Box<Notice>,
    /// The hosts in whose lanes it is.
    hosts: BTreeSet<HostKey>,
    tries: Tries,
    state: State,
    /// Until the end of the lease while `owner` is set.
    due: Timestamp,
    owner: Option<Uuid>,
    failed: u32,
    refused: u32,
    /// When the last try failed that yields.
    yielded: Option<Timestamp>,
    /// The last try that failed halved it: the next one waits for nothing.
    halved: bool,
    /// Why the last try failed, and when.
    error: Option<(Timestamp, String)>,
    /// The hosts before this place of a digest's list have got it.
    sent: usize,
    /// How many places the last try had, until its outcome is known.
    size: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Delivered,
    Dead,
}

impl Row {
    /// Whether it is not due yet, or is being sent. What is due later than after any lease or pause was dated by a wrong
    /// clock, and counts as due.
    fn is_early(&self, now: Timestamp) -> bool {
        self.due > now && !self.due.is_ahead(now.plus(limits::PAUSE_LONGEST))
    }

    /// Whether both are in a lane.
    fn meets(&self, other: &Self) -> bool {
        self.delivery.subscription == other.delivery.subscription
            && !self.hosts.is_disjoint(&other.hosts)
    }

    /// Whether it is in the way of `later`, unless it yields.
    fn precedes(&self, later: &Self) -> bool {
        self.state == State::Open && self.meets(later)
    }

    /// Whether it lets `later` be tried now: once, and on while that is halved.
    fn yields_to(&self, later: &Self, now: Timestamp) -> bool {
        let tried = later.tries.last.filter(|tried| !tried.is_ahead(now));
        self.yielded
            .is_some_and(|yielded| later.halved || tried.is_none_or(|tried| tried < yielded))
    }
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
            .map(|one| (one.id.clone(), one.endpoint.clone(), one.filter.clone()));
        let console = console.map(|(id, endpoint)| (id, endpoint, Filter::default()));
        for (subscription, endpoint, filter) in console.into_iter().chain(others) {
            let number = self.rows.last_key_value().map_or(1, |(last, _)| last + 1);
            let row = Row {
                hosts: keys(notice, &filter),
                notice: Box::new(notice.clone()),
                delivery: Delivery {
                    content: Content::Notice(Box::new(notice.clone())),
                    subscription,
                    endpoint,
                    // Looked up when it is leased.
                    webhook: Webhook::default(),
                },
                tries: Tries {
                    from: now,
                    failing: None,
                    last: None,
                },
                state: State::Open,
                due: now,
                owner: None,
                failed: 0,
                refused: 0,
                yielded: None,
                halved: false,
                error: None,
                sent: 0,
                size: None,
            };
            self.rows.insert(number, row);
        }
    }

    /// Drops what the removed subscription `id` has not got yet.
    pub(super) fn remove(&mut self, id: &SubscriptionId) {
        self.rows
            .retain(|_, row| row.delivery.subscription != *id || row.state != State::Open);
        self.took.remove(id);
    }

    /// What may be sent at `now` while the deliveries with the numbers in `running` are: in all its lanes it is the
    /// first that is due, none is being sent, and all before it yield.
    fn due(&self, running: &[i64], now: Timestamp) -> Vec<(&SubscriptionId, i64)> {
        let open: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| row.state == State::Open)
            .collect();
        let mut free: Vec<(i64, &Row)> = Vec::new();
        for (number, row) in &open {
            let mut others = open.iter().filter(|(other, _)| other != number);
            let under_way = |(other, row): &(&i64, &Row)| {
                running.contains(other) || (row.owner.is_some() && row.is_early(now))
            };
            let in_the_way = others.any(|other| {
                other.1.meets(row)
                    && (under_way(other) || (other.0 < number && !other.1.yields_to(row, now)))
            });
            let behind = free.iter().any(|(_, earlier)| earlier.meets(row));
            if !in_the_way && !behind && !row.is_early(now) {
                free.push((**number, row));
            }
        }
        free.iter()
            .filter(|(number, _)| !running.contains(number))
            .map(|(number, row)| (&row.delivery.subscription, *number))
            .collect()
    }

    /// Makes the delivery with this number, which is delivered, overtake those before it. Returns the notices of those
    /// without hosts, which are dead.
    fn overtake(&mut self, number: i64, hosts: &BTreeSet<HostKey>, now: Timestamp) -> Vec<String> {
        let subscription = self.rows[&number].delivery.subscription.clone();
        let mut dead = Vec::new();
        for row in self.rows.range_mut(..number).map(|(_, row)| row) {
            if row.state != State::Open || row.delivery.subscription != subscription {
                continue;
            }
            row.hosts.retain(|host| !hosts.contains(host));
            if row.hosts.is_empty() {
                row.state = State::Dead;
                row.owner = None;
                let last = row.error.take().map(|(_, error)| error);
                row.error = Some((now, overtaken(last.as_deref())));
                dead.push(row.notice.identity());
            }
        }
        dead
    }
}

/// The hosts that the filter covers.
fn keys(notice: &Notice, filter: &Filter) -> BTreeSet<HostKey> {
    let key = |host: &HostId| HostKey::new(notice.fleet.clone(), host.clone());
    let hosts = notice.host_ids().filter(|host| filter.covers(host));
    hosts.map(key).collect()
}

#[async_trait]
impl DeliveryQueue for Memory {
    async fn due(&self, now: Timestamp) -> PortResult<Vec<SubscriptionId>> {
        let tables = self.call("deliveries")?;
        let due = tables.deliveries.due(&[], now).into_iter();
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
        for (subscription, number) in tables.deliveries.due(&running, now) {
            let places = wanted.get_mut(subscription).filter(|places| **places > 0);
            if let Some(places) = places {
                *places -= 1;
                numbers.push(number);
            }
        }
        let tables = &mut *tables;
        let Deliveries { rows, took } = &mut tables.deliveries;
        let mut leased = Vec::new();
        for number in numbers {
            let Some(row) = rows.get_mut(&number) else {
                continue;
            };
            let subscription = row.delivery.subscription.clone();
            let fleet = row.notice.fleet.clone();
            let waits = |host: &HostId| {
                row.hosts
                    .contains(&HostKey::new(fleet.clone(), host.clone()))
            };
            let took = took.get(&subscription).copied();
            let (places, notice) = row.notice.next_part(row.sent, row.size, took, waits);
            (row.sent, row.size) = (places.start, Some(places.len()));
            row.owner = Some(owner);
            row.due = until;
            row.tries = row.tries.as_of(now);
            row.delivery.content = Content::Notice(Box::new(notice));
            if let Some(known) = tables.subscriptions.get(&subscription) {
                row.delivery.webhook = known.webhook.clone();
            }
            leased.push(LeasedDelivery {
                number,
                subscription,
                failed: row.failed,
                refused: row.refused,
                tries: row.tries,
                places,
                delivery: Ok(row.delivery.clone()),
            });
        }
        Ok(leased)
    }

    async fn settle(
        &self,
        leased: &LeasedDelivery,
        owner: Uuid,
        outcome: DeliveryOutcome,
        now: Timestamp,
    ) -> PortResult<Vec<String>> {
        let mut tables = self.call("deliveries")?;
        let Deliveries { rows, took } = &mut tables.deliveries;
        let held = |row: &&mut Row| {
            row.state == State::Open
                && (row.owner == Some(owner) || outcome == DeliveryOutcome::Delivered)
        };
        let is_first = rows.get(&leased.number).is_some_and(|row| {
            rows.range(..leased.number)
                .all(|(_, earlier)| !earlier.precedes(row))
        });
        let Some(row) = rows.get_mut(&leased.number).filter(held) else {
            return Ok(Vec::new());
        };
        row.owner = None;
        match outcome {
            DeliveryOutcome::Delivered => {
                let Ok(Delivery {
                    content: Content::Notice(part),
                    ..
                }) = &leased.delivery
                else {
                    return Ok(Vec::new());
                };
                let hosts = keys(part, &Filter::default());
                row.hosts.retain(|host| !hosts.contains(host));
                let subscription = row.delivery.subscription.clone();
                row.error = None;
                if row.hosts.is_empty() {
                    row.state = State::Delivered;
                } else if row.sent < leased.places.end {
                    (row.sent, row.size) = (leased.places.end, None);
                    (row.failed, row.refused) = (0, 0);
                    (row.tries.failing, row.yielded) = (None, None);
                    row.due = now;
                    took.insert(subscription.clone(), leased.places.len());
                }
                for other in rows.values_mut() {
                    if other.delivery.subscription == subscription && other.owner.is_none() {
                        other.due = other.due.min(now);
                    }
                }
                return Ok(tables.deliveries.overtake(leased.number, &hosts, now));
            }
            DeliveryOutcome::Split { error } => {
                row.size = Some(leased.places.len().div_ceil(2));
                row.halved = true;
                row.due = now;
                row.tries.last = Some(now);
                row.error = Some((now, error));
            }
            DeliveryOutcome::Retry {
                due,
                refused,
                yields,
                error,
            } => {
                // Behind another, it is that one's next try which decides.
                row.due = if is_first { due } else { now };
                row.failed += 1;
                row.refused += u32::from(refused);
                row.tries.failing = row.tries.failing.or(Some(now));
                row.tries.last = Some(now);
                row.yielded = yields.then_some(now);
                row.halved = false;
                row.error = Some((now, error));
            }
            DeliveryOutcome::Dead { error } => {
                row.state = State::Dead;
                row.failed += 1;
                row.error = Some((now, error));
            }
        }
        Ok(Vec::new())
    }

    async fn clean(&self, before: Timestamp) -> PortResult<bool> {
        let mut tables = self.call("deliveries")?;
        let kept = |row: &Row| row.state == State::Open || row.tries.from >= before;
        tables.deliveries.rows.retain(|_, row| kept(row));
        let digest = |text: &str| codec::decode::<Digest>(text).ok();
        let over = |digest: Digest| !digest.is_open() && digest.at < before;
        let digests = tables.records.entry(Digest::TABLE).or_default();
        digests.retain(|_, (text, ..)| !digest(text).is_some_and(over));
        Ok(false)
    }

    async fn tally(&self) -> PortResult<BTreeMap<SubscriptionId, Tally>> {
        let tables = self.call("deliveries")?;
        let mut tallies = BTreeMap::<SubscriptionId, Tally>::new();
        let mut last = BTreeMap::new();
        for row in tables.deliveries.rows.values() {
            let subscription = &row.delivery.subscription;
            let tally = tallies.entry(subscription.clone()).or_default();
            match row.state {
                State::Open => {
                    tally.due += 1;
                    let failing = row.tries.failing;
                    tally.failing_since = tally.failing_since.into_iter().chain(failing).min();
                    let next = failing.map(|_| row.due);
                    tally.next_try = tally.next_try.into_iter().chain(next).min();
                }
                State::Delivered => tally.delivered += 1,
                State::Dead => {
                    tally.dead += 1;
                    let at = row.error.as_ref().map(|(at, _)| *at);
                    tally.last_dead = tally.last_dead.max(at);
                }
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

    async fn rotate_secret(
        &self,
        id: &SubscriptionId,
        secret: WebhookSecret,
        now: Timestamp,
        overlap: Duration,
    ) -> PortResult<bool> {
        let mut tables = self.call("table subscriptions")?;
        let Some(known) = tables.subscriptions.get_mut(id) else {
            return Ok(false);
        };
        known.webhook = std::mem::take(&mut known.webhook).rotated(secret, now, overlap);
        Ok(true)
    }

    async fn added(&self) {
        self.added.notified().await;
    }
}
