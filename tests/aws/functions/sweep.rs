//! The function `sweep`: what it tells, how it ends.

use std::time::Duration;

use aws_sdk_dynamodb::config::BehaviorVersion;
use hb_aws::{Clients, DynamoHeartbeats, DynamoLedger, DynamoSystem, Stage, create_stage, https};
use hb_domain::{Beat, Entry, Heartbeat, Region, State, Timestamp};
use hb_service::ports::{Clock, CompletedSweep, Heard, Heartbeats, Ledger, System};
use hb_service::system::SystemClock;
use serde_json::{Value, json};

use super::front::Front;
use super::function::{Function, told};
use super::runtime_api::Reply;
use crate::dynoxide::{self, Account};
use crate::faults::{THROTTLED, dice};
use crate::fleet::{self, host};
use crate::moto;

/// The event of a schedule; what it says does not matter.
pub(super) fn scheduled() -> Value {
    json!({"version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}"})
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

pub(super) fn region() -> Region {
    "eu-west-1".parse().unwrap()
}

/// A beat of `name` some time ago, with the interval of 10 minutes.
pub(super) fn heard(name: &str, ago: Duration) -> Heard {
    let beat = Beat::ok(now().minus(ago));
    Heard {
        key: host(name),
        region: region(),
        heartbeat: Heartbeat::new(beat),
    }
}

/// A stage that has been swept before, behind a socket.
pub(super) struct World {
    pub(super) account: Account,
    pub(super) front: Front,
    pub(super) clients: Clients,
    pub(super) stage: Stage,
}

impl World {
    pub(super) async fn new() -> Self {
        let account = Account::new();
        let (clients, stage) = account.stage().await;
        let began = now().minus(Duration::from_mins(30));
        let swept = CompletedSweep {
            began,
            ended: began,
            hosts: 0,
            program: String::new(),
        };
        DynamoSystem::new(&clients, &stage)
            .record_sweep(&region(), &swept)
            .await
            .unwrap();
        fleet::send_at_once(&clients, &stage).await;
        let front = Front::of(&account).await;
        Self {
            account,
            front,
            clients,
            stage,
        }
    }

    pub(super) fn heartbeats(&self) -> DynamoHeartbeats {
        DynamoHeartbeats::new(&self.clients, &self.stage)
    }

    /// A host that fell silent 50 minutes ago.
    pub(super) async fn silent_host(&self) {
        self.heartbeats()
            .record(&heard("web-01", Duration::from_hours(1)))
            .await
            .unwrap();
    }

    pub(super) async fn last_sweep(&self) -> CompletedSweep {
        DynamoSystem::new(&self.clients, &self.stage)
            .last_sweep(&region())
            .await
            .unwrap()
            .unwrap()
    }

    async fn state(&self) -> Option<State> {
        let stored = Ledger::<Entry>::load(
            &DynamoLedger::new(&self.clients, &self.stage),
            &host("web-01"),
        )
        .await
        .unwrap();
        stored.map(|stored| stored.record.state)
    }
}

/// A queue behind the topic of a stage, both of moto.
pub(super) struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    pub(super) async fn listen(moto: &str, stage: &Stage) -> Self {
        let config = dynoxide::config(moto)
            .http_client(https())
            .behavior_version(BehaviorVersion::latest());
        let config = config.build();
        let topic = create_stage(&Clients::new(&config), stage).await.unwrap();
        let client = aws_sdk_sqs::Client::new(&config);
        let name = format!("{}-{}", stage.echo(), std::process::id());
        let url = client
            .create_queue()
            .queue_name(&name)
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        let subscribe = aws_sdk_sns::Client::new(&config)
            .subscribe()
            .topic_arn(topic.as_str())
            .protocol("sqs");
        let queue = format!("arn:aws:sqs:eu-west-1:123456789012:{name}");
        subscribe
            .endpoint(queue)
            .attributes("RawMessageDelivery", "true")
            .send()
            .await
            .unwrap();
        Self { client, url }
    }

    /// What has arrived. Nothing more is to come: moto delivers before it answers.
    pub(super) async fn notices(&self) -> Vec<Value> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10);
        let messages = request.send().await.unwrap().messages.unwrap_or_default();
        messages
            .iter()
            .map(|message| serde_json::from_str(message.body().unwrap()).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_silent_host_is_told_once_through_sns_also_by_two_at_once() {
    let Some(sns) = moto::server() else { return };
    let world = World::new().await;
    let queue = Queue::listen(sns, &world.stage).await;
    world.silent_host().await;
    let start = || Function::start_at("sweep", &world.front.url, sns, &[]);
    let (one, other) = tokio::join!(start(), start());
    // So that both have seen the silence before one of them claims.
    world.front.slow("Scan", Duration::from_millis(500));
    let event = scheduled();
    let (a, b) = tokio::join!(one.invoke(&event), other.invoke(&event));
    let count = |done: &Reply, member: &str| {
        done.as_ref().unwrap()["passes"][0][member]
            .as_u64()
            .unwrap()
    };
    let sum = |member: &str| count(&a, member) + count(&b, member);
    assert_eq!((sum("missing"), sum("accepted")), (1, 1), "{a:?} {b:?}");
    for function in [&one, &other] {
        let quiet = function.invoke(&event).await.unwrap();
        assert_eq!(
            (&quiet["passes"][0]["missing"], &quiet["passes"][0]["hosts"]),
            (&json!(0), &json!(1))
        );
    }
    let notices = queue.notices().await;
    let [notice] = &notices[..] else {
        panic!("one notice, not {notices:?}")
    };
    assert_eq!(
        (&notice["kind"], &notice["hosts"][0]["hostId"]),
        (&json!("missing"), &json!("web-01"))
    );
    assert_eq!(world.state().await, Some(State::Missing));
}

#[tokio::test]
async fn a_sweep_that_runs_out_of_time_says_how_far_it_came_and_begins_anew() {
    let world = World::new().await;
    let function = Function::start("sweep", &world.front, &[]).await;
    // Warm, so that the invocation that counts is under way at once.
    function.invoke(&scheduled()).await.unwrap();
    world.silent_host().await;
    let before = world.last_sweep().await;
    world.front.slow("Scan", Duration::from_secs(4));
    // Nothing begins in the last 20 s, which come while the hosts are read.
    let error = function
        .invoke_for(&scheduled(), Duration::from_secs(23))
        .await
        .unwrap_err();
    assert_eq!(error["errorType"], "PassesFailed");
    let text = "1 of 1 passes failed, the last one because: it ran out of time";
    assert_eq!(error["errorMessage"], text);
    let metrics = function.metrics(2).await.remove(1);
    assert_eq!(
        told(&metrics, ["SweepCompleted", "HostsScanned", "Claims"]),
        json!([0.0, 1.0, 0.0])
    );
    let log = function.log(1).await;
    let [line] = &log[..] else {
        panic!("one line, not {log:#?}")
    };
    assert_eq!(
        (&line["level"], &line["hosts"], &line["missing"]),
        (&json!("ERROR"), &json!(1), &json!(0))
    );
    assert_eq!(line["message"], "the sweep failed: it ran out of time");
    assert_eq!(
        (world.last_sweep().await, world.state().await),
        (before.clone(), None)
    );

    world.front.slow("Scan", Duration::ZERO);
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(
        told(&done["passes"][0], ["hosts", "missing", "accepted"]),
        json!([1, 1, 1])
    );
    let metrics = function.metrics(3).await.remove(2);
    let names = [
        "SweepCompleted",
        "HostsScanned",
        "Claims",
        "NoticesAccepted",
    ];
    assert_eq!(told(&metrics, names), json!([1.0, 1.0, 1.0, 1.0]));
    // Claim, lease, outcome and the turn of the group, each in the table and in its index of open records; the completed
    // sweep; and the incarnation, which is drawn once.
    assert_eq!(metrics["WriteUnits"], 10.0);
    assert!(world.last_sweep().await.began > before.began);
}

#[tokio::test]
async fn throttling_slows_a_sweep_down_and_does_not_fail_it() {
    const HOSTS: usize = 40;
    let world = World::new().await;
    for i in 0..HOSTS {
        let silent = heard(&format!("web-{i:02}"), Duration::from_hours(1));
        world.heartbeats().record(&silent).await.unwrap();
    }
    let function = Function::start("sweep", &world.front, &[]).await;
    let unlucky = dice(40);
    world
        .account
        .fail(move |operation| (operation != "Publish" && unlucky()).then_some(THROTTLED));
    let done = function.invoke(&scheduled()).await.unwrap();
    let pass = &done["passes"][0];
    assert_eq!(
        told(pass, ["hosts", "missing", "accepted"]),
        json!([HOSTS, HOSTS, 1]),
        "{pass}"
    );
    assert_eq!(world.account.accepted().len(), 1, "a digest");
    assert_eq!(function.metrics(1).await[0]["SweepCompleted"], 1.0);
}

/// What runs when is in `crates/lambda/src/passes/tests.rs`; here, that the setting arrives.
#[tokio::test]
async fn passes_that_do_not_fit_into_the_time_are_skipped_and_told() {
    let world = World::new().await;
    let function = Function::start("sweep", &world.front, &[("HB_SWEEP_EVERY_S", "15")]).await;
    // Before the last 20 s, only the first of four passes begins.
    let done = function
        .invoke_for(&scheduled(), Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(done["passes"].as_array().unwrap().len(), 1);
    assert_eq!((&done["failed"], &done["skipped"]), (&json!(0), &json!(3)));
    let log = function.log(1).await;
    let text = "3 passes did not fit into the function's timeout; set it to at least 80 s";
    assert_eq!(
        (&log[0]["level"], &log[0]["message"]),
        (&json!("WARN"), &json!(text))
    );
}

#[tokio::test]
async fn a_publish_under_way_is_waited_for() {
    let world = World::new().await;
    let function = Function::start("sweep", &world.front, &[]).await;
    function.invoke(&scheduled()).await.unwrap();
    world.silent_host().await;
    world.front.slow("Publish", Duration::from_secs(5));
    // What may begin has 3 s; the publish takes 5 s.
    let done = function
        .invoke_for(&scheduled(), Duration::from_secs(23))
        .await
        .unwrap();
    assert_eq!(done["passes"][0]["accepted"], 1);
    let ledger = DynamoLedger::new(&world.clients, &world.stage);
    let pending = Ledger::<Entry>::load(&ledger, &host("web-01"))
        .await
        .unwrap();
    assert_eq!(pending.unwrap().record.pending, None);
}

#[tokio::test]
async fn a_failed_pass_is_an_error_and_the_next_invocation_works() {
    let world = World::new().await;
    world.silent_host().await;
    let function = Function::start("sweep", &world.front, &[("HB_SEGMENTS", "2")]).await;
    world
        .account
        .fail(|operation| (operation == "Scan").then_some("AccessDeniedException"));
    let error = function.invoke(&scheduled()).await.unwrap_err();
    let text = error["errorMessage"].as_str().unwrap();
    assert!(
        text.contains("1 of 1 passes failed") && text.contains("Scan"),
        "{text}"
    );
    assert_eq!(function.metrics(1).await[0]["SweepCompleted"], 0.0);
    world.account.fail(|_| None);
    world.front.calls();
    for event in [json!({}), Value::Null, json!("anything")] {
        let done = function.invoke(&event).await.unwrap();
        assert_eq!(
            (&done["failed"], &done["passes"][0]["hosts"]),
            (&json!(0), &json!(1))
        );
    }
    let scans = world
        .front
        .calls()
        .iter()
        .filter(|call| *call == "Scan")
        .count();
    assert_eq!(scans, 3 * 2, "one for each segment");
}
