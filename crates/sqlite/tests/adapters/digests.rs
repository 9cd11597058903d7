//! Notices about many hosts: their order with the notices of each, and many hosts at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use hb_domain::{
    Beat, Filter, Fleet, Heartbeat, HostKey, Interval, Kind, Notice, Protocol, Publication,
    Receiver, Region, Signal, limits,
};
use hb_service::ports::{Clock, Heard, Topic};
use hb_service::testing::memory::CountingIds;
use hb_service::{Sweep, SweepSettings};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{Hook, START, World, notice, notice_id};

/// The notice of a digest of these hosts and epochs.
fn digest(name: &str, kind: Kind, members: &[(&str, u64)]) -> Notice {
    let members: Vec<_> = members
        .iter()
        .map(|(host, epoch)| json!([host, epoch, START]))
        .collect();
    let digest = json!({
        "id": notice_id(name, 0), "attempt": 1, "kind": kind, "fleet": "main", "members": members,
        "at": START, "region": "local",
    });
    serde_json::from_value(digest).unwrap()
}

/// What each request told, in the order of arrival: hosts in the order of their names, and the kind.
fn told(bodies: &[Value]) -> Vec<String> {
    let names = |body: &Value| {
        let hosts = body["hosts"].as_array().unwrap().iter();
        hosts
            .map(|host| host["hostId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join("+")
    };
    bodies
        .iter()
        .map(|body| format!("{} {}", names(body), body["kind"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn a_digest_keeps_its_place_before_and_behind_the_notices_of_its_hosts() {
    let world = World::new();
    let hook = Hook::listen(503).await;
    world
        .subscribe("hook", Protocol::Http, &hook.url, Filter::default())
        .await;
    let story = [
        digest("one", Kind::Missing, &[("a", 1), ("b", 1), ("c", 1)]),
        notice("a", 2, Kind::Recovered),
        notice("d", 1, Kind::Missing),
        digest("two", Kind::Recovered, &[("b", 2), ("c", 2), ("d", 2)]),
        notice("c", 3, Kind::Missing),
    ];
    for notice in &story {
        assert_eq!(world.topic.publish(notice).await, Publication::Accepted);
        assert_eq!(
            world.topic.publish(notice).await,
            Publication::Accepted,
            "accepted once"
        );
    }
    let couriers = [
        world.courier(world.senders()),
        world.courier(world.senders()),
    ];
    // Only what nothing stands before is tried, however often.
    hook.until_requests(2).await;
    // The pause after a failure counts from when that was stored.
    while world.number("SELECT count(*) FROM deliveries WHERE subscription = 'hook' AND tries > 0")
        < 2
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.clock.advance(Duration::from_mins(1));
    hook.until_requests(4).await;
    hook.answer_with(200);
    while world.tally("hook").await.delivered < 5 {
        // By less than a lease while something is under way.
        world.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for courier in couriers {
        courier.stop().await;
    }
    let bodies = |status| {
        let requests = hook
            .requests()
            .into_iter()
            .filter(move |request| request.status == status);
        requests.map(|request| request.body).collect::<Vec<_>>()
    };
    let tried: BTreeSet<_> = told(&bodies(503)).into_iter().collect();
    assert_eq!(
        tried,
        BTreeSet::from(["a+b+c missing".to_owned(), "d missing".to_owned()])
    );
    let delivered = told(&bodies(200));
    let place = |what: &str| delivered.iter().position(|told| told == what).unwrap();
    assert_eq!(delivered.len(), 5, "{delivered:?}");
    assert!(place("a+b+c missing") < place("a recovered"));
    assert!(place("a+b+c missing") < place("b+c+d recovered"));
    assert!(place("d missing") < place("b+c+d recovered"));
    assert!(place("b+c+d recovered") < place("c missing"));
    assert_eq!(world.number("SELECT count(*) FROM lanes"), 0);
}

#[tokio::test]
async fn a_digest_that_nobody_can_read_lets_the_rest_go_on() {
    let world = World::new();
    let bad = digest("one", Kind::Missing, &[("a", 1), ("b", 1)]);
    world.topic.publish(&bad).await;
    world.sql("UPDATE notices SET notice = '{\"members\": 1}'");
    world.topic.publish(&notice("a", 2, Kind::Recovered)).await;
    let courier = world.courier(world.senders());
    let tally = world
        .until("console", |tally| tally.last_error.is_some())
        .await;
    assert!(tally.last_error.unwrap().contains("unreadable"));
    assert_eq!(
        *world.shown.lock().unwrap(),
        Vec::<String>::new(),
        "its host waits behind it"
    );
    world
        .clock
        .advance(limits::DELIVERY_FOR + Duration::from_mins(10));
    world
        .until("console", |tally| tally.dead == 1 && tally.delivered == 1)
        .await;
    courier.stop().await;
    assert_eq!(*world.shown.lock().unwrap(), ["a2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hosts_that_fall_silent_are_five_messages() {
    let world = World::new();
    let ids = Arc::new(CountingIds::default());
    let ports = hb_sqlite::ports(&world.store, world.clock.clone(), ids);
    let heartbeats = ports.heartbeats.clone();
    let sweep = Sweep {
        ports,
        settings: SweepSettings::local(),
    };
    let beats = (0..10_000).map(async |i| {
        let interval = Interval::from_millis(60_000).unwrap();
        let beat = Beat {
            at: world.clock.now(),
            interval,
            signal: Signal::Ok,
            message: None,
        };
        let name = format!("host-{i:05}.rack-17.example.com").parse().unwrap();
        let key = HostKey::new(Fleet::main(), name);
        let heard = Heard {
            key,
            region: Region::local(),
            heartbeat: Heartbeat::new(beat),
        };
        heartbeats.record(&heard).await.unwrap();
    });
    stream::iter(beats)
        .buffer_unordered(256)
        .collect::<Vec<()>>()
        .await;
    sweep.run().await.unwrap();
    // Canaries were heard all the time: the hosts are silent, not the receiver deaf.
    let canary = Receiver::new(Region::local()).with_canary(world.clock.now(), Duration::MAX);
    world.clock.advance(Duration::from_secs(61));
    let canary = canary.with_canary(world.clock.now(), Duration::MAX);
    sweep
        .ports
        .receivers
        .swap(&canary, None, Uuid::nil())
        .await
        .unwrap();
    let before = world.number("SELECT count(*) FROM notices");
    let report = sweep.run().await.unwrap();
    assert_eq!(
        (
            report.decided[Kind::Missing],
            report.batched,
            report.accepted
        ),
        (10_000, 10_000, 5),
        "{report:?}"
    );
    assert_eq!(world.number("SELECT count(*) FROM notices") - before, 5);
    let connection = rusqlite::Connection::open(world.store.path()).unwrap();
    let mut statement = connection
        .prepare("SELECT notice FROM notices WHERE notice ->> 'kind' = 'missing'")
        .unwrap();
    let notices = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    let mut hosts = BTreeSet::new();
    for notice in notices {
        let notice: Notice = serde_json::from_str(&notice.unwrap()).unwrap();
        assert!(notice.json().to_string().len() <= limits::NOTICE_BYTES);
        assert!(
            notice.sms().len() <= limits::SMS_BYTES
                && notice.subject_line().len() <= limits::SUBJECT_CHARS
        );
        assert_eq!(notice.json()["count"], 2_000);
        hosts.extend(notice.host_ids().cloned());
    }
    assert_eq!(hosts.len(), 10_000);
    let quiet = sweep.run().await.unwrap();
    assert_eq!(
        (quiet.accepted, quiet.second_copies, quiet.troubles.len()),
        (0, 0, 0),
        "{quiet:?}"
    );
}
