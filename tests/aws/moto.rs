//! The same on `moto`, a second reading of AWS's documentation; and what SNS delivers to a queue.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_sqs::types::Message;
use hb_aws::{
    Clients, SnsSubscriptions, SnsTopic, Stage, TopicArn, create_stage, find_stage, https,
};
use hb_domain::{
    About, ConfirmationToken, Endpoint, Filter, Fleet, HostKey, Kind, Notice, Protocol,
    Publication, Region, Subscription, Timestamp, Webhook,
};
use hb_service::ports::{
    Cursor, Heard, Heartbeats, Page, PortResult, Segment, Subscriptions, Topic,
};
use hb_service::testing::contract::World;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::fleet::{self, at};

/// Runs a server until this process is gone, which closes its standard input.
const SERVER: &str = "
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger('werkzeug').disabled = True
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print('http://%s:%d' % server.get_host_and_port(), flush=True)
sys.stdin.read()
";

/// The server's URL; `None` when there is none, which is said aloud, and is a failure in CI.
pub(crate) fn server() -> Option<&'static str> {
    static SERVED: OnceLock<Option<String>> = OnceLock::new();
    SERVED.get_or_init(start).as_deref()
}

fn start() -> Option<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = set("HB_MOTO_URL") {
        return Some(url);
    }
    let Some(python) = set("HB_MOTO") else {
        assert!(
            set("CI").is_none(),
            "in CI the tests on moto must not be skipped: set HB_MOTO or HB_MOTO_URL"
        );
        eprintln!(
            "SKIPPED: the tests on moto did NOT run. Set HB_MOTO to a Python with moto[server]."
        );
        return None;
    };
    #[expect(
        clippy::zombie_processes,
        reason = "it ends when this process has ended, which cannot wait for it"
    )]
    let mut server = Command::new(&python)
        .args(["-c", SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    assert!(!url.is_empty(), "{python} has no moto[server]");
    // Its standard input stays open as long as this process lives.
    std::mem::forget(server.stdin.take());
    Some(url.trim().to_owned())
}

/// What a test needs of a stage of its own.
pub(crate) struct Deployed {
    pub(crate) clients: Clients,
    pub(crate) raw: aws_types::SdkConfig,
    pub(crate) stage: Stage,
    pub(crate) topic: TopicArn,
}

pub(crate) async fn deploy() -> Option<Deployed> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let url = server()?;
    let config = crate::dynoxide::config(url).http_client(https());
    let raw = config.behavior_version(BehaviorVersion::latest()).build();
    let name = format!(
        "t{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::SeqCst)
    );
    let (clients, stage) = (Clients::new(&raw), Stage::parse(&name).unwrap());
    let topic = create_stage(&clients, &stage).await.unwrap();
    Some(Deployed {
        clients,
        raw,
        stage,
        topic,
    })
}

async fn fresh() -> Option<World> {
    let deployed = deploy().await?;
    let raw = aws_sdk_dynamodb::Client::new(&deployed.raw);
    let mut world = fleet::world(&deployed.clients, raw, &deployed.stage, 300);
    world.ports.heartbeats = Arc::new(Narrow {
        heartbeats: world.ports.heartbeats,
        door: Semaphore::new(4),
    });
    Some(world)
}

/// Lets a few beats through at a time: hundreds of connections at once are more than a server in Python accepts within
/// the time that a beat has.
struct Narrow {
    heartbeats: Arc<dyn Heartbeats>,
    door: Semaphore,
}

#[async_trait]
impl Heartbeats for Narrow {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let _through = self.door.acquire().await.unwrap();
        self.heartbeats.record(heard).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        self.heartbeats.load(host).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.heartbeats.scan(segment, after).await
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.heartbeats.mend(ahead, now).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.heartbeats.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.heartbeats.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        self.heartbeats.check().await
    }
}

mod contract {
    use super::fresh;
    hb_service::contract_suite!(fresh);
}

/// A notice of `kind` in `fleet`.
fn notice(fleet: &str, kind: Kind) -> Notice {
    serde_json::from_value(json!({
        "id": "K7Q2M9XA4T", "attempt": 1, "kind": kind, "fleet": fleet,
        "host": {"hostId": "web-01", "since": at(60), "lastBeat": at(0), "interval": 60_000, "epoch": 7,
                 "message": "füll", "before": null},
        "at": at(61), "region": "eu-west-1",
    }))
    .unwrap()
}

/// SNS has tokens of its own.
fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

