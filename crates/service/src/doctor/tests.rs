use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{
    Endpoint, Entry, Filter, Fleet, FleetSettings, Key, KeyId, KeyLimits, Phase, Protocol,
    Receiver, Scope, Secret, Subscription, SubscriptionState, Webhook, WebhookSecret,
};
use serde_json::json;

use super::*;
use crate::ports::{CONSOLE, CompletedSweep, Tally, Unreadable};
use crate::testing::memory::{CountingIds, ManualClock, Memory, ports};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).unwrap()
}

fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
    findings.iter().map(|finding| finding.verdict).collect()
}

#[test]
fn an_old_last_sweep_is_a_warning_and_then_a_problem() {
    let usual = Expectations::local();
    let swept = |age| CompletedSweep {
        began: now().minus(age),
        ended: now().minus(age),
        hosts: 3,
        program: String::new(),
    };
    let verdict = |age: Duration| rules::sweep(Some(&swept(age)), &usual, now()).verdict;
    let verdicts = [20, 300, 301, 3_900, 3_901].map(|s| verdict(Duration::from_secs(s)));
    assert_eq!(
        verdicts,
        [
            Verdict::Ok,
            Verdict::Ok,
            Verdict::Warning,
            Verdict::Warning,
            Verdict::Problem
        ]
    );
    let deployed = Expectations::deployed("eu-west-1".parse().unwrap());
    assert_eq!(
        rules::sweep(Some(&swept(11 * MINUTE)), &deployed, now()).verdict,
        Verdict::Problem
    );
    let ahead = CompletedSweep {
        began: now(),
        ended: now().plus(MINUTE),
        hosts: 3,
        program: String::new(),
    };
    let finding = rules::sweep(Some(&ahead), &usual, now());
    assert!(
        finding.verdict == Verdict::Problem && finding.cause.contains("in the future"),
        "{finding:?}"
    );
    assert_eq!(
        rules::sweep(None, &usual, now()).cause,
        "no sweep has ever completed: silent hosts are not detected"
    );
}

#[test]
fn the_age_of_the_last_canary_gives_the_verdict() {
    let usual = Expectations::local();
    let mut receiver = Receiver::new(Region::local());
    let verdict = |receiver: &Receiver| rules::receiver(Some(receiver), &usual, now())[0].verdict;
    assert_eq!(verdict(&receiver), Verdict::Problem);
    for (age, expected) in [
        (2, Verdict::Ok),
        (10, Verdict::Warning),
        (60, Verdict::Problem),
    ] {
        receiver.heard = Some(now().minus(Duration::from_secs(age)));
        assert_eq!(verdict(&receiver), expected, "{age}");
    }
    assert_eq!(
        rules::receiver(None, &usual, now())[0].verdict,
        Verdict::Problem,
        "none of this region"
    );
    receiver.heard = Some(now());
    receiver.holds.insert(Fleet::main(), now().minus(MINUTE));
    let findings = rules::receiver(Some(&receiver), &usual, now());
    assert_eq!(verdicts(&findings), [Verdict::Ok, Verdict::Problem]);
    assert!(
        findings[1]
            .cause
            .starts_with("notices of fleet main have been held since ")
    );
}

fn entry(host: &str, decided: Timestamp) -> Entry {
    serde_json::from_value(json!({
        "fleet": "main", "host": host, "state": "missing", "epoch": 1, "basis": 0,
        "pending": {"phase": "pending", "not_before": 0, "attempt": 4},
        "history": [{"epoch": 1, "kind": "missing", "since": 0, "last_beat": 0, "interval": 60_000, "at": decided}],
    }))
    .unwrap()
}

#[test]
fn a_notice_pending_for_long_is_stuck() {
    let fresh = entry("a", now().minus(MINUTE));
    let default = BTreeMap::new();
    assert_eq!(
        rules::notices(std::slice::from_ref(&fresh), &default, "", now()).verdict,
        Verdict::Ok
    );
    let old = (0..7).map(|n| entry(&format!("web-{n}"), now().minus(11 * MINUTE)));
    let open: Vec<_> = old.chain([fresh]).collect();
    let finding = rules::notices(&open, &default, "revive", now());
    assert_eq!(finding.verdict, Verdict::Problem);
    let expected = "7 stuck, the oldest for 11 min, after up to 4 attempts: main/web-0, main/web-1, main/web-2, \
                    main/web-3, main/web-4 and 2 more";
    assert_eq!(finding.cause, expected);
}

