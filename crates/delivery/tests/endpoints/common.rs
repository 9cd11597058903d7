//! A courier over the in-memory queue, with a clock that only the test moves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hb_delivery::{ConsoleSender, Courier, Sender, Senders, WebhookSender};
use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Kind, Notice, Protocol, Publication, Subscription,
    Timestamp, Webhook,
};
use hb_service::ports::{DeliveryQueue, Ports, Tally};
use hb_service::testing::contract::notice;
use hb_service::testing::deliveries;
use hb_service::testing::memory::{CountingIds, ManualClock, Memory, ports};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct World {
    pub(crate) memory: Arc<Memory>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ports: Ports,
    /// The names of the notices that the console showed.
    pub(crate) shown: Arc<Mutex<Vec<String>>>,
}

pub(crate) fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::new(
            Timestamp::from_millis(1_700_000_000_000).unwrap(),
        ));
        let ids = Arc::new(CountingIds::default());
        Self {
            ports: ports(&memory, clock.clone(), ids),
            memory,
            clock,
            shown: Arc::default(),
        }
    }

    pub(crate) fn queue(&self) -> Arc<dyn DeliveryQueue> {
        self.ports.deliveries.clone().unwrap()
    }

    /// Subscribes `address` to all notices.
    pub(crate) async fn subscribe(&self, id: &str, protocol: Protocol, address: &str) {
        self.subscribe_webhook(id, protocol, address, Webhook::default())
            .await;
    }

    pub(crate) async fn subscribe_webhook(
        &self,
        id: &str,
        protocol: Protocol,
        address: &str,
        webhook: Webhook,
    ) {
        let subscription = Subscription {
            id: id.parse().unwrap(),
            endpoint: Endpoint::parse(protocol, address).unwrap(),
            filter: Filter::default(),
            webhook,
            created: Timestamp::MIN,
        };
        let added = self.ports.subscriptions.add(&subscription, &token()).await;
        assert!(added.unwrap());
    }

    pub(crate) async fn publish(&self, host: &str, epoch: u64, kind: Kind) {
        self.publish_notice(&notice(host, epoch, kind)).await;
    }

    pub(crate) async fn publish_notice(&self, notice: &Notice) {
        let publication = self.ports.topic.publish(notice).await;
        assert_eq!(publication, Publication::Accepted);
    }

    pub(crate) fn senders(&self) -> Senders {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = self.shown.clone();
        let show = move |notice: &Notice| {
            shown.lock().unwrap().push(name(&notice.json()));
            Ok(())
        };
        Senders {
            console: ConsoleSender::new(show),
            webhook: WebhookSender::new().unwrap(),
            smtp: None,
        }
    }

    pub(crate) fn courier(&self) -> Running {
        self.courier_with(Arc::new(self.senders()))
    }

    pub(crate) fn courier_with(&self, sender: Arc<dyn Sender>) -> Running {
        let ids = self.ports.ids.clone();
        let courier = Courier::new(self.queue(), sender, self.clock.clone(), ids)
            .polling_every(Duration::from_millis(10));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(courier.run(async { drop(stopped.await) }));
        Running { stop, task }
    }

    pub(crate) async fn tally(&self, subscription: &str) -> Tally {
        deliveries::tally(&*self.queue(), subscription).await
    }

    /// Waits until `done` holds for the tally of `subscription`.
    pub(crate) async fn until(&self, subscription: &str, done: impl Fn(&Tally) -> bool) -> Tally {
        deliveries::until(&*self.queue(), subscription, done).await
    }
}

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).ok();
        self.task.await.unwrap();
    }

    /// Stops at once, as a power cut does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }
}

/// Host and epoch of a notice as JSON: `web1`.
pub(crate) fn name(notice: &serde_json::Value) -> String {
    let host = &notice["hosts"][0];
    format!("{}{}", host["hostId"].as_str().unwrap(), host["epoch"])
}
