//! What `hb cost` calculates of a fleet is what emulated AWS meters of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use hb_aws::{Clients, DynamoHeartbeats, DynamoKeys, Operation, Stage, Usage};
use hb_domain::{Beat, FleetSettings, Heartbeat, HostId, KeyId, Region, Secret, Token};
use hb_service::ports::{Heard, Heartbeats, Keys};
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_service::{Caller, Canaries, Sweep};
use serde_json::{Value, json};

use self::model::{Fleet, Month};
use self::prices::DATA;
use super::function::Function;
use super::{ingest, sweep};
use crate::dynoxide::Account;
use crate::fleet::{self, at, heard};

#[expect(dead_code, reason = "`hb cost` uses the rest")]
#[path = "../../../crates/cli/src/command/cost/model.rs"]
mod model;
#[expect(dead_code, reason = "`hb cost` uses the rest")]
#[path = "../../../crates/cli/src/command/cost/prices.rs"]
mod prices;

/// How far the two may be apart. What is apart is rounding: DynamoDB rounds each page of a scan up to half a unit, the model
/// takes the bytes of all hosts together.
const BOUND: f64 = 0.01;

/// A beat as `ingest` records it: with a key, an address of IPv6, and an instant with its milliseconds.
fn sent(host: &str, second: i64) -> Heard {
    let beat = Beat {
        interval: Duration::from_mins(1).try_into().unwrap(),
        key: Some(key()),
        address: Some("2001:db8::1".parse().unwrap()),
        ..Beat::ok(at(second).plus(Duration::from_millis(123)))
    };
    Heard {
        heartbeat: Heartbeat::new(beat),
        ..heard(host, second)
    }
}

fn key() -> KeyId {
    KeyId::from_random([1; 7])
}

/// Records canaries as `ingest` does, at this second.
struct Direct(DynamoHeartbeats, i64);

#[async_trait]
impl Caller for Direct {
    async fn beat(&self, host: &HostId) -> Result<(), String> {
        let recorded = self.0.record(&sent(host.as_str(), self.1)).await;
        recorded.map_err(|error| error.to_string())
    }
}

/// A fleet with all that runs for it.
struct World {
    hosts: u32,
    clients: Clients,
    stage: Stage,
    heartbeats: DynamoHeartbeats,
    sweep: Sweep,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new(hosts: u32) -> Self {
        let (clients, stage) = Account::new().stage().await;
        let (mut sweep, clock) = fleet::sweep(&clients, &stage);
        // As people have it.
        sweep.settings.groups = FleetSettings::default();
        Self {
            hosts,
            heartbeats: DynamoHeartbeats::new(&clients, &stage),
            clients,
            stage,
            sweep,
            clock,
        }
    }

    /// A minute: the hosts beat, all or all but the first; the key is read, canaries are sent, and all is swept. Returns the
    /// number of notices.
    async fn minute(&self, minute: u32, silent: bool) -> u64 {
        let second = 600 + 60 * i64::from(minute);
        let keys = DynamoKeys::new(&self.clients, &self.stage);
        keys.load(&key()).await.unwrap();
        let beats =
            (u32::from(silent)..self.hosts).map(|host| sent(&format!("host-{host:07}"), second));
        let record = async |beat| self.heartbeats.record(&beat).await.unwrap();
        stream::iter(beats).for_each_concurrent(64, record).await;
        let now = second + 31;
        self.clock.set(at(now));
        let ids = Arc::new(CountingIds::default());
        let canaries = Canaries {
            caller: Arc::new(Direct(self.heartbeats.clone(), now)),
            ports: hb_aws::ports(&self.clients, &self.stage, self.clock.clone(), ids),
            region: Region::local(),
            fresh: Duration::from_secs(75),
        };
        canaries.send().await.unwrap();
        let report = self.sweep.run().await.unwrap();
        assert!(report.troubles.is_empty(), "{report:?}");
        report.accepted
    }
}

/// What was metered between two readings, by the units of the price list.
fn metered(before: &Usage, after: &Usage) -> BTreeMap<&'static str, f64> {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let millions = |number: u64| number as f64 / 1e6;
    let calls = |operation: Operation| {
        let count = |usage: &Usage| usage.calls.get(&operation).copied().unwrap_or(0);
        count(after) - count(before)
    };
    [
        (
            "million write units",
            millions(after.write_millis - before.write_millis) / 1e3,
        ),
        (
            "million read units",
            millions(after.read_millis - before.read_millis) / 1e3,
        ),
        ("million SNS requests", millions(calls(Operation::Publish))),
        // The topic sends its copies to the queue, which the meter of the functions does not see.
        (
            "million SQS requests",
            millions(
                calls(Operation::ReceiveMessage)
                    + calls(Operation::DeleteMessage)
                    + calls(Operation::Publish),
            ),
        ),
    ]
    .into()
}