/// The default waits are 30 s and twice 5 min.
#[test]
fn a_notice_that_waits_in_its_group_is_not_stuck() {
    let stuck = |decided: u32, not_before: u32, settings: FleetSettings| {
        let at = |minutes: u32| now().minus(minutes * MINUTE);
        let mut entry = entry("a", at(decided));
        let not_before = at(not_before);
        entry.pending.as_mut().unwrap().attempt = 0;
        entry.pending.as_mut().unwrap().phase = Phase::Pending { not_before };
        let settings = BTreeMap::from([(Fleet::main(), settings)]);
        rules::notices(&[entry], &settings, "", now()).verdict == Verdict::Problem
    };
    let default = FleetSettings::default();
    assert_eq!([20, 21].map(|at| stuck(at, at, default)), [false, true]);
    assert!(!stuck(40, 20, default), "its host flaps");
    assert!(stuck(11, 11, FleetSettings::AT_ONCE));
}

fn key(name: &str, expires: Option<Timestamp>) -> Key {
    Key {
        id: KeyId::from_random(
            [name.len().try_into().unwrap(); 7].map(|n: u8| n)[..]
                .try_into()
                .unwrap(),
        ),
        name: name.parse().unwrap(),
        hash: Secret::from_random([7; 32]).hash(),
        fleet: Fleet::main(),
        scope: Scope::Ingest,
        host_prefixes: Vec::new(),
        created: Timestamp::MIN,
        expires,
        revoked: None,
        used: None,
        limits: KeyLimits::default(),
        hosts: 0,
    }
}

#[test]
fn keys_that_expire_soon_or_expired_recently_are_reported() {
    assert_eq!(
        rules::keys(&[], now())[0].cause,
        "no active key can send beats: every beat is refused"
    );
    let cases: [(Option<Timestamp>, &[Verdict]); 5] = [
        (None, &[Verdict::Ok]),
        (Some(now().plus(15 * DAY)), &[Verdict::Ok]),
        (Some(now().plus(13 * DAY)), &[Verdict::Warning]),
        (
            Some(now().minus(DAY)),
            &[Verdict::Problem, Verdict::Warning],
        ),
        (Some(now().minus(15 * DAY)), &[Verdict::Problem]),
    ];
    for (expires, expected) in cases {
        assert_eq!(
            verdicts(&rules::keys(&[key("web", expires)], now())),
            expected,
            "{expires:?}"
        );
    }
    let revoked = Key {
        revoked: Some(now()),
        ..key("web", Some(now().plus(DAY)))
    };
    assert_eq!(
        verdicts(&rules::keys(&[revoked, key("live", None)], now())),
        [Verdict::Ok],
        "a revoked key needs no successor"
    );
}

#[test]
fn findings_about_subscriptions_do_not_show_addresses() {
    assert_eq!(
        verdicts(&rules::subscriptions(&[], &BTreeMap::new(), None, now())),
        [Verdict::Warning]
    );
    let subscription = Subscription {
        id: "abc".parse().unwrap(),
        endpoint: Endpoint::parse(Protocol::Https, "https://example.com/s3cr3t").unwrap(),
        filter: Filter::default(),
        webhook: Webhook::new(false, Some(WebhookSecret::from_random([7; 32]))),
        created: now(),
    };
    let found = |tally| {
        let tally = BTreeMap::from([(subscription.id.clone(), tally)]);
        rules::subscriptions(
            std::slice::from_ref(&subscription),
            &BTreeMap::new(),
            Some(&tally),
            now(),
        )
    };
    let due = Tally {
        due: 3,
        ..Tally::default()
    };
    assert_eq!(
        verdicts(&found(due.clone())),
        [Verdict::Ok],
        "not failed yet"
    );
    let failing = Tally {
        failing_since: Some(now().minus(DAY)),
        next_try: Some(now().plus(Duration::from_secs(90))),
        last_error: Some("500".to_owned()),
        ..due
    };
    let waiting = found(failing.clone());
    assert_eq!(
        waiting[0].cause,
        "delivery to abc (https) has failed for 1 d; notices that wait: 3, next try in 1 min 30 s; last error: 500"
    );
    assert_eq!(verdicts(&waiting), [Verdict::Warning]);
    let under_way = Tally {
        next_try: Some(now()),
        ..failing.clone()
    };
    assert!(found(under_way)[0].cause.contains("next try now; "));
    let given_up = |ago| Tally {
        dead: 2,
        last_dead: Some(now().minus(ago)),
        ..failing.clone()
    };
    let dead = found(given_up(DAY));
    assert_eq!(verdicts(&dead), [Verdict::Problem, Verdict::Warning]);
    assert_eq!(
        dead[0].cause,
        "notices to abc (https) given up in the last 30 d: 2, the last one 1 d ago; last error: 500"
    );
    assert_eq!(verdicts(&found(given_up(DAY * 7))), [Verdict::Warning]);
    let console = BTreeMap::from([(CONSOLE.parse().unwrap(), failing.clone())]);
    let found = rules::subscriptions(
        std::slice::from_ref(&subscription),
        &BTreeMap::new(),
        Some(&console),
        now(),
    );
    assert!(
        found[0]
            .cause
            .starts_with("delivery to the console has failed for 1 d; ")
    );
    let finding = |state| {
        let states = BTreeMap::from([(subscription.id.clone(), state)]);
        rules::subscriptions(std::slice::from_ref(&subscription), &states, None, now()).remove(0)
    };
    assert!(
        finding(SubscriptionState::Confirmed)
            .cause
            .ends_with("the metric NumberOfNotificationsFailed of the topic")
    );
    assert_eq!(
        finding(SubscriptionState::Pending).cause,
        "abc (https) is not confirmed and receives nothing"
    );
    assert_eq!(
        [
            SubscriptionState::Confirmed,
            SubscriptionState::Pending,
            SubscriptionState::Gone
        ]
        .map(|state| finding(state).verdict),
        [Verdict::Ok, Verdict::Warning, Verdict::Problem]
    );
}

