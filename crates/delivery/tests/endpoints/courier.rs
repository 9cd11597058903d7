//! The courier over the in-memory queue: order, retries, giving up, crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hb_delivery::{Courier, SendError, Sender};
use hb_domain::{Kind, Protocol, Timestamp};
use hb_service::ports::{Delivery, Tally};
use hb_service::testing::contract::{notice, notice_id};
use hb_service::testing::memory::ManualClock;

use crate::common::World;
use crate::hook::{HANG, Hook};

#[tokio::test]
async fn a_publish_in_the_same_process_wakes_the_courier() {
    let world = World::new();
    let (sender, ids) = (Arc::new(world.senders()), world.ports.ids.clone());
    let courier = Courier::new(world.queue(), sender, world.clock.clone(), ids)
        .polling_every(Duration::from_hours(1));
    let task = tokio::spawn(courier.run(std::future::pending()));
    for epoch in 1..=2 {
        world.publish("web", epoch, Kind::Missing).await;
        let delivered = |tally: &Tally| tally.delivered == epoch;
        world.until("console", delivered).await;
    }
    task.abort();
    assert_eq!(*world.shown.lock().unwrap(), ["web1", "web2"]);
}

#[tokio::test]
async fn a_webhook_request_has_the_json_and_an_idempotency_key() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    world.until("hook", |tally| tally.delivered == 1).await;
    courier.stop().await;
    let request = &hook.requests()[0];
    assert_eq!(request.body, notice("web", 1, Kind::Missing).json());
    let head = request.head.to_lowercase();
    let agent = format!("user-agent: heartbeat/{}\r\n", env!("CARGO_PKG_VERSION"));
    for line in [
        "post /hooks/s3cr3t http/1.1\r\n",
        &format!(
            "idempotency-key: {}\r\n",
            notice_id("web", 1).as_str().to_lowercase()
        ),
        "content-type: application/json\r\n",
        &agent,
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[tokio::test]
async fn a_recovered_endpoint_gets_everything_at_once_in_order_per_host() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    for host in ["a", "b", "c"] {
        world.publish(host, 1, Kind::Missing).await;
        world.publish(host, 2, Kind::Recovered).await;
    }
    let courier = world.courier();
    hook.until_requests(3).await;
    let tally = world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    assert_eq!(tally.due, 6);
    hook.answer_with(200);
    // One pause ends, and with its success all others.
    world.clock.advance(Duration::from_secs(2));
    world.until("hook", |tally| tally.delivered == 6).await;
    courier.stop().await;
    assert!(
        hook.ids(503).iter().all(|id| id.ends_with('1')),
        "{:?}",
        hook.ids(503)
    );
    let delivered = hook.ids(200);
    for host in ["a", "b", "c"] {
        let own: Vec<_> = delivered
            .iter()
            .filter(|id| id.starts_with(host))
            .cloned()
            .collect();
        assert_eq!(own, [format!("{host}1"), format!("{host}2")]);
    }
}

#[tokio::test]
async fn a_success_sends_pending_retries_at_once() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("a", 1, Kind::Missing).await;
    let courier = world.courier();
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    hook.answer_with(200);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        world.tally("hook").await.delivered,
        0,
        "the clock stands, so the pause lasts"
    );
    world.publish("b", 1, Kind::Missing).await;
    world.until("hook", |tally| tally.delivered == 2).await;
    courier.stop().await;
}

#[tokio::test]
async fn hanging_endpoints_do_not_delay_other_subscriptions() {
    let world = World::new();
    let (hanging, sound) = (Hook::listen(HANG).await, Hook::listen(200).await);
    for i in 0..12 {
        let id = format!("hanging-{i}");
        world.subscribe(&id, Protocol::Http, &hanging.url).await;
    }
    let courier = world.courier();
    for host in ["a", "b", "c", "d", "e"] {
        world.publish(host, 1, Kind::Missing).await;
    }
    // The total is used up: eight subscriptions have four sends each, the others one each.
    hanging.until_requests(32).await;
    world.subscribe("sound", Protocol::Http, &sound.url).await;
    for host in ["f", "g", "h"] {
        world.publish(host, 1, Kind::Missing).await;
    }
    world.until("sound", |tally| tally.delivered == 3).await;
    assert!(
        hanging.requests().len() <= 48,
        "at most four of each hang: {}",
        hanging.requests().len()
    );
    courier.kill().await;
}

