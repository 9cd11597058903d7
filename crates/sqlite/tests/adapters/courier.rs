//! The courier against endpoints on this machine, with a clock that only the test moves.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{HANG, Hook, World, notice, notice_id};
use hb_domain::{Filter, Kind, Protocol, Publication};
use hb_service::ports::{Subscriptions, Topic};
use hb_service::testing::memory::CountingIds;
use hb_sqlite::Courier;

async fn publish(world: &World, host: &str, epoch: u64, kind: Kind) {
    assert_eq!(
        world.topic.publish(&notice(host, epoch, kind)).await,
        Publication::Accepted
    );
}

#[tokio::test]
async fn every_listener_gets_a_notice_once_if_its_filter_wants_it() {
    let world = World::new();
    let (all, recovered) = (Hook::listen(200).await, Hook::listen(204).await);
    world
        .subscribe("all", Protocol::Http, &all.url, Filter::default())
        .await;
    let filter = Filter {
        kinds: vec![Kind::Recovered],
        ..Filter::default()
    };
    world
        .subscribe("recovered", Protocol::Http, &recovered.url, filter)
        .await;
    for (epoch, kind) in [
        (1, Kind::Missing),
        (1, Kind::Missing),
        (2, Kind::Recovered),
        (2, Kind::Recovered),
    ] {
        publish(&world, "web", epoch, kind).await;
    }
    // Who comes later does not get what was accepted before, even if it is published again.
    world
        .subscribe("late", Protocol::Http, &all.url, Filter::default())
        .await;
    publish(&world, "web", 2, Kind::Recovered).await;
    assert_eq!(world.tally("late").await.due, 0);
    let courier = world.courier(world.senders());
    let tally = world.until("all", |tally| tally.due == 0).await;
    assert_eq!(
        (tally.delivered, tally.dead, tally.last_error),
        (2, 0, None)
    );
    world.until("recovered", |tally| tally.delivered == 1).await;
    world.until("console", |tally| tally.delivered == 2).await;
    courier.stop().await;
    assert_eq!(
        (all.ids(200), recovered.ids(204)),
        (vec!["web1".into(), "web2".into()], vec!["web2".into()])
    );
    assert_eq!(*world.shown.lock().unwrap(), ["web1", "web2"]);
}

#[tokio::test]
async fn a_publish_in_the_same_process_wakes_the_courier() {
    let world = World::new();
    let ids = Arc::new(CountingIds::default());
    let courier = Courier::new(
        world.store.clone(),
        world.senders(),
        world.clock.clone(),
        ids,
    )
    .polling_every(Duration::from_hours(1));
    let task = tokio::spawn(courier.run(std::future::pending()));
    for epoch in 1..=2 {
        publish(&world, "web", epoch, Kind::Missing).await;
        world
            .until("console", |tally| tally.delivered == epoch)
            .await;
    }
    task.abort();
}

#[tokio::test]
async fn a_webhook_gets_the_json_and_can_tell_a_resend() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
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
async fn an_endpoint_that_is_back_gets_all_at_once_in_the_order_of_each_host() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    for host in ["a", "b", "c"] {
        publish(&world, host, 1, Kind::Missing).await;
        publish(&world, host, 2, Kind::Recovered).await;
    }
    let courier = world.courier(world.senders());
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
async fn what_waits_for_its_pause_goes_out_when_another_delivery_succeeds() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "a", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
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
    publish(&world, "b", 1, Kind::Missing).await;
    world.until("hook", |tally| tally.delivered == 2).await;
    courier.stop().await;
}

