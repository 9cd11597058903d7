//! Receivers that refuse a delivery for good, or that refuse what is too large: whom that delays, and for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hb_domain::{Kind, Protocol};
use hb_service::testing::contract::{digest, notice_id};

use crate::common::World;
use crate::hook::{HANG, Hook, Request};
use crate::log;

/// A receiver that takes requests up to a size, as most proxies do.
fn up_to(bytes: usize) -> impl Fn(&Request) -> u16 {
    move |request| {
        if request.body.to_string().len() > bytes {
            413
        } else {
            200
        }
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("shop-{n:03}")).collect()
}

/// The hosts of these requests, each once.
fn hosts(requests: &[Request]) -> Vec<String> {
    let hosts = requests
        .iter()
        .flat_map(|request| request.body["hosts"].as_array().unwrap());
    let mut hosts: Vec<_> = hosts
        .map(|host| host["hostId"].as_str().unwrap().to_owned())
        .collect();
    hosts.sort();
    hosts
}

#[tokio::test]
async fn a_digest_answered_413_holds_no_later_notice_and_arrives_in_parts() {
    let world = World::new();
    let hook = Hook::answering(up_to(1_500)).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    let names = names(100);
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world
        .publish_notice(&digest("one", Kind::Missing, &members))
        .await;
    for name in &names[..7] {
        world.publish(name, 2, Kind::Recovered).await;
    }
    let courier = world.courier();
    // The clock stands: nothing waits for a retry.
    world.until("hook", |tally| tally.delivered == 8).await;
    let taken = hook.taken();
    let (parts, later): (Vec<_>, Vec<_>) =
        taken.into_iter().partition(|r| r.body["digest"] == true);
    assert_eq!(later.len(), 7);
    assert_eq!(hosts(&parts), names, "each host is in one part");
    let keys: BTreeSet<_> = parts.iter().map(Request::key).collect();
    assert_eq!(keys.len(), parts.len(), "each part has its own key");
    assert!(parts.iter().all(|part| part.body["id"] == part.key()));
    // The next digest begins with the size that was taken.
    let refused = hook.requests().len() - hook.taken().len();
    world
        .publish_notice(&digest("two", Kind::Failing, &members))
        .await;
    world.until("hook", |tally| tally.delivered == 9).await;
    courier.stop().await;
    assert_eq!(hook.requests().len() - hook.taken().len(), refused);
    let tally = world.tally("hook").await;
    assert_eq!((tally.due, tally.dead, tally.last_error), (0, 0, None));
}

#[tokio::test]
async fn a_part_is_repeated_under_its_key_after_a_crash() {
    let world = World::new();
    let hangs = Arc::new(AtomicBool::new(true));
    let (limit, hang) = (up_to(1_500), hangs.clone());
    let hook = Hook::answering(move |request| match limit(request) {
        200 if hang.load(Ordering::SeqCst) => HANG,
        status => status,
    });
    let hook = hook.await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    let names = names(40);
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world
        .publish_notice(&digest("one", Kind::Missing, &members))
        .await;
    let first = world.courier();
    let hanging = |request: &Request| request.status == HANG;
    while !hook.requests().iter().any(hanging) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.kill().await;
    hangs.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(45));
    let second = world.courier();
    world.until("hook", |tally| tally.delivered == 1).await;
    second.stop().await;
    let lost = hook.requests().into_iter().find(hanging).unwrap();
    let again = &hook.taken()[0];
    assert_eq!((again.key(), &again.body), (lost.key(), &lost.body));
    assert_eq!(hosts(&hook.taken()), names);
}

#[tokio::test]
async fn a_notice_with_a_final_answer_is_given_up_loudly_after_three_tries() {
    log::capture();
    let world = World::new();
    let hook = Hook::listen(404).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    world.publish("web", 1, Kind::Missing).await;
    let courier = world.courier();
    for tries in 1..3 {
        hook.until_requests(tries).await;
        world
            .until("hook", |tally| tally.last_error.is_some())
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((hook.requests().len(), log::errors()), (tries, vec![]));
        world.clock.advance(Duration::from_mins(2));
    }
    world.until("hook", |tally| tally.dead == 1).await;
    // The hosts' next notice is not concerned.
    hook.answer_with(200);
    world.publish("web", 2, Kind::Recovered).await;
    world.until("hook", |tally| tally.delivered == 1).await;
    courier.stop().await;
    assert_eq!(hook.ids(404), ["web1", "web1", "web1"]);
    let errors = log::errors();
    let [error] = &errors[..] else {
        panic!("{errors:?}")
    };
    let id = notice_id("web", 1);
    for part in [
        format!("notice {id} of main/web was not delivered to hook and is given up after 3 tries"),
        "404 Not Found".to_owned(),
        "fix the endpoint, and look at `hb doctor`".to_owned(),
    ] {
        assert!(error.contains(&part), "{part} in {error}");
    }
    assert!(!error.contains("s3cr3t"), "{error}");
}

#[tokio::test]
async fn a_notice_that_is_always_refused_delays_its_hosts_next_one_for_ten_minutes() {
    log::capture();
    let world = World::new();
    // It cannot read what says `missing`.
    let hook = Hook::answering(|request| {
        if request.body["kind"] == "missing" {
            500
        } else {
            200
        }
    });
    let hook = hook.await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    let courier = world.courier();
    world.publish("web", 1, Kind::Missing).await;
    world
        .until("hook", |tally| tally.last_error.is_some())
        .await;
    world.publish("web", 2, Kind::Recovered).await;
    world.clock.advance(Duration::from_millis(599_999));
    hook.until_requests(2).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.tally("hook").await.delivered, 0);
    world.clock.advance(Duration::from_millis(1));
    let tally = world.until("hook", |tally| tally.delivered == 1).await;
    assert_eq!(
        (tally.dead, tally.due),
        (1, 0),
        "it would be a false alarm now"
    );
    world.clock.advance(Duration::from_hours(24));
    tokio::time::sleep(Duration::from_millis(50)).await;
    courier.stop().await;
    let kinds: Vec<_> = hook.requests().iter().map(Request::what).collect();
    assert_eq!(
        kinds,
        ["missing web", "missing web", "missing web", "recovered web"]
    );
    let errors = log::errors();
    let overtaken =
        "notice main/web#1/missing was not delivered to hook and is given up: a later notice";
    assert!(
        errors.len() == 1 && errors[0].contains(overtaken),
        "{errors:?}"
    );
}

#[tokio::test]
async fn after_an_outage_of_an_hour_everything_arrives_in_order() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world.subscribe("hook", Protocol::Http, &hook.url).await;
    for host in ["a", "b", "c"] {
        world.publish(host, 1, Kind::Missing).await;
        world.publish(host, 2, Kind::Recovered).await;
    }
    let courier = world.courier();
    for minute in 0..60 {
        hook.until_requests(3).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(world.tally("hook").await.due, 6, "minute {minute}");
        world.clock.advance(Duration::from_mins(1));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    hook.answer_with(200);
    world.clock.advance(Duration::from_mins(5));
    world.until("hook", |tally| tally.delivered == 6).await;
    courier.stop().await;
    for host in ["a", "b", "c"] {
        let mut own = hook.ids(200);
        own.retain(|id| id.starts_with(host));
        assert_eq!(own, [format!("{host}1"), format!("{host}2")]);
    }
}
