//! What a subscription of our own topic has beside its deliveries: the secrets of a webhook, and its tally.

use std::time::Duration;

use hb_domain::{Filter, Kind, Webhook, WebhookSecret};

use super::World;
use super::queue::{ME, dead, notice};
use crate::ports::{CONSOLE, DeliveryOutcome};

/// What is stored of a webhook comes with each delivery, with the secrets of that moment.
pub async fn a_webhook_keeps_what_it_has_and_its_secrets_rotate(world: World) {
    let secrets = [1, 2].map(|n| WebhookSecret::from_random([n; 32]));
    let [first, second] = secrets;
    let webhook = Webhook::new(true, Some(first));
    world
        .subscribe_webhook("hook", Filter::default(), webhook.clone())
        .await;
    let listed = world.ports.subscriptions.list(None).await.unwrap();
    assert_eq!(listed.items[0].webhook, webhook);
    world.publish(&[notice("a", 1, Kind::Missing)]).await;
    let leased = world.lease(ME, "hook").await.remove(0);
    assert_eq!(leased.delivery.as_ref().unwrap().webhook, webhook);
    let retry = world.retry(Duration::ZERO);
    world.settle(&leased, ME, retry).await;

    let (now, overlap) = (world.now(), Duration::from_hours(1));
    let rotate = async |id: &str| {
        let id = id.parse().unwrap();
        let rotated = world
            .queue()
            .rotate_secret(&id, second.clone(), now, overlap);
        rotated.await.unwrap()
    };
    assert!(rotate("hook").await);
    assert!(!rotate("none").await);
    let leased = world.lease(ME, "hook").await.remove(0);
    let expected = webhook.rotated(second.clone(), now, overlap);
    assert_eq!(leased.delivery.as_ref().unwrap().webhook, expected);
}

pub async fn a_tally_says_since_when_deliveries_fail_and_when_the_last_was_given_up(world: World) {
    let published = [notice("a", 1, Kind::Missing), notice("b", 1, Kind::Missing)];
    world.publish(&published).await;
    let [begin, pause] = [world.now(), world.now().plus(Duration::from_secs(5))];
    let since = async || {
        let tally = world.tally(CONSOLE).await;
        (tally.failing_since, tally.next_try, tally.last_dead)
    };
    assert_eq!(since().await, (None, None, None));
    let leased = world.lease(ME, CONSOLE).await;
    world
        .settle(&leased[0], ME, world.retry(Duration::from_secs(9)))
        .await;
    world
        .settle(&leased[1], ME, world.retry(Duration::from_secs(5)))
        .await;
    assert_eq!(since().await, (Some(begin), Some(pause), None));
    world.pass(Duration::from_secs(5)).await;
    let second = world.lease(ME, CONSOLE).await.remove(0);
    world.settle(&second, ME, dead()).await;
    let first_due = begin.plus(Duration::from_secs(9));
    assert_eq!(since().await, (Some(begin), Some(first_due), Some(pause)));
    world.pass(Duration::from_secs(4)).await;
    let first = world.lease(ME, CONSOLE).await.remove(0);
    world.settle(&first, ME, DeliveryOutcome::Delivered).await;
    assert_eq!(since().await, (None, None, Some(pause)));
}