#[tokio::test]
async fn hanging_endpoints_delay_nobody_else() {
    let world = World::new();
    let (hanging, sound) = (Hook::listen(HANG).await, Hook::listen(200).await);
    for i in 0..12 {
        world
            .subscribe(
                &format!("hanging-{i}"),
                Protocol::Http,
                &hanging.url,
                Filter::default(),
            )
            .await;
    }
    let courier = world.courier(world.senders());
    for host in ["a", "b", "c", "d", "e"] {
        publish(&world, host, 1, Kind::Missing).await;
    }
    // All places are taken by those that hang: eight subscriptions with four each, and one each for the others.
    hanging.until_requests(32).await;
    world
        .subscribe("sound", Protocol::Http, &sound.url, Filter::default())
        .await;
    for host in ["f", "g", "h"] {
        publish(&world, host, 1, Kind::Missing).await;
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
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    let couriers = [
        world.courier(world.senders()),
        world.courier(world.senders()),
    ];
    let hosts: Vec<_> = (0..40).map(|i| format!("h{i}x")).collect();
    for host in &hosts {
        publish(&world, host, 1, Kind::Missing).await;
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
async fn what_a_dead_courier_held_is_taken_when_its_lease_is_over() {
    let world = World::new();
    let hook = Hook::listen(HANG).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let first = world.courier(world.senders());
    hook.until_requests(1).await;
    first.kill().await;
    hook.answer_with(200);
    let second = world.courier(world.senders());
    world.clock.advance(Duration::from_secs(44));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hook.requests().len(), 1, "the lease lasts");
    world.clock.advance(Duration::from_secs(1));
    world.until("hook", |tally| tally.delivered == 1).await;
    second.stop().await;
    assert_eq!(hook.requests().len(), 2);
}

#[tokio::test]
async fn a_day_after_acceptance_a_delivery_is_dead_and_the_next_has_its_turn() {
    let world = World::new();
    let hook = Hook::listen(500).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    world.clock.advance(Duration::from_mins(24 * 60 - 1));
    publish(&world, "web", 2, Kind::Recovered).await;
    let tries = "SELECT sum(tries) FROM deliveries WHERE subscription = 'hook'";
    while world.number(tries) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.tally("hook").await.dead, 0);
    world.clock.advance(Duration::from_mins(1));
    let tally = world.until("hook", |tally| tally.dead == 1).await;
    assert_eq!(tally.due, 1);
    assert!(tally.last_error.unwrap().contains("500"));
    hook.until_requests(4).await;
    assert_eq!(hook.ids(500), ["web1", "web1", "web1", "web2"]);
    courier.stop().await;
}

#[tokio::test]
async fn the_last_error_says_what_happened_and_no_secret() {
    let world = World::new();
    let (moved, refusing) = (Hook::listen(302).await, Hook::listen(404).await);
    world
        .subscribe("moved", Protocol::Http, &moved.url, Filter::default())
        .await;
    world
        .subscribe("refusing", Protocol::Http, &refusing.url, Filter::default())
        .await;
    world
        .subscribe(
            "closed",
            Protocol::Http,
            "http://127.0.0.1:1/s3cr3t",
            Filter::default(),
        )
        .await;
    world
        .subscribe(
            "mail",
            Protocol::Email,
            "on-call@example.com",
            Filter::default(),
        )
        .await;
    world
        .subscribe("phone", Protocol::Sms, "+15550100123", Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
    for (subscription, said) in [
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
            error.contains(said) && !error.contains("s3cr3t"),
            "{subscription}: {error}"
        );
        assert_eq!(tally.due, 1);
    }
    courier.stop().await;
    assert_eq!(moved.requests().len(), 1);
}

#[tokio::test]
async fn a_removed_subscription_gets_nothing_more() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    publish(&world, "web", 2, Kind::Recovered).await;
    let courier = world.courier(world.senders());
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    assert!(
        world
            .subscriptions
            .remove(&"hook".parse().unwrap())
            .await
            .unwrap()
    );
    assert!(
        !world
            .subscriptions
            .remove(&"console".parse().unwrap())
            .await
            .unwrap()
    );
    world.clock.advance(Duration::from_hours(1));
    publish(&world, "web", 3, Kind::Missing).await;
    world.until("console", |tally| tally.delivered == 3).await;
    courier.stop().await;
    assert_eq!(hook.requests().len(), 1);
    assert_eq!(world.tally("hook").await.due, 0);
}

#[tokio::test]
async fn stored_garbage_stops_no_other_delivery() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    for id in ["bad-address", "bad-filter", "good"] {
        world
            .subscribe(id, Protocol::Http, &hook.url, Filter::default())
            .await;
    }
    publish(&world, "broken", 1, Kind::Missing).await;
    publish(&world, "lost", 1, Kind::Missing).await;
    world.sql(
        "UPDATE notices SET notice = '{' WHERE identity = 'main/broken#1/missing';
         DELETE FROM notices WHERE identity = 'main/lost#1/missing';
         UPDATE subscriptions SET address = 'nowhere' WHERE id = 'bad-address';
         UPDATE subscriptions SET filter = x'ff' || '' WHERE id = 'bad-filter';
         INSERT INTO subscriptions VALUES (CAST(x'ff' AS TEXT), 'telex', '', '', -1, NULL);
         UPDATE deliveries SET accepted = -1, tries = -1",
    );
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
    for id in ["good", "bad-filter", "console"] {
        world.until(id, |tally| tally.delivered == 1).await;
    }
    let tally = world
        .until("bad-address", |tally| tally.last_error.is_some())
        .await;
    assert_eq!(tally.delivered, 0);
    courier.stop().await;
}

