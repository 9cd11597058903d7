//! The function `ingest`: the same answers as the local server, and what else it owes.

use std::sync::Arc;
use std::time::Duration;

use hb_aws::{Clients, DynamoHeartbeats, Stage};
use hb_domain::{Fleet, HostPrefix, KeyLimits, KeyName, Region, Scope, Signal};
use hb_service::admin::{KeyAdmin, KeyRequest};
use hb_service::ports::{Heartbeats, Segment};
use hb_service::system::{SystemClock, SystemIds};
use hb_service::testing::memory::auditor;
use serde_json::{Value, json};

use super::front::Front;
use super::function::Function;
use super::gateways::Gateway;
use super::requests::{self, Stored};
use crate::dynoxide::Account;
use crate::fleet::host;

/// A stage with keys, and the function before it.
pub(super) struct World {
    pub(super) account: Account,
    pub(super) front: Front,
    heartbeats: DynamoHeartbeats,
    key_admin: KeyAdmin,
    pub(super) function: Function,
    pub(super) key: String,
}

impl World {
    pub(super) async fn new(variables: &[(&str, &str)]) -> Self {
        let account = Account::new();
        let (clients, stage) = account.stage().await;
        let front = Front::of(&account).await;
        let function = Function::start("ingest", &front, variables).await;
        let key_admin = key_admin(&clients, &stage);
        let heartbeats = DynamoHeartbeats::new(&clients, &stage);
        let key = key(&key_admin, Scope::Ingest, &[]).await;
        function.hides(&key[16..]);
        Self {
            account,
            front,
            heartbeats,
            key_admin,
            function,
            key,
        }
    }

    /// The answer to a beat by path, through a function URL.
    pub(super) async fn beat(&self, host: &str) -> Value {
        self.function.invoke(&beat(host, &self.key)).await.unwrap()
    }

    /// What is stored of all hosts, in order.
    async fn stored(&self) -> Vec<Stored> {
        let page = self.heartbeats.scan(Segment::WHOLE, None).await.unwrap();
        let mut all = Vec::new();
        for scanned in page.items {
            assert_eq!(scanned.region, "eu-west-1".parse::<Region>().unwrap());
            // A scan leaves the messages out.
            let heard = self
                .heartbeats
                .load(&scanned.key)
                .await
                .unwrap()
                .remove(0)
                .heartbeat;
            let failed = heard.signal == Signal::Fail;
            let message = heard.failure.and_then(|failure| failure.message);
            all.push(Stored {
                host: scanned.key.host.to_string(),
                signal: if failed { "fail" } else { "ok" }.to_owned(),
                interval_ms: u64::from(heard.interval).try_into().unwrap(),
                message: message.map(|message| message.as_str().to_owned()),
            });
        }
        all.sort();
        all
    }
}

pub(super) fn key_admin(clients: &Clients, stage: &Stage) -> KeyAdmin {
    let ports = hb_aws::ports(clients, stage, Arc::new(SystemClock), Arc::new(SystemIds));
    let auditor = auditor(&ports);
    KeyAdmin { ports, auditor }
}

pub(super) async fn key(key_admin: &KeyAdmin, scope: Scope, prefixes: &[HostPrefix]) -> String {
    let (name, fleet, host_prefixes) = (KeyName::first(), Fleet::main(), prefixes.to_vec());
    let request = KeyRequest {
        name,
        scope,
        fleet,
        host_prefixes,
        expires_in: None,
        limits: KeyLimits::default(),
    };
    key_admin.create_key(request).await.unwrap().token.reveal()
}

/// A beat by path, through a function URL.
pub(super) fn beat(host: &str, key: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": format!("/v1/heartbeat/{host}"), "rawQueryString": "",
        "headers": {"x-api-key": key}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": "GET"}, "domainName": "x.lambda-url.eu-west-1.on.aws", "stage": "$default"},
    })
}