/// A queue that listens to the topic.
struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    async fn listen(deployed: &Deployed, name: &str, filter: Filter) -> (Self, Subscription) {
        let client = aws_sdk_sqs::Client::new(&deployed.raw);
        let name = format!("{}-{name}", deployed.stage.echo());
        let url = client
            .create_queue()
            .queue_name(&name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        let arn = format!("arn:aws:sqs:eu-west-1:123456789012:{name}");
        let endpoint = Endpoint::parse(Protocol::Sqs, &arn).unwrap();
        let id = name.parse().unwrap();
        let subscription = Subscription {
            id,
            endpoint,
            filter,
            webhook: Webhook::default(),
            created: at(0),
        };
        assert!(
            subscriptions(deployed)
                .add(&subscription, &token())
                .await
                .unwrap()
        );
        (Self { client, url }, subscription)
    }

    /// All that has arrived. Nothing more is to come: moto delivers before it answers.
    async fn messages(&self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let request = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(10);
            let some = request
                .message_attribute_names("All")
                .send()
                .await
                .unwrap()
                .messages
                .unwrap_or_default();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

fn subscriptions(deployed: &Deployed) -> SnsSubscriptions {
    SnsSubscriptions::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone())
}

#[tokio::test]
async fn a_notice_reaches_a_queue_as_it_is() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let (queue, _) = Queue::listen(&deployed, "all", Filter::default()).await;
    let topic = SnsTopic::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone());
    let notice = notice("lab", Kind::Missing);
    assert_eq!(topic.publish(&notice).await, Publication::Accepted);
    let [message] = &queue.messages().await[..] else {
        panic!("one message")
    };
    // Raw: the notice itself, not the envelope of SNS.
    let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
    assert_eq!(body, notice.json());
    let attributes: HashMap<_, _> = message.message_attributes().unwrap().iter().collect();
    let told = |name: &str| attributes[&name.to_owned()].string_value().unwrap();
    let all = ["kind", "fleet", "id", "attempt", "severity"].map(told);
    assert_eq!(all, ["missing", "lab", "K7Q2M9XA4T", "1", "critical"]);
}

#[tokio::test]
async fn sns_does_not_recognise_a_second_copy_but_people_can() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let (queue, _) = Queue::listen(&deployed, "all", Filter::default()).await;
    let topic = SnsTopic::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone());
    let first = notice("main", Kind::Missing);
    let second = Notice {
        attempt: 2,
        ..first.clone()
    };
    for notice in [&first, &second] {
        assert_eq!(topic.publish(notice).await, Publication::Accepted);
    }
    let bodies = queue
        .messages()
        .await
        .into_iter()
        .map(|message| message.body.unwrap());
    let mut copies: Vec<_> = bodies
        .map(|body| serde_json::from_str::<Value>(&body).unwrap())
        .map(|body| {
            (
                body["id"].as_str().unwrap().to_owned(),
                body["attempt"].as_u64().unwrap(),
            )
        })
        .collect();
    copies.sort();
    assert_eq!(
        copies,
        [("K7Q2M9XA4T".to_owned(), 1), ("K7Q2M9XA4T".to_owned(), 2)]
    );
}

#[tokio::test]
async fn filters_decide_who_gets_what_until_one_is_removed() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let filter = Filter {
        fleet: Some("lab".parse().unwrap()),
        kinds: vec![Kind::Missing, Kind::Recovered],
        ..Filter::default()
    };
    let (some, subscription) = Queue::listen(&deployed, "some", filter).await;
    let (all, _) = Queue::listen(&deployed, "all", Filter::default()).await;
    let topic = SnsTopic::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone());
    for (fleet, kind) in [
        ("lab", Kind::Missing),
        ("lab", Kind::Registered),
        ("main", Kind::Missing),
        ("lab", Kind::Recovered),
    ] {
        assert_eq!(
            topic.publish(&notice(fleet, kind)).await,
            Publication::Accepted
        );
    }
    assert_eq!(
        (some.messages().await.len(), all.messages().await.len()),
        (2, 4)
    );
    assert!(
        subscriptions(&deployed)
            .remove(&subscription.id)
            .await
            .unwrap()
    );
    assert_eq!(
        topic.publish(&notice("lab", Kind::Missing)).await,
        Publication::Accepted
    );
    assert_eq!(
        (some.messages().await.len(), all.messages().await.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn a_subscription_to_a_site_gets_its_messages_and_tests() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let filter = Filter {
        kinds: vec![Kind::Missing],
        host_prefixes: vec!["restaurant-17/".parse().unwrap()],
        ..Filter::default()
    };
    let (site, _) = Queue::listen(&deployed, "site", filter).await;
    let topic = SnsTopic::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone());
    let of = |host: &str| {
        let mut notice = notice("main", Kind::Missing);
        if let About::Host(about) = &mut notice.about {
            about.host_id = host.parse().unwrap();
        }
        notice
    };
    let digest = |hosts: &[&str]| -> Notice {
        let members: Vec<_> = hosts.iter().map(|host| json!([host, 1, 0])).collect();
        serde_json::from_value(json!({
            "id": "K7Q2M9XA4T", "attempt": 1, "kind": "missing", "fleet": "main", "members": members,
            "at": 1_700_000_061_000_i64, "region": "eu-west-1",
        }))
        .unwrap()
    };
    let region = Region::local();
    for (notice, wanted) in [
        (of("restaurant-17/pos-3"), true),
        (of("restaurant-17/bar/pos-1"), true),
        (of("restaurant-17"), false),
        (of("restaurant-170/pos-3"), false),
        (
            digest(&["restaurant-16/pos-1", "restaurant-17/pos-1", "web-01"]),
            true,
        ),
        (digest(&["restaurant-16/pos-1", "web-01"]), false),
        (
            Notice::test(Fleet::main(), Kind::Missing, region.clone(), Timestamp::MIN),
            true,
        ),
        (
            Notice::test(Fleet::main(), Kind::Recovered, region, Timestamp::MIN),
            false,
        ),
    ] {
        assert_eq!(topic.publish(&notice).await, Publication::Accepted);
        let got = site.messages().await.len();
        assert_eq!(got, usize::from(wanted), "{}", notice.about_whom());
    }
}

