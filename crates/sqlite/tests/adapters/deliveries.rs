//! Deliveries where SQLite matters: several processes on one folder, edited rows, the tables after cleaning, filters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Filter, Kind, Notice, Protocol, Region, Timestamp, limits};
use hb_service::testing::contract::{digest, notice};

use crate::common::{Recorder, World, token};

const URL: &str = "https://example.com/s3cr3t";

#[tokio::test]
async fn couriers_of_two_processes_keep_a_digest_in_order_with_the_notices_of_its_hosts() {
    let world = World::new();
    world
        .subscribe("hook", Protocol::Https, URL, Filter::default())
        .await;
    let sender = Arc::new(Recorder::default());
    sender.refuse(true);
    let notices = [
        digest("one", Kind::Missing, &[("a", 1), ("b", 1), ("c", 1)]),
        notice("a", 2, Kind::Recovered),
        notice("d", 1, Kind::Missing),
        digest("two", Kind::Recovered, &[("b", 2), ("c", 2), ("d", 2)]),
        notice("c", 3, Kind::Missing),
    ];
    for notice in &notices {
        world.publish(notice).await;
        world.publish(notice).await;
    }
    let couriers = [world.courier(&sender), world.courier(&sender)];
    let tried = "SELECT count(*) FROM deliveries WHERE subscription = 'hook' AND tries > 0";
    while world.number(tried) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sender.refuse(false);
    while world.tally("hook").await.delivered < 5 || world.tally("console").await.delivered < 5 {
        // By less than a lease while something is under way.
        world.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for courier in couriers {
        courier.abort();
    }
    let refused: BTreeSet<_> = sender.refused().into_iter().collect();
    let heads =
        ["console", "hook"].map(|id| [format!("{id}: a+b+c missing"), format!("{id}: d missing")]);
    assert!(
        refused.is_subset(&heads.concat().into_iter().collect()),
        "{refused:?}"
    );
    let sent = sender.sent();
    assert_eq!(sent.len(), 10, "{sent:?}");
    for id in ["console", "hook"] {
        let place = |what: &str| {
            sent.iter()
                .position(|sent| *sent == format!("{id}: {what}"))
        };
        assert!(place("a+b+c missing") < place("a recovered"));
        assert!(place("a+b+c missing") < place("b+c+d recovered"));
        assert!(place("d missing") < place("b+c+d recovered"));
        assert!(place("b+c+d recovered") < place("c missing"));
    }
    assert_eq!(world.number("SELECT count(*) FROM lanes"), 0);
}

#[tokio::test]
async fn couriers_of_two_processes_send_each_delivery_once() {
    let world = World::new();
    let sender = Arc::new(Recorder::default());
    let couriers = [world.courier(&sender), world.courier(&sender)];
    for i in 0..40 {
        let host = format!("h{i:02}");
        world.publish(&notice(&host, 1, Kind::Missing)).await;
    }
    world.until("console", |tally| tally.delivered == 40).await;
    for courier in couriers {
        courier.abort();
    }
    let mut sent = sender.sent();
    sent.sort();
    let expected: Vec<_> = (0..40)
        .map(|i| format!("console: h{i:02} missing"))
        .collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn an_unconfirmed_address_gets_only_the_request_to_confirm() {
    let world = World::new();
    let address = "on-call@example.com";
    world
        .subscribe("mail", Protocol::Email, address, Filter::default())
        .await;
    world.publish(&notice("web", 1, Kind::Missing)).await;
    let sender = Arc::new(Recorder::default());
    let courier = world.courier(&sender);
    world.until("mail", |tally| tally.delivered == 1).await;
    let confirmed = world.ports.subscriptions.confirm(&token()).await;
    assert_eq!(confirmed.unwrap().as_deref(), Some("mail"));
    world.publish(&notice("web", 2, Kind::Recovered)).await;
    world.until("mail", |tally| tally.delivered == 2).await;
    courier.abort();
    let mut mails = sender.sent();
    mails.retain(|sent| sent.starts_with("mail"));
    let request = format!("mail: confirm {}", token().reveal());
    assert_eq!(mails, [request.as_str(), "mail: web recovered"]);
}

#[tokio::test]
async fn an_address_that_is_added_again_is_asked_again_although_it_was_asked_before() {
    let world = World::new();
    let sender = Arc::new(Recorder::default());
    let courier = world.courier(&sender);
    let request = format!("mail: confirm {}", token().reveal());
    let asked = || {
        sender
            .sent()
            .iter()
            .filter(|sent| **sent == request)
            .count()
    };
    for times in 1..=2 {
        let address = "on-call@example.com";
        world
            .subscribe("mail", Protocol::Email, address, Filter::default())
            .await;
        world.until("mail", |tally| tally.delivered == 1).await;
        assert_eq!(asked(), times);
        let id = "mail".parse().unwrap();
        assert!(world.ports.subscriptions.remove(&id).await.unwrap());
    }
    courier.abort();
}

#[tokio::test]
async fn unreadable_rows_do_not_stop_other_deliveries() {
    let world = World::new();
    for id in ["bad-address", "bad-filter", "bad-webhook", "good"] {
        world
            .subscribe(id, Protocol::Https, URL, Filter::default())
            .await;
    }
    world.publish(&notice("broken", 1, Kind::Missing)).await;
    world.publish(&notice("lost", 1, Kind::Missing)).await;
    world.sql(
        "UPDATE notices SET notice = '{' WHERE identity = 'main/broken#1/missing';
         DELETE FROM notices WHERE identity = 'main/lost#1/missing';
         UPDATE subscriptions SET address = 'nowhere' WHERE id = 'bad-address';
         UPDATE subscriptions SET webhook = '{' WHERE id = 'bad-webhook';
         UPDATE subscriptions SET filter = x'ff' || '' WHERE id = 'bad-filter';
         INSERT INTO subscriptions VALUES (CAST(x'ff' AS TEXT), 'telex', '', '', -1, NULL, NULL, NULL);
         UPDATE deliveries SET accepted = -1, tries = -1",
    );
    world.publish(&notice("web", 1, Kind::Missing)).await;
    let courier = world.courier(&Arc::new(Recorder::default()));
    for id in ["good", "bad-filter", "console"] {
        world.until(id, |tally| tally.delivered == 1).await;
    }
    // Nothing is sent unsigned because the secrets cannot be read.
    for id in ["bad-address", "bad-webhook"] {
        let tally = world.until(id, |tally| tally.last_error.is_some()).await;
        assert_eq!(tally.delivered, 0, "{id}");
    }
    courier.abort();
}

#[tokio::test]
async fn an_unreadable_digest_is_given_up_after_a_day_and_its_hosts_notices_are_sent() {
    let world = World::new();
    let bad = digest("one", Kind::Missing, &[("a", 1), ("b", 1)]);
    world.publish(&bad).await;
    world.sql("UPDATE notices SET notice = '{\"members\": 1}'");
    world.publish(&notice("a", 2, Kind::Recovered)).await;
    let sender = Arc::new(Recorder::default());
    let courier = world.courier(&sender);
    let tally = world
        .until("console", |tally| tally.last_error.is_some())
        .await;
    assert!(tally.last_error.unwrap().contains("unreadable"));
    assert_eq!(sender.sent(), [""; 0]);
    for _ in 0..2 {
        let tries = || world.number("SELECT sum(tries) FROM deliveries");
        let before = tries();
        world.clock.advance(limits::DELIVERY_FOR / 2);
        while tries() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    world
        .until("console", |tally| tally.dead == 1 && tally.delivered == 1)
        .await;
    courier.abort();
    assert_eq!(sender.sent(), ["console: a recovered"]);
}

#[tokio::test]
async fn settled_deliveries_and_their_notices_are_deleted_after_a_month() {
    let world = World::new();
    let sender = Arc::new(Recorder::default());
    world.publish(&notice("web", 1, Kind::Missing)).await;
    let courier = world.courier(&sender);
    world.until("console", |tally| tally.delivered == 1).await;
    courier.abort();
    let month = Duration::from_hours(30 * 24);
    world.clock.advance(month + Duration::from_millis(1));
    sender.refuse(true);
    world.publish(&notice("web", 2, Kind::Recovered)).await;
    let courier = world.courier(&sender);
    world
        .until("console", |tally| tally.due == 1 && tally.delivered == 0)
        .await;
    courier.abort();
    for table in ["notices", "deliveries", "lanes"] {
        assert_eq!(
            world.number(&format!("SELECT count(*) FROM {table}")),
            1,
            "{table}"
        );
    }
}

/// The table that SNS must match as well.
#[tokio::test]
async fn the_topic_filters_by_the_shared_table() {
    let world = World::new();
    let cases = include_str!("../../../../tests/shared/filters.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
        let id = format!("case-{i}");
        world.subscribe(&id, Protocol::Https, URL, filter).await;
    }
    for fleet in ["main", "lab"] {
        for kind in Kind::ALL {
            let fleet = fleet.parse().unwrap();
            let notice = Notice::test(fleet, kind, Region::local(), Timestamp::MIN);
            world.publish(&notice).await;
        }
    }
    let sql =
        "SELECT notices.notice ->> 'fleet' || '/' || (notices.notice ->> 'kind') FROM deliveries
        JOIN notices ON identity = deliveries.notice WHERE subscription = ?1 ORDER BY 1";
    let database = rusqlite::Connection::open(world.store.path()).unwrap();
    let mut query = database.prepare(sql).unwrap();
    for (i, case) in cases.iter().enumerate() {
        let passed = query.query_map([format!("case-{i}")], |row| row.get::<_, String>(0));
        let passed: Vec<_> = passed.unwrap().map(Result::unwrap).collect();
        let mut expected: Vec<String> = serde_json::from_value(case["delivered"].clone()).unwrap();
        expected.sort();
        assert_eq!(passed, expected, "{}", case["filter"]);
    }
}