#[tokio::test]
async fn two_couriers_send_each_delivery_once() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    let couriers = [world.courier(), world.courier()];
    let hosts: Vec<_> = (0..40).map(|i| format!("h{i}x")).collect();
    for host in &hosts {
        world.publish(host, 1, Kind::Missing).await;
    }
    world.until("hook", |tally| tally.delivered == 40).await;
    for courier in couriers {
        courier.stop().await;
    }
    let mut ids = hook.ids(200);
    ids.sort();
    let mut expected: Vec<_> = hosts.iter().map(|host| format!("{host}1")).collect();
    expected.sort();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_killed_couriers_deliveries_are_sent_after_its_lease_expires() {
    let world = World::new();
    let hook = Hook::listen(HANG).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let first = world.courier();
    hook.until_requests(1).await;
    first.kill().await;
    hook.answer_with(200);
    let second = world.courier();
    world.clock.advance(Duration::from_secs(44));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hook.requests().len(), 1, "the lease lasts");
    world.clock.advance(Duration::from_secs(1));
    world.until("hook", |tally| tally.delivered == 1).await;
    second.stop().await;
    assert_eq!(hook.requests().len(), 2);
}

#[tokio::test]
async fn a_delivery_is_dead_after_a_day_and_the_next_is_sent() {
    let world = World::new();
    let hook = Hook::listen(500).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    // With the blank: the port of the URL may have these digits.
    let error = |code: u16| {
        move |tally: &Tally| {
            let error = tally.last_error.as_deref().unwrap();
            error.contains(&format!("{code} "))
        }
    };
    hook.answer_with(501);
    world.clock.advance(Duration::from_hours(12));
    world.until("hook", error(501)).await;
    hook.answer_with(502);
    world.clock.advance(Duration::from_mins(12 * 60 - 1));
    world.publish("web", 2, Kind::Recovered).await;
    let tally = world.until("hook", error(502)).await;
    assert_eq!(tally.dead, 0);
    world.clock.advance(Duration::from_mins(1));
    let tally = world.until("hook", |tally| tally.dead == 1).await;
    assert_eq!((tally.due, error(502)(&tally)), (1, true));
    hook.until_requests(6).await;
    // It failed for ten minutes, so the next one is tried after each of its tries.
    assert_eq!(
        [hook.ids(500), hook.ids(501), hook.ids(502)].concat(),
        ["web1", "web1", "web1", "web2", "web1", "web2"]
    );
    courier.stop().await;
}

#[tokio::test]
async fn a_clock_that_steps_by_days_ends_no_young_delivery() {
    let world = World::new();
    let hook = Hook::listen(501).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    let days = Duration::from_hours(48);
    let right = world.ports.clock.now();
    for (code, now) in [
        (501, right),
        (502, right.plus(days)),
        (503, right),
        (504, right.minus(days)),
    ] {
        hook.answer_with(code);
        world.clock.set(now);
        let failed = |tally: &Tally| {
            let error = tally.last_error.as_deref();
            error.is_some_and(|error| error.contains(&format!("{code} ")))
        };
        let tally = world.until("hook", failed).await;
        assert_eq!((tally.due, tally.dead), (1, 0), "{now}");
    }
    hook.answer_with(200);
    world.clock.advance(Duration::from_mins(5));
    world.until("hook", |tally| tally.delivered == 1).await;
    courier.stop().await;
}

/// A sender whose first try takes until the clock was set forward by a year. All fail.
struct Stepping(Arc<ManualClock>, AtomicU32);