/// The table that the embedded topic is held to as well.
#[tokio::test]
async fn sns_filters_as_the_shared_table_says() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let cases: Vec<Value> = serde_json::from_str(include_str!("../shared/filters.json")).unwrap();
    let mut queues = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
        queues.push(
            Queue::listen(&deployed, &format!("case-{i}"), filter)
                .await
                .0,
        );
    }
    let topic = SnsTopic::new(&deployed.clients, &deployed.stage).at(deployed.topic.clone());
    for fleet in ["main", "lab"] {
        for kind in Kind::ALL {
            let region = "eu-west-1".parse().unwrap();
            let notice = Notice::test(fleet.parse().unwrap(), kind, region, at(0));
            assert_eq!(topic.publish(&notice).await, Publication::Accepted);
        }
    }
    for (case, queue) in cases.iter().zip(queues) {
        let bodies = queue
            .messages()
            .await
            .into_iter()
            .map(|message| message.body.unwrap());
        let bodies: Vec<Value> = bodies
            .map(|body| serde_json::from_str(&body).unwrap())
            .collect();
        assert!(bodies.iter().all(|body| body["test"] == true), "{bodies:?}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut told: Vec<_> = bodies
            .iter()
            .map(|b| format!("{}/{}", text(&b["fleet"]), text(&b["kind"])))
            .collect();
        let mut expected: Vec<_> = case["delivered"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{}", case["filter"]);
    }
}

#[tokio::test]
async fn an_endpoint_listens_once_and_the_console_never() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let (_, taken) = Queue::listen(&deployed, "all", Filter::default()).await;
    let again = Subscription {
        id: "other".parse().unwrap(),
        ..taken.clone()
    };
    let error = subscriptions(&deployed)
        .add(&again, &token())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("is already subscribed as {}", taken.id)),
        "{error}"
    );
    let endpoint = Endpoint::parse(Protocol::Console, "").unwrap();
    let console = Subscription {
        id: "other".parse().unwrap(),
        endpoint,
        ..taken
    };
    let error = subscriptions(&deployed)
        .add(&console, &token())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("AWS has no console endpoint"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stage_is_made_once_and_found_again() {
    let Some(deployed) = deploy().await else {
        return;
    };
    assert_eq!(
        create_stage(&deployed.clients, &deployed.stage)
            .await
            .unwrap(),
        deployed.topic
    );
    assert_eq!(
        find_stage(&deployed.clients, &deployed.stage)
            .await
            .unwrap()
            .topic,
        deployed.topic
    );
}

#[tokio::test]
async fn a_stage_that_is_not_there_is_named() {
    let Some(deployed) = deploy().await else {
        return;
    };
    let nowhere = Stage::parse("nowhere").unwrap();
    let error = find_stage(&deployed.clients, &nowhere)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(
        "table hb-nowhere-ledger is unavailable: table hb-nowhere-ledger does not exist"
    ));
    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/hb-nowhere-ledger";
    let topic = SnsTopic::new(&deployed.clients, &nowhere)
        .at(TopicArn::beside_table(&nowhere, arn).unwrap());
    let error = topic.check().await.unwrap_err().to_string();
    assert!(error.starts_with(
        "topic hb-nowhere-notices is unavailable: topic hb-nowhere-notices does not exist"
    ));
    let outcome = topic.publish(&notice("main", Kind::Missing)).await;
    assert!(matches!(outcome, Publication::Refused(_)), "{outcome:?}");
}
