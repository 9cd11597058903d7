//! What the cases about deliveries share: notices, and the queue as one process uses it.

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Kind, Notice, NoticeId, Protocol, Publication,
    Subscription, SubscriptionId, Timestamp, Webhook,
};
use uuid::Uuid;

use super::{World, at};
use crate::ports::{Content, DeliveryOutcome, DeliveryQueue, LeasedDelivery, Tally};
use crate::testing::deliveries::tally;

pub(super) const ME: Uuid = Uuid::from_u128(1);
pub(super) const OTHER: Uuid = Uuid::from_u128(2);
pub(super) const LEASE: Duration = Duration::from_secs(45);

/// The id of the notice of a host or digest of this name, different for each name and epoch.
#[must_use]
pub fn notice_id(name: &str, epoch: u64) -> NoticeId {
    let mut bytes = [0; 32];
    let name = format!("{epoch}{name}");
    name.bytes()
        .zip(&mut bytes)
        .for_each(|(byte, place)| *place = byte);
    NoticeId::of_bytes(bytes)
}

/// The notice of transition `epoch` of `host`.
#[must_use]
pub fn notice(host: &str, epoch: u64, kind: Kind) -> Notice {
    serde_json::from_value(serde_json::json!({
        "id": notice_id(host, epoch), "attempt": 1, "kind": kind, "fleet": "main",
        "host": {"hostId": host, "since": at(0), "lastBeat": at(0), "interval": 600_000, "epoch": epoch,
                 "message": null, "before": null},
        "at": at(0), "region": "local",
    }))
    .unwrap()
}

/// The notice of a digest about these transitions of hosts.
#[must_use]
pub fn digest(name: &str, kind: Kind, transitions: &[(&str, u64)]) -> Notice {
    let members = transitions.iter().map(|(host, epoch)| (host, epoch, at(0)));
    let members: Vec<_> = members.collect();
    serde_json::from_value(serde_json::json!({
        "id": notice_id(name, 0), "attempt": 1, "kind": kind, "fleet": "main", "members": members,
        "at": at(0), "region": "local",
    }))
    .unwrap()
}

/// The hosts of a notice, and its kind.
pub(super) fn name(leased: &LeasedDelivery) -> String {
    let Content::Notice(notice) = &leased.delivery.as_ref().unwrap().content else {
        panic!("a notice was published")
    };
    let hosts: Vec<_> = notice.host_ids().map(ToString::to_string).collect();
    format!("{} {}", hosts.join("+"), notice.kind)
}

impl World {
    pub(super) fn queue(&self) -> &dyn DeliveryQueue {
        self.ports.deliveries.as_deref().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    pub(super) async fn pass(&self, duration: Duration) {
        self.ports.clock.sleep(duration).await;
    }

    pub(super) async fn subscribe(&self, id: &str, filter: Filter) {
        self.subscribe_webhook(id, filter, Webhook::default()).await;
    }

    pub(super) async fn subscribe_webhook(&self, id: &str, filter: Filter, webhook: Webhook) {
        let subscription = Subscription {
            id: id.parse().unwrap(),
            endpoint: Endpoint::parse(Protocol::Https, &format!("https://example.com/{id}"))
                .unwrap(),
            filter,
            webhook,
            created: self.now(),
        };
        let token = ConfirmationToken::from_random([7; 20]);
        let added = self.ports.subscriptions.add(&subscription, &token).await;
        assert!(added.unwrap());
    }

    pub(super) async fn publish(&self, notices: &[Notice]) {
        for notice in notices {
            let publication = self.ports.topic.publish(notice).await;
            assert_eq!(publication, Publication::Accepted);
        }
    }

    /// What `owner` gets of the deliveries to `subscription`.
    pub(super) async fn lease(&self, owner: Uuid, subscription: &str) -> Vec<LeasedDelivery> {
        let wanted = BTreeMap::from([(subscription.parse().unwrap(), 10)]);
        let now = self.now();
        let until = now.plus(LEASE);
        let leased = self.queue().lease(wanted, Vec::new(), owner, now, until);
        leased.await.unwrap()
    }

    /// The names of what `owner` gets.
    pub(super) async fn lease_names(&self, owner: Uuid, subscription: &str) -> Vec<String> {
        let leased = self.lease(owner, subscription).await;
        leased.iter().map(name).collect()
    }

    /// Returns what was overtaken.
    pub(super) async fn settle(
        &self,
        leased: &LeasedDelivery,
        owner: Uuid,
        outcome: DeliveryOutcome,
    ) -> Vec<String> {
        let settled = self.queue().settle(leased, owner, outcome, self.now());
        settled.await.unwrap()
    }

    /// The outcome of a failure that is retried after `pause`.
    pub(super) fn retry(&self, pause: Duration) -> DeliveryOutcome {
        DeliveryOutcome::Retry {
            due: self.now().plus(pause),
            refused: false,
            yields: false,
            error: "refused".to_owned(),
        }
    }

    pub(super) async fn due(&self) -> Vec<SubscriptionId> {
        let mut due = self.queue().due(self.now()).await.unwrap();
        due.sort();
        due
    }

    pub(super) async fn tally(&self, subscription: &str) -> Tally {
        tally(self.queue(), subscription).await
    }
}

pub(super) fn dead() -> DeliveryOutcome {
    DeliveryOutcome::Dead {
        error: "gone".to_owned(),
    }
}