#[tokio::test]
async fn the_courier_goes_on_when_the_database_heals() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    let courier = world.courier(world.senders());
    publish(&world, "web", 1, Kind::Missing).await;
    world.until("hook", |tally| tally.delivered == 1).await;
    world.sql("ALTER TABLE deliveries RENAME TO away");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        world
            .topic
            .publish(&notice("web", 2, Kind::Recovered))
            .await,
        Publication::Refused(_)
    ));
    world.sql("ALTER TABLE away RENAME TO deliveries");
    publish(&world, "web", 2, Kind::Recovered).await;
    world.until("hook", |tally| tally.delivered == 2).await;
    courier.stop().await;
}

#[tokio::test]
async fn stopping_lets_running_sends_finish() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
    hook.until_requests(1).await;
    courier.stop().await;
    assert_eq!(world.tally("hook").await.delivered, 1);
}

#[tokio::test]
async fn what_is_over_is_deleted_after_a_month_and_the_rest_is_kept() {
    let world = World::new();
    let hook = Hook::listen(200).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    world
        .subscribe(
            "mail",
            Protocol::Email,
            "on-call@example.com",
            Filter::default(),
        )
        .await;
    publish(&world, "web", 1, Kind::Missing).await;
    let courier = world.courier(world.senders());
    world.until("hook", |tally| tally.delivered == 1).await;
    courier.stop().await;
    world
        .clock
        .advance(Duration::from_hours(30 * 24) + Duration::from_millis(1));
    publish(&world, "web", 2, Kind::Recovered).await;
    let courier = world.courier(world.senders());
    world.until("hook", |tally| tally.delivered == 1).await;
    world.until("mail", |tally| tally.dead == 1).await;
    world.clock.advance(Duration::from_hours(1));
    world
        .until("mail", |tally| tally.dead == 0 && tally.due == 1)
        .await;
    courier.stop().await;
    assert_eq!(world.number("SELECT count(*) FROM notices"), 1);
    assert_eq!(world.number("SELECT count(*) FROM deliveries"), 3);
}

/// The table that SNS is held to as well.
#[tokio::test]
async fn the_topic_filters_as_the_shared_table_says() {
    let world = World::new();
    let cases = include_str!("../../../../tests/shared/filters.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
        world
            .subscribe(
                &format!("case-{i}"),
                Protocol::Http,
                "http://127.0.0.1:9/",
                filter,
            )
            .await;
    }
    for fleet in ["main", "lab"] {
        for kind in Kind::ALL {
            let region = hb_domain::Region::local();
            let notice = hb_domain::Notice::test(
                fleet.parse().unwrap(),
                kind,
                region,
                hb_domain::Timestamp::MIN,
            );
            assert_eq!(world.topic.publish(&notice).await, Publication::Accepted);
        }
    }
    let sql = "SELECT notice ->> 'fleet' || '/' || (notice ->> 'kind') FROM deliveries
        JOIN notices ON identity = deliveries.notice WHERE subscription = ?1 ORDER BY 1";
    for (i, case) in cases.iter().enumerate() {
        let database = rusqlite::Connection::open(world.dir.path().join("heartbeat.db")).unwrap();
        let mut query = database
            .prepare(&sql.replace("notice ->>", "notices.notice ->>"))
            .unwrap();
        let told = query
            .query_map([format!("case-{i}")], |row| row.get::<_, String>(0))
            .unwrap();
        let told: Vec<_> = told.map(Result::unwrap).collect();
        let expected = case["delivered"]
            .as_array()
            .unwrap()
            .iter()
            .map(|told| told.as_str().unwrap().to_owned());
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        assert_eq!(told, expected, "{}", case["filter"]);
    }
}
