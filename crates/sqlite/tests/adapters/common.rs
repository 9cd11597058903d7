//! A folder with a database, a clock that only the test moves, and a courier whose sender only records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hb_delivery::{Courier, SendError, Sender};
use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Notice, Protocol, Publication, Subscription, Timestamp,
    Webhook,
};
use hb_service::ports::{Content, Delivery, Ports, Tally};
use hb_service::testing::deliveries;
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_sqlite::Store;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ports: Ports,
}

pub(crate) const START: i64 = 1_700_000_000_000;

pub(crate) fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path()).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START).unwrap()));
        let ids = Arc::new(CountingIds::default());
        Self {
            ports: hb_sqlite::ports(&store, clock.clone(), ids),
            dir,
            store,
            clock,
        }
    }

    pub(crate) async fn subscribe(
        &self,
        id: &str,
        protocol: Protocol,
        address: &str,
        filter: Filter,
    ) {
        let subscription = Subscription {
            id: id.parse().unwrap(),
            endpoint: Endpoint::parse(protocol, address).unwrap(),
            filter,
            webhook: Webhook::default(),
            created: Timestamp::MIN,
        };
        let subscriptions = &self.ports.subscriptions;
        assert!(subscriptions.add(&subscription, &token()).await.unwrap());
    }

    pub(crate) async fn publish(&self, notice: &Notice) {
        let publication = self.ports.topic.publish(notice).await;
        assert_eq!(publication, Publication::Accepted);
    }

    /// Starts a courier with connections of its own, as another process has.
    pub(crate) fn courier(&self, sender: &Arc<Recorder>) -> JoinHandle<()> {
        let store = Store::create(self.dir.path()).unwrap();
        let ids = Arc::new(CountingIds::default());
        let queue = Arc::new(store);
        let courier = Courier::new(queue, sender.clone(), self.clock.clone(), ids)
            .polling_every(Duration::from_millis(10));
        tokio::spawn(courier.run(std::future::pending()))
    }

    pub(crate) async fn tally(&self, subscription: &str) -> Tally {
        deliveries::tally(&self.store, subscription).await
    }

    /// Waits until `done` holds for the tally of `subscription`.
    pub(crate) async fn until(&self, subscription: &str, done: impl Fn(&Tally) -> bool) -> Tally {
        deliveries::until(&self.store, subscription, done).await
    }

    /// The number that `sql` gives.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let connection = Connection::open(self.store.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn sql(&self, sql: &str) {
        let connection = Connection::open(self.store.path()).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

/// A sender that records what it sends, as `subscription: hosts kind`.
#[derive(Default)]
pub(crate) struct Recorder {
    refuses: AtomicBool,
    sent: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }
}

#[async_trait]
impl Sender for Recorder {
    async fn send(&self, delivery: &Delivery, _: Timestamp) -> Result<(), SendError> {
        let text = match &delivery.content {
            Content::Notice(notice) => {
                let hosts: Vec<_> = notice.host_ids().map(ToString::to_string).collect();
                format!("{} {}", hosts.join("+"), notice.kind)
            }
            Content::Confirmation(token) => format!("confirm {}", token.reveal()),
        };
        let text = format!("{}: {text}", delivery.subscription);
        if self.refuses.load(Ordering::SeqCst) {
            self.refused.lock().unwrap().push(text);
            return Err(SendError::new("refused"));
        }
        self.sent.lock().unwrap().push(text);
        Ok(())
    }
}
