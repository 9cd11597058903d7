//! Hosts, beats and adapters for the tests.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures::stream::{self, StreamExt};
use hb_aws::{Clients, DynamoLedger, Stage};
use hb_domain::{
    Beat, FleetRecord, FleetSettings, Heartbeat, HostKey, Interval, Region, Timestamp,
};
use hb_service::ports::{Heard, Heartbeats, Ledger};
use hb_service::testing::contract::World;
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_service::{Sweep, SweepSettings};
use uuid::Uuid;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

/// A host of fleet `main`, or of another one: `lab|web-01`.
pub(crate) fn host(name: &str) -> HostKey {
    let (fleet, name) = name.split_once('|').unwrap_or(("main", name));
    HostKey::new(fleet.parse().unwrap(), name.parse().unwrap())
}

/// A beat of `name` with an interval of a minute.
pub(crate) fn heard(name: &str, seconds: i64) -> Heard {
    let interval = Interval::try_from(Duration::from_mins(1)).unwrap();
    let beat = Beat {
        interval,
        ..Beat::ok(at(seconds))
    };
    Heard {
        key: host(name),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    }
}

/// Beats of `host-0` to `host-{count - 1}`.
pub(crate) async fn beat(heartbeats: &dyn Heartbeats, count: usize, seconds: i64) {
    let beats = (0..count).map(|i| heard(&format!("host-{i}"), seconds));
    let record = async |heard: Heard| heartbeats.record(&heard).await.unwrap();
    stream::iter(beats)
        .map(record)
        .buffer_unordered(64)
        .collect::<Vec<_>>()
        .await;
}

/// Lets the notices of the fleets `main` and `lab` leave with the sweep that decides them.
pub(crate) async fn send_at_once(clients: &Clients, stage: &Stage) {
    let ledger = DynamoLedger::new(clients, stage);
    for fleet in ["main", "lab"] {
        let record = FleetRecord {
            settings: FleetSettings::AT_ONCE,
            ..FleetRecord::new(fleet.parse().unwrap())
        };
        ledger.swap(&record, None, Uuid::nil()).await.unwrap();
    }
}

/// The sweep of a stage, and its clock.
pub(crate) fn sweep(clients: &Clients, stage: &Stage) -> (Sweep, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(at(0)));
    let sweep = Sweep::new(
        hb_aws::ports(
            clients,
            stage,
            clock.clone(),
            Arc::new(CountingIds::default()),
        ),
        SweepSettings {
            skew: Duration::ZERO,
            messages_per_second: None,
            groups: FleetSettings::AT_ONCE,
            ..SweepSettings::distributed(Region::local(), Duration::from_mins(1))
        },
    );
    (sweep, clock)
}

/// The world of the contract suite on a stage.
pub(crate) fn world(
    clients: &Clients,
    raw: aws_sdk_dynamodb::Client,
    stage: &Stage,
    fleet_size: usize,
) -> World {
    let clock = Arc::new(ManualClock::new(at(0)));
    let spoilt = stage.clone();
    World {
        ports: hb_aws::ports(clients, stage, clock, Arc::new(CountingIds::default())),
        spoil: Box::new(move |host| {
            let (raw, stage) = (raw.clone(), spoilt.clone());
            Box::pin(async move { spoil(&raw, &stage, &host).await })
        }),
        fleet_size,
        keep: Box::new(()),
    }
}

async fn spoil(raw: &aws_sdk_dynamodb::Client, stage: &Stage, host: &HostKey) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let name = text(&host.to_string());
    let beat = raw
        .update_item()
        .table_name(stage.heartbeats())
        .key("h", name.clone())
        .key("r", text("local"));
    let beat = beat
        .update_expression("SET i = :i")
        .expression_attribute_values(":i", AttributeValue::N("-1".into()));
    beat.send().await.unwrap();
    let entry = raw
        .update_item()
        .table_name(stage.ledger())
        .key("h", name)
        .update_expression("SET #e = :e, #o = :o");
    let entry = entry
        .expression_attribute_names("#e", "entry")
        .expression_attribute_values(":e", text("{"));
    let entry = entry.expression_attribute_names("#o", "open");
    entry
        .expression_attribute_values(":o", AttributeValue::N("3".into()))
        .send()
        .await
        .unwrap();
}
