//! Signatures of webhooks, with a clock that only the test moves.

use std::time::Duration;

use hb_domain::{Kind, Protocol, Timestamp, Webhook, WebhookSecret};

use crate::common::World;
use crate::hook::Hook;

#[tokio::test]
async fn a_webhook_is_signed_at_each_try_and_by_both_secrets_while_they_overlap() {
    const DAY: Duration = Duration::from_hours(24);
    let world = World::new();
    let hook = Hook::listen(500).await;
    let [first, second] = [1, 2].map(|n| WebhookSecret::from_random([n; 32]));
    let [old, new] = [&first, &second].map(|secret| Webhook::new(false, Some(secret.clone())));
    world
        .subscribe_webhook("hook", Protocol::Http, &hook.url, old.clone())
        .await;
    let courier = world.courier();
    let signed = |place: usize, at: Timestamp, by: &[&Webhook]| {
        let request = &hook.requests()[place];
        let sign = |webhook: &&Webhook| webhook.headers(request.key(), at, &request.text);
        let mut expected = by.iter().map(sign);
        let mut headers = expected.next().unwrap();
        for more in expected {
            headers[2].1 = format!("{} {}", headers[2].1, more[2].1);
        }
        for (name, value) in headers {
            assert_eq!(request.header(name), value, "{name} of request {place}");
        }
    };
    let begin = world.ports.clock.now();
    world.publish("web", 1, Kind::Missing).await;
    hook.until_requests(1).await;
    signed(0, begin, &[&old]);
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    hook.answer_with(200);
    world.clock.advance(Duration::from_secs(2));
    world.until("hook", |tally| tally.delivered == 1).await;
    signed(1, begin.plus(Duration::from_secs(2)), &[&old]);
    assert_eq!(hook.requests()[0].key(), hook.requests()[1].key());

    let now = world.ports.clock.now();
    let id = "hook".parse().unwrap();
    let rotated = world.queue().rotate_secret(&id, second, now, DAY).await;
    assert!(rotated.unwrap());
    world.publish("web", 2, Kind::Recovered).await;
    world.until("hook", |tally| tally.delivered == 2).await;
    signed(2, now, &[&new, &old]);
    world.clock.advance(DAY);
    world.publish("web", 3, Kind::Missing).await;
    world.until("hook", |tally| tally.delivered == 3).await;
    signed(3, now.plus(DAY), &[&new]);
    courier.stop().await;
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_not_signed() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    world.until("hook", |tally| tally.delivered == 1).await;
    courier.stop().await;
    assert!(!hook.requests()[0].head.to_lowercase().contains("webhook-"));
}
