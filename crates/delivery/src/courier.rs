//! Sends what is in the queue until it is delivered or given up.
//!
//! A delivery is sent under a lease, so that several servers on one queue do not send it twice while the lease holds.
//! Each subscription has its own share of the running sends: an endpoint that hangs delays no other. Delivery is at
//! least once: when the process dies after an endpoint accepted a delivery and before that was stored, it is sent
//! again under the same id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hb_domain::{SubscriptionId, Timestamp};
use hb_service::Troubles;
use hb_service::ports::{
    Clock, Content, DeliveryOutcome, DeliveryQueue, Ids, LeasedDelivery, PortError, PortResult,
};
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use crate::failing::Failing;
use crate::outcome::after;
use crate::sender::{SendError, Sender};

/// Longest send. Senders have shorter timeouts of their own, with better messages.
const SEND: Duration = Duration::from_secs(30);

/// How long a delivery is leased: a send, and some time to store its outcome.
const LEASE: Duration = Duration::from_secs(45);

/// How often the queue is polled for deliveries of other processes and for retries.
const POLL: Duration = Duration::from_secs(1);

/// How long running sends may continue when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Most running sends of one subscription: more would not help a slow endpoint.
const PER_SUBSCRIPTION: usize = 4;

/// Most running sends in total. Each subscription may have one even beyond it, so that many hanging endpoints delay
/// no other.
const TOTAL: usize = 32;

/// How long settled deliveries are kept.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// How often older ones are deleted.
const CLEAN: Duration = Duration::from_hours(1);

/// The task of `hb serve` that delivers.
pub struct Courier {
    shared: Arc<Shared>,
    poll: Duration,
    running: JoinSet<()>,
    /// The delivery of each running task.
    tasks: HashMap<Id, (SubscriptionId, i64)>,
    next_cleaning: Timestamp,
}

/// What the running sends need.
struct Shared {
    queue: Arc<dyn DeliveryQueue>,
    sender: Arc<dyn Sender>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    troubles: Troubles,
    failing: Failing,
}

impl Courier {
    /// A courier that sends what is in `queue`. Of `ids` it takes the owners of its leases and the spread of its
    /// retries.
    #[must_use]
    pub fn new(
        queue: Arc<dyn DeliveryQueue>,
        sender: Arc<dyn Sender>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue,
                sender,
                clock,
                ids,
                troubles: Troubles::default(),
                failing: Failing::default(),
            }),
            poll: POLL,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            next_cleaning: Timestamp::MIN,
        }
    }

    /// Polls the queue every `poll` instead of every second.
    #[must_use]
    pub fn polling_every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Works until `shutdown` resolves, and then for up to 5 s until the running sends are done.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        loop {
            let now = self.shared.clock.now();
            let round = self.round(now).await;
            self.shared.note("leasing deliveries", round);
            tokio::select! {
                // In a fixed order, so that a simulated run can be repeated.
                biased;
                () = &mut shutdown => break,
                () = self.shared.queue.added() => {}
                Some(ended) = self.running.join_next_with_id() => self.freed(ended.map(|(id, ())| id)),
                () = tokio::time::sleep(self.poll) => {}
            }
            while let Some(ended) = self.running.try_join_next_with_id() {
                self.freed(ended.map(|(id, ())| id));
            }
        }
        let finished = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finished).await.is_err() {
            tracing::warn!(
                "stopped while notices were being sent: the next start sends them again under the same id"
            );
        }
    }

    /// Starts due sends as far as the limits allow, and deletes old deliveries when it is time.
    async fn round(&mut self, now: Timestamp) -> PortResult<()> {
        let due = self.shared.queue.due(now).await?;
        let wanted = self.wanted(due);
        if !wanted.is_empty() {
            let running = self.tasks.values().map(|(_, number)| *number).collect();
            let owner = self.shared.ids.token();
            let queue = &self.shared.queue;
            let until = now.plus(LEASE);
            let leased = queue.lease(wanted, running, owner, now, until);
            for leased in leased.await? {
                let delivery = (leased.subscription.clone(), leased.number);
                let send = Arc::clone(&self.shared).deliver(leased, owner, until);
                self.tasks.insert(self.running.spawn(send).id(), delivery);
            }
        }
        // The clock may have been set back since.
        if now >= self.next_cleaning || self.next_cleaning.is_ahead(now.plus(CLEAN)) {
            let more = self.shared.queue.clean(now.minus(KEEP)).await?;
            self.next_cleaning = now.plus(if more { POLL } else { CLEAN });
        }
        Ok(())
    }

    /// How many sends of each subscription may start now.
    fn wanted(&self, due: Vec<SubscriptionId>) -> BTreeMap<SubscriptionId, usize> {
        let mut total = TOTAL.saturating_sub(self.tasks.len());
        let mut wanted = BTreeMap::new();
        for subscription in due {
            let busy = self.tasks.values().filter(|(of, _)| *of == subscription);
            let busy = busy.count();
            let own = usize::from(busy == 0);
            let places = PER_SUBSCRIPTION.saturating_sub(busy).min(total).max(own);
            total = total.saturating_sub(places);
            if places > 0 {
                wanted.insert(subscription, places);
            }
        }
        wanted
    }

    /// Forgets a task that ended. After a panic its lease expires, and the delivery is sent again.
    fn freed(&mut self, ended: Result<Id, tokio::task::JoinError>) {
        let id = ended.unwrap_or_else(|error| {
            tracing::error!("a send panicked and will be repeated: {error}");
            error.id()
        });
        self.tasks.remove(&id);
    }
}

