//! Each act of an admin is recorded: who, what, old and new. One that cannot be recorded is done and remembered.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Act, ActKind, Endpoint, Filter, Interval, KeyLimits, Protocol, Region, Timestamp, Who, limits,
};
use hb_service::admin::{
    Auditor, HostAdmin, Imported, InRegion, KeyAdmin, KeyRequest, RegionalTopic, SubscriptionAdmin,
};
use hb_service::ports::{Clock, Identity, Keys, PortError, PortResult};
use hb_service::testing::memory::{Memory, auditor};
use serde_json::json;

use crate::{Bench, host};

const DAY: Duration = Duration::from_hours(24);

/// All acts, without their ids.
async fn acts(auditor: &Auditor) -> Vec<Act> {
    let page = auditor.list(Timestamp::MIN, None).await.unwrap();
    assert!(page.next.is_none() && page.unreadable.is_empty());
    page.items
}

/// The acts as `act target: old -> new`.
async fn told(auditor: &Auditor) -> Vec<String> {
    let value = |value: Option<serde_json::Value>| value.map_or("-".to_owned(), |v| v.to_string());
    let line = |act: Act| {
        let (old, new) = (value(act.old), value(act.new));
        format!("{} {}: {old} -> {new}", act.kind, act.target)
    };
    acts(auditor).await.into_iter().map(line).collect()
}

fn hosts(bench: &Bench) -> HostAdmin {
    HostAdmin {
        ports: bench.ports(),
        region: Region::local(),
        auditor: auditor(&bench.ports()),
    }
}

fn keys(bench: &Bench) -> KeyAdmin {
    KeyAdmin {
        ports: bench.ports(),
        auditor: auditor(&bench.ports()),
    }
}

fn request(name: &str) -> KeyRequest {
    KeyRequest {
        name: name.parse().unwrap(),
        scope: hb_domain::Scope::Ingest,
        fleet: "lab".parse().unwrap(),
        host_prefixes: vec!["web-".parse().unwrap()],
        expires_in: Some(DAY),
        limits: KeyLimits::default(),
    }
}

#[tokio::test]
async fn what_is_done_to_a_host_is_recorded_with_what_was_before() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    let web = host("web-01");
    bench.beat("web-01").await;
    let ten_minutes = Interval::from_millis(600_000).ok();
    let until = bench.clock.now().plus(DAY);
    hosts.set_interval(&web, ten_minutes).await.unwrap();
    hosts.pause(&web, Some(until)).await.unwrap();
    hosts.resume(&web).await.unwrap();
    hosts.set_interval(&web, None).await.unwrap();
    hosts.pause(&web, None).await.unwrap();
    bench.pass(1);
    hosts.forget(&web).await.unwrap();
    hosts.resume(&web).await.unwrap_err();
    hosts.pause(&host("typo"), None).await.unwrap_err();
    let state = |paused: bool, until: Option<Timestamp>, interval: Option<u64>| {
        let until = until.map(|until| until.to_string());
        json!({"paused": paused, "pausedUntil": until, "intervalMs": interval}).to_string()
    };
    let (plain, slow) = (state(false, None, None), state(false, None, Some(600_000)));
    let slow_paused = state(true, Some(until), Some(600_000));
    let paused = state(true, None, None);
    let expected = [
        format!("host set main/web-01: {plain} -> {slow}"),
        format!("host pause main/web-01: {slow} -> {slow_paused}"),
        format!("host resume main/web-01: {slow_paused} -> {slow}"),
        format!("host set main/web-01: {slow} -> {plain}"),
        format!("host pause main/web-01: {plain} -> {paused}"),
        format!("host forget main/web-01: {paused} -> -"),
    ];
    assert_eq!(told(&hosts.auditor).await, expected);
    let acts = acts(&hosts.auditor).await;
    assert!(acts.iter().all(|act| act.who.to_string() == "tester"));
    assert_eq!(acts[5].at, bench.clock.now());
}

#[tokio::test]
async fn what_is_done_to_keys_is_recorded_without_their_secrets() {
    let bench = Bench::new();
    let keys = keys(&bench);
    let first = keys.create_key(request("web")).await.unwrap();
    let id = first.key.id;
    let rotated = keys.rotate_key(&id, Duration::from_hours(1)).await.unwrap();
    keys.revoke_key(&id).await.unwrap();
    keys.revoke_key(&id).await.unwrap();
    keys.rotate_key(&id, DAY).await.unwrap_err();
    let names: Vec<_> = (0..30)
        .map(|n| format!("key {n}").parse().unwrap())
        .collect();
    let imported = Imported {
        created: 30,
        existing: 2,
        taken: 1,
        names,
    };
    keys.imported("keys.csv", &imported).await;

    let now = bench.clock.now();
    let state = |expires: Timestamp, revoked: Option<Timestamp>| {
        let (expires, revoked) = (expires.to_string(), revoked.map(|at| at.to_string()));
        json!({"name": "web", "fleet": "lab", "scope": "ingest", "hostPrefixes": ["web-"], "maxHosts": null, "maxInterval": null,
               "expires": expires, "revoked": revoked})
    };
    let created = state(now.plus(DAY), None);
    let soon = now.plus(Duration::from_hours(1));
    let (next, mut replaced) = (&rotated.created.key.id, state(soon, None));
    let (expiring, revoked) = (replaced.clone(), state(soon, Some(now)));
    replaced["replacedBy"] = json!(next);
    let mut expected = vec![
        format!("key create {id}: - -> {created}"),
        format!("key create {next}: - -> {created}"),
        format!("key rotate {id}: {created} -> {replaced}"),
        format!("key revoke {id}: {expiring} -> {revoked}"),
        format!("key revoke {id}: {revoked} -> {revoked}"),
    ];
    let names: Vec<_> = (0..limits::AUDIT_NAMES)
        .map(|n| format!("key {n}"))
        .collect();
    let import = json!({"created": 30, "existing": 2, "taken": 1, "names": names});
    expected.push(format!("key import keys.csv: - -> {import}"));
    let told = told(&keys.auditor).await;
    assert_eq!(told, expected);
    let token = first.token.reveal();
    let secret = token.rsplit('_').next().unwrap();
    assert!(!told.concat().contains(secret));
}

