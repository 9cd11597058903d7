//! No secret, token, address or message reaches the spans and errors of the adapters.

use std::io;
use std::sync::{Arc, Mutex};

use hb_domain::{
    Act, ActId, ActKind, Beat, ConfirmationToken, Endpoint, Entry, Filter, Fleet, Heartbeat,
    HostKey, KeyId, Kind, Message, Notice, Protocol, Receiver, Region, Secret, Signal,
    Subscription, Timestamp, Token, Webhook, Who,
};
use hb_service::ports::{CompletedSweep, DeliveryOutcome, Heard, Ports, Segment};
use hb_service::testing::contract::{key_of, notice};
use hb_service::testing::process::run_alone;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use uuid::Uuid;

use crate::common::World;

const MARKER: &str = "s3cr3tmarker";

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn host() -> HostKey {
    HostKey::new(Fleet::main(), "web-01".parse().unwrap())
}

fn marked_notice() -> Notice {
    let mut notice = serde_json::to_value(notice("web-01", 1, Kind::Failing)).unwrap();
    notice["host"]["message"] = MARKER.into();
    serde_json::from_value(notice).unwrap()
}

async fn beats(ports: &Ports) {
    let heartbeats = &ports.heartbeats;
    let beat = Beat {
        signal: Signal::Fail,
        message: Some(Message::from(MARKER.to_owned())),
        ..Beat::ok(Timestamp::MIN)
    };
    let heard = Heard {
        key: host(),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    let _ = heartbeats.record(&heard).await;
    let _ = heartbeats.load(&host()).await;
    let _ = heartbeats.scan(Segment::WHOLE, None).await;
    let _ = heartbeats.mend(&[heard], Timestamp::MIN).await;
    let _ = heartbeats.check().await;
    let _ = heartbeats.forget(&host(), Timestamp::MIN).await;
}

async fn records(ports: &Ports) {
    let entry = Entry::new(host());
    let receiver = Receiver::new(Region::local());
    for expected in [None, None, Some(7)] {
        let _ = ports.ledger.swap(&entry, expected, Uuid::nil()).await;
        let _ = ports.receivers.swap(&receiver, expected, Uuid::nil()).await;
    }
    let _ = ports.ledger.load(&host()).await;
    let _ = ports.ledger.open(Segment::WHOLE, None).await;
    let _ = ports.digests.open(Segment::WHOLE, None).await;
    let region = Region::local();
    let sweep = CompletedSweep {
        began: Timestamp::MIN,
        ended: Timestamp::MIN,
        hosts: 1,
        program: String::new(),
    };
    let _ = ports.system.record_sweep(&region, &sweep).await;
    let _ = ports.system.last_sweep(&region).await;
    let act = Act {
        id: ActId::new(Timestamp::MIN, 0, [0; 8]),
        at: Timestamp::MIN,
        who: Who::new(MARKER),
        kind: ActKind::Restore,
        target: MARKER.to_owned(),
        old: None,
        new: Some(MARKER.into()),
    };
    let _ = ports.audit.record(&act).await;
    let _ = ports.audit.list(Timestamp::MIN, None).await;
}

async fn keys(ports: &Ports, token: &Token) {
    let key = key_of(token);
    let keys = &ports.keys;
    let _ = keys.create(&key).await;
    let _ = keys.load(&key.id).await;
    let _ = keys.expire(&key.id, Timestamp::MIN).await;
    let _ = keys.note_use(&key.id, Timestamp::MIN).await;
    let _ = keys.revoke(&key.id, Timestamp::MIN).await;
    let _ = keys.list(None).await;
}

async fn subscriptions(ports: &Ports, token: &ConfirmationToken) {
    let endpoints = [
        (Protocol::Https, format!("https://example.com/{MARKER}")),
        (Protocol::Email, format!("{MARKER}@example.com")),
    ];
    let subscriptions = &ports.subscriptions;
    for (protocol, address) in endpoints {
        let subscription = Subscription {
            id: protocol.to_string().parse().unwrap(),
            endpoint: Endpoint::parse(protocol, &address).unwrap(),
            filter: Filter::default(),
            webhook: Webhook::default(),
            created: Timestamp::MIN,
        };
        let _ = subscriptions.add(&subscription, token).await;
    }
    let _ = subscriptions.list(None).await;
    let _ = subscriptions.states().await;
    let _ = subscriptions.confirm(token).await;
}

async fn deliveries(ports: &Ports) {
    let _ = ports.topic.publish(&marked_notice()).await;
    let _ = ports.topic.check().await;
    let echoes = ports.echoes.receive(false).await;
    let echoes = echoes.map(|page| page.items).unwrap_or_default();
    let receipts: Vec<_> = echoes.into_iter().map(|echo| echo.receipt).collect();
    let _ = ports.echoes.acknowledge(&receipts).await;
    let queue = ports.deliveries.as_ref().unwrap();
    let now = ports.clock.now();
    let _ = queue.due(now).await;
    let wanted = ["console", "https", "email"].map(|id| (id.parse().unwrap(), 9));
    let leased = queue
        .lease(wanted.into(), Vec::new(), Uuid::nil(), now, now)
        .await;
    for leased in leased.unwrap_or_default() {
        let outcome = DeliveryOutcome::Dead {
            error: MARKER.to_owned(),
        };
        let _ = queue.settle(&leased, Uuid::nil(), outcome, now).await;
    }
    let _ = queue.tally().await;
    let _ = queue.clean(now).await;
    let _ = ports.subscriptions.remove(&"https".parse().unwrap()).await;
}

async fn call_all(world: &World, api_key: &Token, token: &ConfirmationToken) {
    beats(&world.ports).await;
    records(&world.ports).await;
    keys(&world.ports, api_key).await;
    subscriptions(&world.ports, token).await;
    deliveries(&world.ports).await;
}

#[test]
fn no_secret_reaches_the_spans_and_errors() {
    run_alone("spans::no_secret_is_logged_by_the_adapters");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn no_secret_is_logged_by_the_adapters() {
    let token = ConfirmationToken::from_random([7; 20]);
    let api_key = Token::new(KeyId::from_random([1; 7]), Secret::from_random([7; 32]));
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    for round in ["sound", "without tables"] {
        if round == "without tables" {
            // Every operation fails now, and its error is logged.
            for table in ["heartbeats", "ledger", "digests", "receivers", "keys"] {
                world.sql(&format!("DROP TABLE {table}"));
            }
            world.sql("DROP TABLE subscriptions; DROP TABLE deliveries; DROP TABLE notices");
            world.sql("DROP TABLE system; DROP TABLE audit");
        }
        call_all(&world, &api_key, &token).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for expected in [
        "record{host=main/web-01}",
        "no such table: heartbeats",
        "settle{number=1",
        "record{act=restore}",
        "no such table: audit",
        "key=main/web-01 expected=None}",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    assert!(
        !log.contains("ERROR") && !log.contains("INFO"),
        "only at debug level"
    );
    let hash = format!("{:?}", api_key.secret().hash().as_bytes());
    for hidden in [
        MARKER,
        token.reveal(),
        &api_key.reveal(),
        &hash,
        "example.com",
    ] {
        assert!(!log.contains(hidden), "{hidden} in {log}");
    }
}
