//! Looks at the deliveries of a queue.

use std::time::Duration;

use hb_domain::SubscriptionId;

use crate::ports::{DeliveryQueue, Tally};

/// The tally of `subscription`; empty when it never got a delivery.
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "for tests only"
)]
pub async fn tally(queue: &dyn DeliveryQueue, subscription: &str) -> Tally {
    let mut tallies = queue.tally().await.unwrap();
    let id: SubscriptionId = subscription.parse().unwrap();
    tallies.remove(&id).unwrap_or_default()
}

/// Waits until `done` holds for the tally of `subscription`; panics when it does not within 10 s.
#[expect(clippy::missing_panics_doc, reason = "for tests only")]
pub async fn until(
    queue: &dyn DeliveryQueue,
    subscription: &str,
    done: impl Fn(&Tally) -> bool,
) -> Tally {
    for _ in 0..1_000 {
        let tally = tally(queue, subscription).await;
        if done(&tally) {
            return tally;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{subscription} stays at {:?}",
        tally(queue, subscription).await
    );
}