fn topic(memory: &Arc<Memory>, region: &str) -> RegionalTopic {
    RegionalTopic {
        region: region.parse().unwrap(),
        topic: memory.clone(),
        subscriptions: memory.clone(),
    }
}

#[tokio::test]
async fn what_is_done_to_subscriptions_is_recorded_by_region_and_hides_the_address() {
    let bench = Bench::new();
    let other = Arc::new(Memory::default());
    let admin = SubscriptionAdmin {
        topics: vec![
            topic(&bench.memory, "eu-west-1"),
            topic(&other, "us-east-1"),
        ],
        deliveries: None,
        clock: bench.clock.clone(),
        ids: bench.ids.clone(),
        auditor: auditor(&bench.ports()),
    };
    let url = "https://user:s3cr3t@example.com/s3cr3t";
    let endpoint = Endpoint::parse(Protocol::Https, url).unwrap();
    let filter = Filter {
        fleet: "lab".parse().ok(),
        ..Filter::default()
    };
    other.fail_with(Some("no answer"));
    let added = admin.add(endpoint, filter, false).await.unwrap();
    let id = added.subscription.id;
    other.fail_with(None);
    admin.remove(&id).await;
    let gone = admin.remove(&id).await;
    assert!(
        gone.iter()
            .all(|InRegion { result, .. }| matches!(result, Ok(false)))
    );
    let state = |regions| {
        json!({"protocol": "https", "endpoint": "https://example.com", "fleet": "lab", "kinds": [],
               "severities": [], "hostPrefixes": [], "regions": regions})
    };
    let new = state(json!({"eu-west-1": "done", "us-east-1": "failed"}));
    let mut old = state(json!(null));
    old.as_object_mut().unwrap().remove("regions");
    let removed = json!({"regions": {"eu-west-1": "done", "us-east-1": "was not there"}});
    let expected = [
        format!("subscription add {id}: - -> {new}"),
        format!("subscription remove {id}: {old} -> {removed}"),
    ];
    assert_eq!(told(&admin.auditor).await, expected);
}

#[tokio::test]
async fn an_act_that_cannot_be_recorded_is_done_and_remembered() {
    let bench = Bench::new();
    let audit = Arc::new(Memory::default());
    let mut ports = bench.ports();
    ports.audit = audit.clone();
    let auditor = auditor(&ports);
    let keys = KeyAdmin {
        ports,
        auditor: auditor.clone(),
    };
    audit.fail_with(Some("the disk is full"));
    let created = keys.create_key(request("web")).await.unwrap();
    audit.fail_with(None);
    keys.revoke_key(&created.key.id).await.unwrap();
    let id = created.key.id;
    let stored = Keys::load(&*bench.memory, &id).await.unwrap().unwrap();
    assert!(stored.revoked.is_some());
    let lines: Vec<_> = auditor
        .take_unrecorded()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = format!(
        "done, but not recorded in the audit: key create {id}: table audit is unavailable: the disk is full"
    );
    assert_eq!(lines, [expected]);
    assert!(auditor.take_unrecorded().is_empty());
    let acts = acts(&auditor).await;
    assert_eq!(
        acts.iter().map(|act| act.kind).collect::<Vec<_>>(),
        [ActKind::KeyRevoke]
    );
}

/// Nobody knows who it is.
struct Nobody;

#[async_trait]
impl Identity for Nobody {
    async fn who(&self) -> PortResult<Who> {
        Err(PortError::unavailable("STS", "no answer"))
    }
}

#[tokio::test]
async fn an_act_of_nobody_knows_whom_is_not_recorded_as_somebodys() {
    let bench = Bench::new();
    let auditor = Auditor::new(&bench.ports(), Arc::new(Nobody));
    auditor.record(ActKind::Restore, "a.db", None, None).await;
    let unrecorded = auditor.take_unrecorded();
    assert_eq!(unrecorded.len(), 1);
    assert_eq!(
        unrecorded[0].cause,
        "who did it is not known: STS is unavailable: no answer"
    );
    assert_eq!(acts(&auditor).await, []);
}

#[tokio::test]
async fn acts_are_listed_for_400_days_and_no_longer() {
    let bench = Bench::new();
    let auditor = auditor(&bench.ports());
    for target in ["first", "second"] {
        auditor.record(ActKind::Migrate, target, None, None).await;
        bench.pass(1);
    }
    let shown = async |since: Timestamp| {
        let page = auditor.list(since, None).await.unwrap();
        page.items
            .into_iter()
            .map(|act| act.target)
            .collect::<Vec<_>>()
    };
    let now = bench.clock.now();
    assert_eq!(shown(now.minus(Duration::from_secs(1))).await, ["second"]);
    assert_eq!(shown(now).await, [] as [&str; 0]);
    bench.pass(400 * 86_400 - 2);
    assert_eq!(shown(Timestamp::MIN).await, ["first", "second"]);
    bench.pass(1);
    assert_eq!(shown(Timestamp::MIN).await, ["second"]);
    bench.pass(1);
    assert_eq!(shown(Timestamp::MIN).await, [] as [&str; 0]);
}
