//! Delivers what the topic accepted, until it is delivered or dead.
//!
//! A delivery is taken under a lease in the database, so that several servers on one folder do not send it twice
//! while it lasts. Each subscription has its own places among the running sends: an endpoint that hangs delays
//! nobody else. Nothing is promised after an endpoint took a delivery and the machine died before that was stored:
//! then it is sent again, under the same id.

mod outcome;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hb_domain::Timestamp;
use hb_service::Troubles;
use hb_service::ports::{Clock, Ids, PortError, PortResult};
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use crate::sender::{SendError, Senders};
use crate::store::Store;
use outcome::after;
use queue::{Queue, Taken, Wanted};

/// Longest send. Senders have shorter limits of their own, with better words.
const SEND: Duration = Duration::from_secs(30);

/// How long a delivery is not taken by another: a send, and some time to store what came of it.
const LEASE: Duration = Duration::from_secs(45);

/// How often deliveries are looked for that another process accepted, or whose pause is over.
const POLL: Duration = Duration::from_secs(1);

/// How long running sends may go on when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// Most running sends of one subscription: more would not help an endpoint that is slow.
const PER_SUBSCRIPTION: usize = 4;

/// Most running sends in all. Every subscription has one place beyond it, so that even many hanging endpoints
/// delay no other.
const IN_ALL: usize = 32;

/// How long what is over stays visible.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// How often what is older is looked for.
const CLEAN: Duration = Duration::from_hours(1);

/// The task of `hb serve` that delivers.
pub struct Courier {
    shared: Arc<Shared>,
    poll: Duration,
    running: JoinSet<()>,
    /// Which delivery each running task is about.
    tasks: HashMap<Id, (String, i64)>,
    next_cleaning: Timestamp,
}

/// What the running sends need.
struct Shared {
    queue: Queue,
    senders: Senders,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    troubles: Troubles,
}

impl Courier {
    /// A courier for what is accepted in `store`. Of `ids` it takes the names of its leases and the spread of its
    /// pauses.
    #[must_use]
    pub fn new(store: Store, senders: Senders, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let troubles = Troubles::default();
        Self {
            shared: Arc::new(Shared {
                queue: Queue::new(store),
                senders,
                clock,
                ids,
                troubles,
            }),
            poll: POLL,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            next_cleaning: Timestamp::MIN,
        }
    }

    /// Looks for work of other processes, and for pauses that are over, every `poll` instead of every second.
    #[must_use]
    pub fn polling_every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Works until `shutdown` resolves, and then a few seconds more for the sends that run.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        loop {
            let now = self.shared.clock.now();
            let round = self.round(now).await;
            self.shared.note("taking deliveries", round);
            tokio::select! {
                () = &mut shutdown => break,
                () = self.shared.queue.store().published() => {}
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
                "stopped while notices were being sent: they are sent again, under the same id"
            );
        }
    }

    /// Starts what is due and has a place; tidies up when it is time.
    async fn round(&mut self, now: Timestamp) -> PortResult<()> {
        let due = self.shared.queue.due(now).await?;
        let wanted = self.places(due);
        if !wanted.is_empty() {
            let running = self.tasks.values().map(|(_, number)| *number).collect();
            let owner = self.shared.ids.token();
            let taken = self
                .shared
                .queue
                .take(wanted, running, owner, now, now.plus(LEASE))
                .await?;
            for delivery in taken {
                let place = (delivery.subscription.clone(), delivery.number);
                let task = self
                    .running
                    .spawn(Arc::clone(&self.shared).deliver(delivery, owner));
                self.tasks.insert(task.id(), place);
            }
        }
        if now >= self.next_cleaning {
            let more = self.shared.queue.clean(now.minus(KEEP)).await?;
            self.next_cleaning = now.plus(if more { POLL } else { CLEAN });
        }
        Ok(())
    }

    /// How many deliveries of each subscription may start now.
    fn places(&self, due: Vec<String>) -> Vec<Wanted> {
        let mut in_all = IN_ALL.saturating_sub(self.tasks.len());
        let wanted = due.into_iter().map(|subscription| {
            let busy = self
                .tasks
                .values()
                .filter(|(of, _)| *of == subscription)
                .count();
            let own = usize::from(busy == 0);
            let places = PER_SUBSCRIPTION.saturating_sub(busy).min(in_all).max(own);
            in_all = in_all.saturating_sub(places);
            Wanted {
                subscription,
                places,
            }
        });
        wanted.filter(|wanted| wanted.places > 0).collect()
    }

    /// Frees the place of a task that ended, well or in a panic: then its lease runs out and it is taken again.
    fn freed(&mut self, ended: Result<Id, tokio::task::JoinError>) {
        let id = ended.unwrap_or_else(|error| {
            tracing::error!("sending a notice panicked, it is sent again: {error}");
            error.id()
        });
        self.tasks.remove(&id);
    }
}

impl Shared {
    /// Sends one delivery and stores what came of it, however long the database takes to let that be stored.
    async fn deliver(self: Arc<Self>, taken: Taken, owner: Uuid) {
        let result = self.send(&taken).await;
        if let Err(error) = &result {
            tracing::debug!(
                subscription = taken.subscription,
                "a notice was not delivered: {error}"
            );
        }
        let ended = self.clock.now();
        let outcome = after(
            result,
            taken.tries,
            taken.accepted,
            ended,
            self.ids.random()[0],
        );
        let mut pause = Duration::from_millis(100);
        loop {
            let stored = self
                .queue
                .settle(taken.number, owner, outcome.clone(), ended)
                .await;
            let done = stored.is_ok();
            self.note("storing what became of a delivery", stored);
            if done {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL);
        }
    }

    async fn send(&self, taken: &Taken) -> Result<(), SendError> {
        let delivery = taken.delivery.as_ref().map_err(SendError::new)?;
        let sender = self.senders.of(delivery.endpoint.protocol())?;
        tokio::time::timeout(SEND, sender.send(delivery))
            .await
            .unwrap_or_else(|_| {
                Err(SendError::new(format!(
                    "no answer within {} s",
                    SEND.as_secs()
                )))
            })
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