fn calculated(month: &Month) -> BTreeMap<&'static str, f64> {
    let mut uses = BTreeMap::new();
    for item in month.bill() {
        *uses.entry(item.price.unit.as_str()).or_default() += item.amount;
    }
    uses
}

/// Compares a few minutes; in those that are so marked the first host is silent.
async fn compare<const MINUTES: usize>(hosts: u32, silent: [bool; MINUTES], notices: u64) {
    let world = World::new(hosts).await;
    // Each host is registered once, which is sent, echoed and looked at again in the minutes after: not a part of any month.
    for minute in 0..4 {
        world.minute(minute, false).await;
    }

    let before = world.clients.meter().usage();
    let mut accepted = 0;
    for (minute, silent) in (4..).zip(silent) {
        accepted += world.minute(minute, silent).await;
    }
    let metered = metered(&before, &world.clients.meter().usage());
    assert_eq!(accepted, notices);

    let fleet = Fleet {
        hosts: hosts.into(),
        interval: Duration::from_mins(1),
        regions: 1,
        sweep_every: Duration::from_mins(1),
        keys: 1,
        notices,
        sms: 0,
        canaries: true,
        name: false,
        edge: false,
    };
    let count = |of: &[bool]| f64::from(u32::try_from(of.len()).unwrap());
    let minutes = count(&silent);
    let missed = silent
        .iter()
        .filter(|silent| **silent)
        .copied()
        .collect::<Vec<_>>();
    let month = Month {
        keys: 0.0,
        beats: f64::from(hosts) * minutes - count(&missed),
        key_reads: minutes,
        sweeps: minutes,
        passes: minutes,
        canaries: minutes,
        ..Month::of(&fleet)
    };
    let calculated = calculated(&month);
    for (unit, metered) in metered {
        let calculated = calculated.get(unit).copied().unwrap_or(0.0);
        println!("{hosts} hosts: {metered:.6} {unit} metered, {calculated:.6} calculated");
        let apart = (calculated - metered).abs();
        assert!(apart <= BOUND * metered, "{unit}: {apart} apart");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb_cost_calculates_what_a_quiet_fleet_is_metered_for() {
    compare(1_000, [false; 3], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hb_cost_calculates_what_a_silence_and_a_return_are_metered_for() {
    compare(20, [true, true, true, false, false, false], 2).await;
}

/// The length of a line, with its end.
fn bytes(lines: &[Value]) -> f64 {
    let bytes: usize = lines.iter().map(|line| line.to_string().len() + 1).sum();
    u32::try_from(bytes).unwrap().into()
}

#[track_caller]
fn near(name: &str, measured: f64, taken: f64) {
    println!("{name}: {measured} bytes, taken for {taken}");
    assert!((taken / measured - 1.0).abs() <= BOUND, "{name}");
}

#[tokio::test]
async fn lines_of_the_log_are_as_long_as_hb_cost_takes_them_for() {
    let world = ingest::World::new(&[]).await;
    for _ in 0..2 {
        assert_eq!(world.beat("web-01").await["statusCode"], 200);
    }
    let beats = world.function.metrics(2).await;
    // The first one has read the key as well.
    near("a beat", bytes(&beats[1..]), DATA.bytes.beat_line);
    assert!(world.function.log(0).await.is_empty());

    let world = sweep::World::new().await;
    let gateway = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gateway.local_addr().unwrap());
    let accepts = axum::Router::new().fallback(async || "");
    tokio::spawn(async move { axum::serve(gateway, accepts).await });
    let key = Token::new(KeyId::from_random([1; 7]), Secret::from_random([2; 32])).reveal();
    let variables = [
        ("HB_CANARY_URL", url.as_str()),
        ("HB_CANARY_KEY", key.as_str()),
    ];
    let function = Function::start("sweep", &world.front, &variables).await;
    function.invoke(&sweep::scheduled()).await.unwrap();
    let (pass, log) = (function.metrics(1).await, function.log(0).await);
    near("a pass", bytes(&pass) + bytes(&log), DATA.bytes.pass_line);
    function.invoke(&json!({"task": "canary"})).await.unwrap();
    near(
        "canaries",
        bytes(&function.metrics(2).await[1..]),
        DATA.bytes.canary_line,
    );
    assert_eq!(function.log(0).await.len(), log.len());
}
