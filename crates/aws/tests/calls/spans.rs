//! Spans of the adapters: one for each operation, and no secret in any of them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hb_domain::{
    Act, ActId, ActKind, ConfirmationToken, Endpoint, Entry, Filter, Fleet, Key, KeyId, KeyLimits,
    Notice, NoticeId, Protocol, Region, Scope, Secret, Signal, Subscription, Webhook, Who,
};
use hb_service::ports::{CompletedSweep, Ports, Segment};
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_service::testing::process::run_alone;
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use uuid::Uuid;

use crate::script::{Answer, Script, at, heard, host, stage};

/// In the address of a webhook, in messages, in receipts and in a note.
const SECRET: &str = "s3cr3t";

/// Every operation of the ports that makes a request, in the order of [`call_all`].
const OPERATIONS: [&str; 31] = [
    "record{",
    "load{",
    "scan{",
    "mend{",
    "forget{",
    "check", // heartbeats
    "load{",
    "swap{",
    "open{",
    "load{",
    "open{",
    "load{",
    "open{", // records
    "load{",
    "create{",
    "revoke{",
    "expire{",
    "note_use{",
    "list", // keys
    "publish{",
    "check",
    "receive",
    "acknowledge{", // topic and echoes
    "add{",
    "states",
    "confirm",
    "remove{", // subscriptions
    "last_sweep{",
    "record_sweep{", // system
    "record{",
    "list", // audit
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every value in it that could leak holds `secret` or is one itself.
fn subscription() -> Subscription {
    Subscription {
        id: "abc".parse().unwrap(),
        endpoint: Endpoint::parse(Protocol::Https, &format!("https://example.com/{SECRET}"))
            .unwrap(),
        filter: Filter::default(),
        webhook: Webhook::default(),
        created: at(0),
    }
}

fn key() -> Key {
    Key {
        id: KeyId::from_random([1; 7]),
        name: "nightly".parse().unwrap(),
        hash: Secret::from_random([2; 32]).hash(),
        fleet: Fleet::main(),
        scope: Scope::Ingest,
        host_prefixes: vec![],
        created: at(0),
        expires: None,
        revoked: None,
        used: None,
        limits: KeyLimits::default(),
        hosts: 0,
    }
}

fn notice() -> Notice {
    serde_json::from_value(json!({
        "id": "K7Q2M9XA4T", "attempt": 1, "kind": "missing", "fleet": "main",
        "host": {"hostId": "web-01", "since": 1, "lastBeat": 1, "interval": 60_000, "epoch": 7, "message": SECRET,
                 "before": null},
        "at": 1, "region": "eu-west-1",
    }))
    .unwrap()
}

/// Calls every operation; whether it succeeds does not matter.
async fn call_all(ports: &Ports) {
    let region: Region = "eu-west-1".parse().unwrap();
    let mut failure = heard(0, Signal::Fail);
    failure.heartbeat.failure.as_mut().unwrap().message = Some(SECRET.to_owned().into());
    let _ = ports.heartbeats.record(&failure).await;
    let _ = ports.heartbeats.load(&host()).await;
    let _ = ports.heartbeats.scan(Segment::WHOLE, None).await;
    let _ = ports.heartbeats.mend(&[failure], at(-3_600)).await;
    let _ = ports.heartbeats.forget(&host(), at(0)).await;
    let _ = ports.heartbeats.check().await;

    let entry = Entry::new(host()).paused(at(0), None).unwrap();
    let digest: NoticeId = "K7Q2M9XA4T".parse().unwrap();
    let _ = ports.ledger.load(&host()).await;
    let _ = ports.ledger.swap(&entry, None, Uuid::nil()).await;
    let _ = ports.ledger.open(Segment::WHOLE, None).await;
    let _ = ports.digests.load(&digest).await;
    let _ = ports.digests.open(Segment::WHOLE, None).await;
    let _ = ports.receivers.load(&region).await;
    let _ = ports.receivers.open(Segment::WHOLE, None).await;

    let key = key();
    let _ = ports.keys.load(&key.id).await;
    let _ = ports.keys.create(&key).await;
    let _ = ports.keys.revoke(&key.id, at(0)).await;
    let _ = ports.keys.expire(&key.id, at(0)).await;
    let _ = ports.keys.note_use(&key.id, at(0)).await;
    let _ = ports.keys.list(None).await;

    let _ = ports.topic.publish(&notice()).await;
    let _ = ports.topic.check().await;
    let _ = ports.echoes.receive(false).await;
    let _ = ports.echoes.acknowledge(&[SECRET.to_owned()]).await;

    let id = subscription().id;
    let _ = ports.subscriptions.add(&subscription(), &token()).await;
    let _ = ports.subscriptions.states().await;
    let _ = ports.subscriptions.confirm(&token()).await;
    let _ = ports.subscriptions.remove(&id).await;

    let sweep = CompletedSweep {
        began: at(0),
        ended: at(1),
        hosts: 1,
        program: String::new(),
    };
    let _ = ports.system.last_sweep(&region).await;
    let _ = ports.system.record_sweep(&region, &sweep).await;

    let act = Act {
        id: ActId::new(at(0), 0, [0; 8]),
        at: at(0),
        who: Who::new(SECRET),
        kind: ActKind::SubscriptionAdd,
        target: SECRET.to_owned(),
        old: None,
        new: Some(SECRET.into()),
    };
    let _ = ports.audit.record(&act).await;
    let _ = ports.audit.list(at(0), None).await;
}

fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

/// What the adapters write at `trace` when every request gets `answer`.
async fn log_of(answer: Answer) -> String {
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_span_events(FmtSpan::NEW)
        .with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry()
        .with(Targets::new().with_target("hb_aws", LevelFilter::TRACE))
        .with(layer);
    let _guard = tracing::subscriber::set_default(subscriber);
    let script = Script::new([answer]);
    let clock = Arc::new(ManualClock::new(at(0)));
    let ids = Arc::new(CountingIds::default());
    call_all(&hb_aws::ports(&script.clients(), &stage(), clock, ids)).await;
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn each_operation_has_a_span_without_secrets() {
    run_alone("spans::each_operation_logs_a_span_without_secrets");
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn each_operation_logs_a_span_without_secrets() {
    let table = "arn:aws:dynamodb:eu-west-1:123456789012:table/hb-prod-ledger";
    let text = |text: &str| json!({"S": text});
    let taken = json!({
        "kind": text("subscription/eu-west-1"), "name": text("other"), "arn": text("arn:1"),
        "protocol": text("https"), "address": text(&format!("https://example.com/{SECRET}")),
        "filter": text("{}"), "created": {"N": "1"},
    });
    let answers = [
        // The endpoint is taken, and nothing else is as it should be.
        Answer::done(json!({
            "Items": [taken], "Table": {"TableArn": table}, "QueueUrl": "https://sqs.invalid/echo",
            "Messages": [{"MessageId": "1", "ReceiptHandle": SECRET, "Body": SECRET}],
        })),
        Answer::error("AccessDeniedException"),
    ];
    let secrets = [
        SECRET.to_owned(),
        token().reveal().to_owned(),
        format!("{:?}", Secret::from_random([2; 32]).hash()),
        "example.com".to_owned(),
        "web-01: ".to_owned(),
    ];
    for answer in answers {
        let log = log_of(answer).await;
        let spans = log.lines().filter(|line| line.ends_with(": new"));
        // Some operations call another, whose span is inside their own.
        let outer: Vec<_> = spans
            .filter(|line| line.split("}:").skip(1).all(|rest| rest.starts_with(' ')))
            .collect();
        for (operation, span) in OPERATIONS.iter().zip(&outer) {
            assert!(
                span.contains(&format!(" {operation}")),
                "{operation}: {span}"
            );
        }
        assert_eq!(outer.len(), OPERATIONS.len(), "{log}");
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{secret} is in {log}");
        }
    }
}