async fn answers_as_the_table_says(gateway: Gateway) {
    let world = World::new(&[]).await;
    let prefixed = key(&world.key_admin, Scope::Ingest, &["web".parse().unwrap()]).await;
    let read = key(&world.key_admin, Scope::Read, &[]).await;
    let typo = format!("{}x", world.key);
    for key in [&prefixed, &read] {
        world.function.hides(&key[16..]);
    }
    let mut cases = requests::cases();
    let (single, staged) = (gateway == Gateway::Balancer, gateway == Gateway::HttpApiOld);
    cases.retain(|case| case.arrives(single, staged));
    for case in &cases {
        let key = match case.key.as_str() {
            "prefixed" => &prefixed,
            "read" => &read,
            "typo" => &typo,
            _ => &world.key,
        };
        for base64 in [false, true] {
            let event = gateway.event(case, key, base64);
            let answer = world
                .function
                .invoke(&event)
                .await
                .unwrap_or_else(|e| panic!("{}: {e}", case.what));
            let (status, headers, body) = gateway.answer(&answer);
            case.check(gateway.decodes_paths(), status, &headers, &body);
        }
    }
    let mut expected: Vec<_> = cases
        .iter()
        .filter_map(|case| case.stored(gateway.decodes_paths()))
        .collect();
    expected.sort();
    assert_eq!(world.stored().await, expected);
}

macro_rules! gateways {
    ($($name:ident: $gateway:ident),+) => {
        $(#[tokio::test]
        async fn $name() {
            answers_as_the_table_says(Gateway::$gateway).await;
        })+

        #[test]
        fn every_gateway_is_tested() {
            assert_eq!([$(Gateway::$gateway),+].len(), Gateway::ALL.len());
        }
    };
}

gateways! {
    a_function_url_answers_as_the_local_server: FunctionUrl,
    an_http_api_answers_as_the_local_server: HttpApi,
    an_http_api_in_format_1_answers_as_the_local_server: HttpApiOld,
    a_rest_api_answers_as_the_local_server: RestApi,
    a_balancer_answers_as_the_local_server: Balancer,
    a_balancer_with_lists_answers_as_the_local_server: BalancerLists
}

#[tokio::test]
async fn a_warm_beat_is_one_update_and_nothing_else() {
    let world = World::new(&[]).await;
    world.beat("web-01").await;
    let cold = world.front.calls();
    assert_eq!(
        cold,
        ["GetItem", "UpdateItem", "UpdateItem"],
        "the key is looked up, and the day of its use noted"
    );
    for _ in 0..3 {
        assert_eq!(world.beat("web-01").await["statusCode"], 200);
        assert_eq!(world.front.calls(), ["UpdateItem"]);
    }
    let status = json!({"httpMethod": "GET", "path": "/v1/status", "requestContext": {"elb": {}}});
    for calls in [
        vec!["UpdateItem", "DescribeTable", "GetTopicAttributes"],
        vec![],
    ] {
        assert_eq!(
            world.function.invoke(&status).await.unwrap()["statusCode"],
            200
        );
        assert_eq!(world.front.calls(), calls);
    }
}

#[tokio::test]
async fn beats_are_limited_for_each_key() {
    let world = World::new(&[("HB_RATE_LIMIT", "2")]).await;
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(world.beat("web-01").await["statusCode"].as_u64().unwrap());
    }
    assert_eq!(statuses[..20], [200; 20], "ten seconds' worth at once");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn each_request_is_one_line_of_metrics() {
    const BEATS: usize = 7;
    let world = World::new(&[]).await;
    for host in 0..BEATS {
        world.beat(&format!("web-{host}")).await;
    }
    world.beat("web 01").await;
    world.function.invoke(&beat("web-01", "")).await.unwrap();
    let lines = world.function.metrics(BEATS + 2).await;
    let sum = |metric: &str| {
        lines
            .iter()
            .filter_map(|line| line[metric].as_f64())
            .sum::<f64>()
    };
    // Nine requests, of which seven were stored at one unit each, one strong read of the key, and the day of its use.
    assert_eq!(lines.len(), BEATS + 2, "{lines:#?}");
    let sums = ["Beats", "RefusedBeats", "WriteUnits", "ReadUnits"].map(sum);
    assert_eq!(json!(sums), json!([7.0, 2.0, 8.0, 1.0]), "{lines:#?}");
    let reasons: Vec<_> = lines
        .iter()
        .filter_map(|line| line["Reason"].as_str())
        .collect();
    assert_eq!(reasons, ["invalid_host_id", "unauthenticated"]);
    assert!(lines.iter().all(|line| line["Stage"] == "test"));
}

#[tokio::test]
async fn an_answer_comes_before_the_function_ends() {
    let world = World::new(&[]).await;
    world.beat("web-01").await;
    world.front.slow("UpdateItem", Duration::from_secs(10));
    let answer = world
        .function
        .invoke_for(&beat("web-01", &world.key), Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(answer["statusCode"], 408, "{answer}");
    assert_eq!(
        world.heartbeats.load(&host("web-01")).await.unwrap().len(),
        1
    );
}