#[async_trait]
impl Sender for Stepping {
    async fn send(&self, _: &Delivery, _: Timestamp) -> Result<(), SendError> {
        let number = self.1.fetch_add(1, Ordering::SeqCst) + 1;
        if number == 1 {
            self.0.advance(Duration::from_hours(365 * 24));
        }
        Err(SendError::new(format!("try {number}")))
    }
}

#[tokio::test]
async fn a_clock_that_is_set_forward_during_a_try_ends_no_young_delivery() {
    let world = World::new();
    world
        .subscribe("hook", Protocol::Http, "http://example.com/")
        .await;
    world.publish("web", 1, Kind::Missing).await;
    let sender = Stepping(world.clock.clone(), AtomicU32::new(0));
    let courier = world.courier_with(Arc::new(sender));
    // One is of the console.
    let tried = |tally: &Tally| tally.last_error.is_some();
    world.until("hook", tried).await;
    let first = ["try 1", "try 2"];
    let again = |tally: &Tally| !first.contains(&tally.last_error.as_deref().unwrap());
    world.clock.advance(Duration::from_mins(5));
    let tally = world.until("hook", again).await;
    assert_eq!((tally.due, tally.dead), (1, 0));
    courier.stop().await;
}

#[tokio::test]
async fn the_last_error_states_the_cause_without_secrets() {
    let world = World::new();
    let (moved, refusing) = (Hook::listen(302).await, Hook::listen(404).await);
    world.subscribe("moved", Protocol::Http, &moved.url).await;
    world
        .subscribe("refusing", Protocol::Http, &refusing.url)
        .await;
    let closed = "http://127.0.0.1:1/s3cr3t";
    world.subscribe("closed", Protocol::Http, closed).await;
    let mail = "on-call@example.com";
    world.subscribe("mail", Protocol::Email, mail).await;
    world
        .subscribe("phone", Protocol::Sms, "+15550100123")
        .await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    for (subscription, cause) in [
        ("moved", "302 Found, redirects are not followed"),
        ("refusing", "404 Not Found: Cannot POST /***/***"),
        ("closed", "http://127.0.0.1:1: error sending request"),
        (
            "mail",
            "no SMTP server is set: start hb serve with --smtp-url",
        ),
        ("phone", "sms needs a deployed stage"),
    ] {
        let tally = world
            .until(subscription, |tally| tally.last_error.is_some())
            .await;
        let error = tally.last_error.unwrap();
        assert!(
            error.contains(cause) && !error.contains("s3cr3t"),
            "{subscription}: {error}"
        );
        assert_eq!(tally.due, 1);
    }
    courier.stop().await;
    assert_eq!(moved.requests().len(), 1);
}

#[tokio::test]
async fn a_removed_subscription_gets_no_further_deliveries() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    world.publish("web", 2, Kind::Recovered).await;
    let courier = world.courier();
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    let subscriptions = &world.ports.subscriptions;
    let removed = subscriptions.remove(&"hook".parse().unwrap()).await;
    assert!(removed.unwrap());
    world.clock.advance(Duration::from_hours(1));
    world.publish("web", 3, Kind::Missing).await;
    world.until("console", |tally| tally.delivered == 3).await;
    courier.stop().await;
    assert_eq!(hook.requests().len(), 1);
    assert_eq!(world.tally("hook").await.due, 0);
}

#[tokio::test]
async fn the_courier_recovers_with_its_queue() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    let courier = world.courier();
    world.publish("web", 1, Kind::Missing).await;
    world.until("hook", |tally| tally.delivered == 1).await;
    world.memory.fail_with(Some("the disk is full"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.memory.fail_with(None);
    world.publish("web", 2, Kind::Recovered).await;
    world.until("hook", |tally| tally.delivered == 2).await;
    courier.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_running_sends() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    hook.until_requests(1).await;
    courier.stop().await;
    assert_eq!(world.tally("hook").await.delivered, 1);
}
