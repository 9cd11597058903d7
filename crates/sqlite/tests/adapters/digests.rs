//! Many hosts that go missing at once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use hb_domain::{
    Beat, Fleet, FleetSettings, Heartbeat, HostKey, Interval, Kind, Notice, Receiver, Region,
    limits,
};
use hb_service::ports::{Clock, Heard};
use hb_service::{Sweep, SweepSettings};
use uuid::Uuid;

use crate::common::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_missing_hosts_are_five_notices() {
    let world = World::new();
    let heartbeats = world.ports.heartbeats.clone();
    let at_once = SweepSettings {
        groups: FleetSettings::AT_ONCE,
        ..SweepSettings::local()
    };
    let sweep = Sweep::new(world.ports.clone(), at_once);
    let beat = async |name: String| {
        let interval = Interval::from_millis(60_000).unwrap();
        let beat = Beat {
            interval,
            ..Beat::ok(world.clock.now())
        };
        let key = HostKey::new(Fleet::main(), name.parse().unwrap());
        let heard = Heard {
            key,
            region: Region::local(),
            heartbeat: Heartbeat::new(beat),
        };
        heartbeats.record(&heard).await.unwrap();
    };
    let names = (0..10_000).map(|i| format!("host-{i:05}.rack-17.example.com"));
    beat("heard".to_owned()).await;
    stream::iter(names)
        .map(&beat)
        .buffer_unordered(256)
        .collect::<Vec<()>>()
        .await;
    sweep.run().await.unwrap();
    // Canaries and a host arrived all the time: the others are silent, the receiver is up.
    let canary = Receiver::new(Region::local()).with_canary(world.clock.now(), Duration::MAX);
    world.clock.advance(Duration::from_secs(61));
    let canary = canary.with_canary(world.clock.now(), Duration::MAX);
    beat("heard".to_owned()).await;
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
