//! A second opinion: DynamoDB, SNS and SQS by `moto`, over HTTP. `HB_MOTO_URL` says where it listens
//! (`moto_server -p 5555`); without it these tests are skipped, which CI does not allow.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures::FutureExt;
use hb_aws::{Clients, SnsSubscriptions, SnsTopic, Stage, create_stage};
use hb_domain::{
    Beat, Endpoint, Entry, Filter, Fleet, Heartbeat, HostKey, Interval, Kind, Notice, Protocol, Publication,
    Rules, Signal, Subscription, SubscriptionId, Timestamp, decide,
};
use hb_service::contract::{self, World};
use hb_service::ports::{Subscriptions, Topic};

use crate::world;

/// Where moto listens; says loudly that a test is skipped when nobody says.
fn url() -> Option<String> {
    let url = std::env::var("HB_MOTO_URL").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must not skip this test: HB_MOTO_URL is not set");
        let _ = writeln!(std::io::stderr(), "SKIPPED: HB_MOTO_URL is not set");
    }
    url
}

fn config(url: &str) -> SdkConfig {
    SdkConfig::builder()
        .region(Region::from_static("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys("id", "secret", None)))
        .http_client(hb_aws::https())
        .behavior_version(BehaviorVersion::latest())
        .build()
}

async fn fresh(url: &str) -> World {
    let config = config(url);
    let client = aws_sdk_dynamodb::Client::new(&config);
    let spoil = Arc::new(move |table: String, host: String, region: String| {
        let client = client.clone();
        let garbage = || AttributeValue::S("garbage".to_owned());
        async move {
            let put =
                client.put_item().table_name(table).item("h", AttributeValue::S(host)).item("l", garbage());
            let put = put.item("entry", garbage()).item("writer", garbage());
            let put = put.item("version", AttributeValue::N("1".to_owned()));
            let put = put.item("open", AttributeValue::N("0".to_owned()));
            let put = if region.is_empty() { put } else { put.item("r", AttributeValue::S(region)) };
            put.send().await.unwrap();
        }
        .boxed()
    });
    // It answers one request at a time: enough hosts to see that none is lost.
    world::stage(&Clients::new(&config), 300, spoil, Box::new(())).await
}

macro_rules! on_moto {
    ($($case:ident),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            if let Some(url) = url() {
                contract::$case(fresh(&url).await).await;
            }
        })+
    };
}

on_moto!(
    newer_beat_wins,
    regions_are_kept_apart_and_follow_each_other,
    a_scan_finds_every_host_once,
    unreadable_heartbeats_are_told_and_skipped,
    forgetting_spares_a_newer_beat,
    a_store_in_order_passes_its_check,
    an_entry_is_swapped_as_a_whole,
    a_swap_needs_the_expected_version,
    of_64_writers_one_wins,
    a_lost_reply_is_recognised,
    only_open_entries_are_listed_page_by_page,
    unreadable_entries_are_told_and_skipped,
    keys_are_created_revoked_and_listed,
    subscriptions_are_added_listed_and_removed,
    the_last_completed_sweep_is_remembered,
    silence_is_told_once_and_so_is_the_return,
    of_two_sweeps_at_once_one_claims,
);

fn missing(host: &str) -> Notice {
    let at = |seconds: i64| Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap();
    let interval = Interval::from_millis(60_000).unwrap();
    let beat = Beat { at: at(0), interval, signal: Signal::Ok, message: None };
    let key = HostKey::new(Fleet::main(), host.parse().unwrap());
    let entry = decide(&Entry::new(key), &Heartbeat::new(beat), at(61), &Rules::default()).unwrap();
    Notice::of(&entry, &"eu-central-1".parse().unwrap()).unwrap()
}

/// From the topic into a queue: the JSON of the notice, and only what the filter lets through.
#[tokio::test]
async fn a_notice_reaches_the_queues_whose_filter_wants_it() {
    let Some(url) = url() else { return };
    let (config, stage) =
        (config(&url), Stage::parse(&uuid::Uuid::new_v4().simple().to_string()[..12]).unwrap());
    let clients = Clients::new(&config);
    let arn = create_stage(&clients, &stage).await.unwrap();
    let (topic, subscriptions) =
        (SnsTopic::new(&clients, arn.clone()), SnsSubscriptions::new(&clients, &stage, arn));
    let sqs = aws_sdk_sqs::Client::new(&config);
    let mut queues = Vec::new();
    for (n, kind) in [(1, Kind::Missing), (2, Kind::Recovered)] {
        let queue =
            sqs.create_queue().queue_name(format!("{stage}-{kind}")).send().await.unwrap().queue_url.unwrap();
        let endpoint = format!("arn:aws:sqs:eu-central-1:123456789012:{stage}-{kind}");
        let subscription = Subscription {
            id: SubscriptionId::from_random([n; 5]),
            endpoint: Endpoint::parse(Protocol::Sqs, &endpoint).unwrap(),
            filter: Filter { fleet: Some(Fleet::main()), kinds: vec![kind] },
            created: Timestamp::MIN,
        };
        assert!(subscriptions.add(&subscription).await.unwrap());
        queues.push(queue);
    }
    let notice = missing("web-01");
    assert_eq!(topic.publish(&notice).await, Publication::Accepted);
    let receive = async |queue: &str| {
        let answer = sqs.receive_message().queue_url(queue).max_number_of_messages(10).send().await.unwrap();
        answer.messages.unwrap_or_default().into_iter().filter_map(|message| message.body).collect::<Vec<_>>()
    };
    let mut wanted = Vec::new();
    for _ in 0..50 {
        wanted.extend(receive(&queues[0]).await);
        if !wanted.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let bodies: Vec<serde_json::Value> =
        wanted.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(bodies, [notice.json()]);
    assert_eq!(receive(&queues[1]).await, Vec::<String>::new(), "the filter keeps it out");
}