#[test]
fn only_a_webhook_of_our_own_topic_without_a_secret_is_reported_as_unsigned() {
    let unsigned = |protocol, address, local: bool| {
        let subscription = Subscription {
            id: "abc".parse().unwrap(),
            endpoint: Endpoint::parse(protocol, address).unwrap(),
            filter: Filter::default(),
            webhook: Webhook::default(),
            created: now(),
        };
        let tally = local.then(BTreeMap::new);
        let states = BTreeMap::new();
        let findings = rules::subscriptions(&[subscription], &states, tally.as_ref(), now());
        findings[0].cause.contains("is not signed")
    };
    assert!(unsigned(Protocol::Http, "http://example.com/", true));
    assert!(!unsigned(Protocol::Http, "http://example.com/", false));
    assert!(!unsigned(Protocol::Email, "a@example.com", true));
}

#[test]
fn clock_skew_is_a_warning_above_10_s_and_a_problem_from_5_min() {
    let skew = |seconds| clock_skew(now().plus(Duration::from_secs(seconds)), now()).verdict;
    assert_eq!(
        [10, 11, 299, 300].map(skew),
        [
            Verdict::Ok,
            Verdict::Warning,
            Verdict::Warning,
            Verdict::Problem
        ]
    );
    let finding = clock_skew(now().minus(MINUTE), now());
    assert_eq!(
        finding.cause,
        "the service's clock is 1 min behind this machine's"
    );
}

#[test]
fn unreadable_items_are_counted_and_the_first_is_named() {
    let item = Unreadable {
        key: "main/web-01".to_owned(),
        cause: "no JSON".to_owned(),
    };
    assert_eq!(rules::unreadable("ledger", &[]), []);
    let findings = rules::unreadable("ledger", &[item.clone(), item]);
    assert_eq!(
        findings[0].cause,
        "2 stored items cannot be read, the first is main/web-01: no JSON"
    );
}

#[tokio::test]
async fn a_failing_store_is_a_finding_for_each_thing() {
    let memory = Arc::new(Memory::default());
    let clock = Arc::new(ManualClock::new(now()));
    let doctor = Doctor {
        ports: ports(&memory, clock, Arc::new(CountingIds::default())),
        expectations: Expectations::local(),
    };
    let empty = doctor.examine(now()).await;
    let things: Vec<_> = empty
        .iter()
        .map(|finding| (finding.thing.as_str(), finding.verdict))
        .collect();
    let (problem, warning) = (Verdict::Problem, Verdict::Warning);
    let expected = [
        ("sweep", problem),
        ("canaries", problem),
        ("notices", Verdict::Ok),
        ("subscriptions", warning),
        ("keys", problem),
    ];
    assert_eq!(things, expected);
    memory.fail_with(Some("disk full"));
    let failing = doctor.examine(now()).await;
    assert_eq!(failing.len(), 5);
    assert!(
        failing
            .iter()
            .all(|f| f.verdict == problem && f.cause.contains("disk full")),
        "{failing:?}"
    );
}

#[test]
fn regions_with_different_programs_are_named() {
    let swept = |program: &str| CompletedSweep {
        began: now(),
        ended: now(),
        hosts: 3,
        program: program.to_owned(),
    };
    let found = |programs: &[&str]| {
        let regions = ["eu-west-1", "eu-central-1"].into_iter();
        let swept: Vec<_> = regions
            .zip(programs)
            .map(|(region, program)| (region.to_owned(), swept(program)))
            .collect();
        let finding = rules::programs(&swept)?;
        Some((finding.verdict, finding.cause))
    };
    assert_eq!(found(&[]), None);
    let (new, same) = (
        "0.2.0 (0d10dc84c91f)",
        (Verdict::Ok, "0.2.0 (0d10dc84c91f)".to_owned()),
    );
    assert_eq!(found(&[new]), Some(same.clone()));
    assert_eq!(found(&[new, new]), Some(same));
    let differ =
        "the regions differ: 0.2.0 (0d10dc84c91f) in eu-west-1, an earlier version in eu-central-1";
    assert_eq!(
        found(&[new, ""]),
        Some((Verdict::Warning, differ.to_owned()))
    );
}