/// Logs what people did not get, or get in another form.
fn report(leased: &LeasedDelivery, outcome: &DeliveryOutcome, overtaken: &[String]) {
    let to = &leased.subscription;
    let notice = match leased.delivery.as_ref().map(|delivery| &delivery.content) {
        Ok(Content::Notice(notice)) => format!("notice {} of {}", notice.id, notice.about_whom()),
        Ok(Content::Confirmation(_)) => "the request to confirm".to_owned(),
        Err(_) => format!("delivery {}", leased.number),
    };
    match outcome {
        DeliveryOutcome::Dead { error } => {
            let tries = leased.failed.saturating_add(1);
            tracing::error!(
                "{notice} was not delivered to {to} and is given up after {tries} tries: {error}; fix the endpoint, \
                 and look at `hb doctor`"
            );
        }
        DeliveryOutcome::Split { error } => {
            tracing::warn!("{notice} is too large for {to} and will be sent in parts: {error}");
        }
        DeliveryOutcome::Delivered | DeliveryOutcome::Retry { .. } => {}
    }
    for identity in overtaken {
        tracing::error!(
            "notice {identity} was not delivered to {to} and is given up: a later notice, {notice}, was delivered \
             first; look at `hb doctor`"
        );
    }
}

impl Shared {
    /// Sends one delivery, leased until `until`, and stores the outcome, however long the queue is unavailable.
    async fn deliver(self: Arc<Self>, leased: LeasedDelivery, owner: Uuid, until: Timestamp) {
        let began = self.clock.now();
        // The clock was set forward, or the process stood still. Another server may have the delivery by now, and its age
        // counts as it does at the next lease.
        if began >= until {
            return;
        }
        let result = self.send(&leased, began).await;
        // No try takes longer. A clock that was set forward meanwhile counts as time without a try, of which the age of
        // the delivery has a limited share, only if the last try ended before.
        let ended = self.clock.now().min(began.plus(SEND));
        let spread = self.ids.random()[0];
        let outcome = after(result, &leased, began, ended, spread);
        self.log(&leased.subscription, &outcome, ended);
        let mut pause = Duration::from_millis(100);
        let overtaken = loop {
            let settled = self.queue.settle(&leased, owner, outcome.clone(), ended);
            let mut overtaken = None;
            let stored = settled.await.map(|identities| overtaken = Some(identities));
            self.note("storing the outcome of a delivery", stored);
            if let Some(overtaken) = overtaken {
                break overtaken;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL);
        };
        report(&leased, &outcome, &overtaken);
    }

    /// Logs when a subscription begins to fail, now and then while it does, and when it works again.
    fn log(&self, id: &SubscriptionId, outcome: &DeliveryOutcome, now: Timestamp) {
        match outcome {
            DeliveryOutcome::Delivered => {
                if let Some(line) = self.failing.worked(id, now) {
                    tracing::info!("{line}");
                }
            }
            DeliveryOutcome::Retry { error, .. } | DeliveryOutcome::Dead { error } => {
                tracing::debug!(subscription = %id, "a notice was not delivered: {error}");
                if let Some(line) = self.failing.failed(id, error, now) {
                    tracing::warn!("{line}; `hb doctor` shows since when, and what waits");
                }
            }
            // Reported with its notice.
            DeliveryOutcome::Split { .. } => {}
        }
    }

    async fn send(&self, leased: &LeasedDelivery, now: Timestamp) -> Result<(), SendError> {
        let delivery = leased.delivery.as_ref().map_err(SendError::new)?;
        let timeout = || SendError::new(format!("no answer within {} s", SEND.as_secs()));
        tokio::time::timeout(SEND, self.sender.send(delivery, now))
            .await
            .unwrap_or_else(|_| Err(timeout()))
    }

    fn note(&self, activity: &'static str, result: Result<(), PortError>) {
        let now = self.clock.now();
        match result {
            Ok(()) => self.troubles.worked(activity, now),
            Err(error) => {
                self.troubles.failed(activity, &error, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use hb_domain::Kind;
    use hb_service::ports::{Delivery, Topic};
    use hb_service::testing::contract::notice;
    use hb_service::testing::memory::{CountingIds, ManualClock, Memory, ports};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU32);

    #[async_trait]
    impl Sender for Counting {
        async fn send(&self, _: &Delivery, _: Timestamp) -> Result<(), SendError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_under_a_lease_that_is_over() {
        for (later, sent) in [(44, 1), (45, 0)] {
            let (memory, ids) = (
                Arc::new(Memory::default()),
                Arc::new(CountingIds::default()),
            );
            let now = Timestamp::from_millis(1_000_000).unwrap();
            let clock = Arc::new(ManualClock::new(now));
            let _ = ports(&memory, clock.clone(), ids.clone());
            memory.publish(&notice("web", 1, Kind::Missing)).await;
            let (owner, until) = (ids.token(), now.plus(LEASE));
            let due = memory.due(now).await.unwrap();
            let wanted = due.into_iter().map(|id| (id, 1)).collect();
            let leased = memory.lease(wanted, Vec::new(), owner, now, until).await;
            let sender = Arc::new(Counting::default());
            clock.advance(Duration::from_secs(later));
            let courier = Courier::new(memory, sender.clone(), clock, ids);
            let leased = leased.unwrap().remove(0);
            courier.shared.deliver(leased, owner, until).await;
            assert_eq!(sender.0.load(Ordering::SeqCst), sent, "{later} s later");
        }
    }
}
