use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Entry, Heartbeat, HostKey, Interval, Kind, Receiver, Signal, State};
use hb_service::SweepSettings;
use hb_service::admin::{Expectation, HostAdmin, HostError, HostView};
use hb_service::ports::Ports;
use hb_service::ports::{Clock, Heard, Heartbeats, Ledger};
use hb_service::testing::memory::auditor;

use crate::races::{Eventful, change};
use crate::{Beats, Bench, at_once, host};

fn hosts(bench: &Bench) -> HostAdmin {
    HostAdmin {
        ports: bench.ports(),
        region: hb_domain::Region::local(),
        auditor: auditor(&bench.ports()),
    }
}

/// All hosts, or those after `after`.
async fn listed(hosts: &HostAdmin, after: Option<&HostKey>) -> Vec<HostView> {
    let mut listing = hosts.listing(after).await.unwrap();
    let mut all = Vec::new();
    while let Some((views, unreadable)) = listing.next_page().await.unwrap() {
        assert!(unreadable.is_empty());
        all.extend(views);
    }
    all
}

/// The states as an admin sees them, in the order of names.
async fn states(hosts: &HostAdmin) -> Vec<(String, State)> {
    listed(hosts, None)
        .await
        .into_iter()
        .map(|view| (view.key.host.to_string(), view.state))
        .collect()
}

#[tokio::test]
async fn a_listing_shows_the_state_of_each_host() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    for name in ["c", "a", "b"] {
        bench.beat(name).await;
    }
    bench.sweep().run().await.unwrap();
    hosts.pause(&host("b"), None).await.unwrap();
    bench.pass(61);
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let expected = [
        ("a", State::Up),
        ("b", State::Paused),
        ("c", State::Missing),
    ];
    assert_eq!(
        states(&hosts).await,
        expected.map(|(name, state)| (name.to_owned(), state))
    );
    assert_eq!(
        hosts.show(&host("c")).await.unwrap().entry.unwrap().epoch,
        2
    );
}

#[tokio::test]
async fn a_pause_expires_or_is_resumed_and_cannot_end_in_the_past() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    bench.beat("a").await;
    let now = bench.clock.now();
    assert!(matches!(
        hosts.pause(&host("a"), Some(now)).await,
        Err(HostError::Pause(_))
    ));
    hosts
        .pause(&host("a"), Some(now.plus(Duration::from_secs(100))))
        .await
        .unwrap();
    assert_eq!(hosts.show(&host("a")).await.unwrap().state, State::Paused);
    bench.pass(100);
    assert_eq!(hosts.show(&host("a")).await.unwrap().state, State::Up);
    hosts.pause(&host("a"), None).await.unwrap();
    bench.pass(1_000);
    let view = hosts.resume(&host("a")).await.unwrap();
    assert_eq!(
        view.deadline,
        Some(bench.clock.now().plus(Duration::from_mins(1)))
    );
    let slower = hosts
        .set_interval(&host("a"), Interval::from_millis(120_000).ok())
        .await
        .unwrap();
    assert_eq!(
        slower.deadline,
        Some(bench.clock.now().plus(Duration::from_mins(2)))
    );
}

#[tokio::test]
async fn a_forgotten_host_is_gone_until_it_beats_again() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    hosts.forget(&host("a")).await.unwrap();
    assert_eq!(states(&hosts).await, []);
    assert!(matches!(
        hosts.show(&host("a")).await,
        Err(HostError::NoSuchHost(_))
    ));
    assert!(matches!(
        hosts.forget(&host("a")).await,
        Err(HostError::NoSuchHost(_))
    ));
    bench.pass(1);
    bench.beat("a").await;
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(
        (
            report.decided[Kind::Registered],
            hosts.show(&host("a")).await.unwrap().entry.unwrap().epoch
        ),
        (1, 2)
    );
    let ids: std::collections::HashSet<_> = bench
        .memory
        .published()
        .into_iter()
        .map(|notice| notice.id)
        .collect();
    assert_eq!(ids.len(), 2, "each notice id is used once");
}

#[tokio::test]
async fn a_host_that_beats_while_being_forgotten_registers_again() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.pass(300);
    // Nothing is deleted: a newer beat has arrived, or the admin's machine crashed.
    let beats = Beats {
        forgets: false,
        ..Beats::of(&bench)
    };
    let kept = HostAdmin {
        ports: Ports {
            heartbeats: Arc::new(beats),
            ..bench.ports()
        },
        region: hb_domain::Region::local(),
        auditor: auditor(&bench.ports()),
    };
    kept.forget(&host("a")).await.unwrap();
    bench.sweep().run().await.unwrap();
    assert_eq!(kept.show(&host("a")).await.unwrap().state, State::Forgotten);
    bench.pass(1);
    bench.beat("a").await;
    assert_eq!(
        bench.sweep().run().await.unwrap().decided[Kind::Registered],
        1,
        "although its first beat is long ago"
    );
}

#[tokio::test]
async fn a_host_whose_beats_are_stored_in_another_region_registers_again() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.pass(300);
    let other = Receiver::new("us-east-1".parse().unwrap());
    let nil = uuid::Uuid::nil();
    bench.memory.swap(&other, None, nil).await.unwrap();
    // The admin's region stores nothing of the host. Its beats are stored in the other one, where nothing is deleted.
    let hosts = hosts(&bench);
    hosts.forget(&host("a")).await.unwrap();
    let stored = Ledger::<Entry>::load(&*bench.memory, &host("a")).await;
    let entry = stored.unwrap().unwrap().record;
    assert!(entry.is_open(), "a sweep must not take it for known");
}

#[tokio::test]
async fn a_host_forgotten_during_a_sweep_registers_again() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.beat(name).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(300);
    // Both are silent. After the claim of one, the other is forgotten; its beats are still stored.
    let (memory, now) = (bench.memory.clone(), bench.clock.now());
    let ledger = Eventful::after(&bench, move |nth, _| {
        if nth == 1 {
            change(&memory, &host("b"), |entry: Entry| {
                Some(entry.forgotten(now))
            });
        }
    });
    let settings = SweepSettings {
        concurrency: 1,
        ..at_once()
    };
    let sweep = bench
        .sweep_with(|ports| ports.ledger = Arc::new(ledger))
        .with_settings(settings);
    let report = sweep.run().await.unwrap();
    assert_eq!(report.decided[Kind::Missing], 1);
    bench.pass(1);
    bench.beat("b").await;
    assert_eq!(
        bench.sweep().run().await.unwrap().decided[Kind::Registered],
        1,
        "although its first beat is long ago"
    );
}

#[tokio::test]
async fn a_beat_under_way_while_its_host_is_forgotten_is_looked_at_once() {
    let bench = Bench::new();
    let calls = async || {
        let before = bench.memory.calls();
        assert_eq!(bench.sweep().run().await.unwrap().decided.total(), 0);
        bench.memory.calls() - before
    };
    bench.sweep().run().await.unwrap();
    let none = calls().await;
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.pass(1);
    let under_way = Heard {
        key: host("a"),
        region: hb_domain::Region::local(),
        heartbeat: Heartbeat::new(Beat::ok(bench.clock.now())),
    };
    bench.pass(1);
    bench.beat("a").await;
    hosts(&bench).forget(&host("a")).await.unwrap();
    bench.memory.record(&under_way).await.unwrap();
    bench.pass(3_600);
    assert!(calls().await > none);
    for _ in 0..3 {
        bench.pass(3_600);
        assert_eq!(calls().await, none, "it is no candidate any more");
    }
    bench.beat("a").await;
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(report.decided[Kind::Registered], 1);
}

/// Otherwise a crash in between would leave a host that is missing and has no beats: it could never recover.
#[tokio::test]
async fn a_host_whose_entry_cannot_be_changed_keeps_its_beats_when_it_is_forgotten() {
    let bench = Bench::new();
    bench.beat("a").await;
    let hosts = HostAdmin {
        ports: Ports {
            ledger: Arc::new(Eventful::unreachable(&bench)),
            ..bench.ports()
        },
        region: hb_domain::Region::local(),
        auditor: auditor(&bench.ports()),
    };
    hosts.forget(&host("a")).await.unwrap_err();
    let beats = Heartbeats::load(&*bench.memory, &host("a")).await.unwrap();
    assert_eq!(beats.len(), 1);
}

#[tokio::test]
async fn nothing_is_stored_for_an_unknown_host() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    let error = hosts.pause(&host("typo"), None).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no host main/typo");
    assert_eq!(
        Ledger::<Entry>::load(&*bench.memory, &host("typo"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        Heartbeats::load(&*bench.memory, &host("typo"))
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn concurrent_changes_of_an_entry_are_all_kept() {
    let bench = Bench::new();
    let hosts = Arc::new(hosts(&bench));
    bench.beat("a").await;
    let changes = (0..20).map(|i| {
        let hosts = hosts.clone();
        tokio::spawn(async move {
            hosts
                .set_interval(&host("a"), Interval::from_millis(1_000 + i).ok())
                .await
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap().unwrap();
    }
    let stored = Ledger::<Entry>::load(&*bench.memory, &host("a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.version, 20, "no change was lost");
}

#[tokio::test]
async fn a_listing_merges_regions_across_pages_and_resumes_after_a_host() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    let now = bench.clock.now();
    let names: Vec<_> = (0..157).map(|i| format!("host-{i:03}")).collect();
    for name in &names {
        for (region, earlier) in [("eu-west-1", 5), ("us-east-1", 0), ("us-west-2", 3)] {
            let at = now.minus(Duration::from_secs(earlier));
            let beat = Beat::ok(at);
            let (key, region) = (host(name), region.parse().unwrap());
            bench
                .memory
                .record(&Heard {
                    key,
                    region,
                    heartbeat: Heartbeat::new(beat),
                })
                .await
                .unwrap();
        }
    }
    let views = listed(&hosts, None).await;
    assert_eq!(
        views
            .iter()
            .map(|view| view.key.host.to_string())
            .collect::<Vec<_>>(),
        names
    );
    assert!(
        views
            .iter()
            .all(|view| view.heartbeat.as_ref().unwrap().last == now),
        "the newest of all regions"
    );
    let rest = listed(&hosts, Some(&host("host-099"))).await;
    let rest: Vec<_> = rest.iter().map(|view| view.key.host.to_string()).collect();
    assert_eq!(rest, names[100..]);
}

#[tokio::test]
async fn a_host_is_late_between_when_it_is_expected_and_its_deadline() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    bench.beat("a").await;
    let view = hosts
        .set(&host("a"), |entry| {
            let entry = entry.with_grace(Duration::from_secs(30).try_into().ok());
            Ok(entry.with_interval(Duration::from_mins(1).try_into().ok()))
        })
        .await
        .unwrap();
    assert_eq!(
        view.deadline,
        Some(bench.clock.now().plus(Duration::from_secs(90)))
    );
    assert_eq!(
        view.expected,
        Some(bench.clock.now().plus(Duration::from_mins(1)))
    );
    let late = async || {
        bench.sweep().run().await.unwrap();
        let view = hosts.show(&host("a")).await.unwrap();
        let listed = listed(&hosts, None).await;
        assert_eq!(view.late, listed[0].late);
        (view.state, view.late)
    };
    assert_eq!(late().await, (State::Up, false));
    for (seconds, expected) in [
        (60, (State::Up, false)),
        (1, (State::Up, true)),
        (29, (State::Up, true)),
        (1, (State::Missing, false)),
    ] {
        bench.pass(seconds);
        assert_eq!(late().await, expected, "{seconds}");
    }
    let told = bench.memory.published().pop().unwrap().text();
    assert_eq!(
        told,
        "MISSING a: expected at 22:14 UTC, last beat 22:13 UTC (grace 30 s)"
    );
}

#[tokio::test]
async fn no_beat_is_expected_of_a_host_whose_run_takes_too_long_before() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    bench.beat_every("a", Duration::from_hours(1)).await;
    let graced = |entry: Entry| Ok(entry.with_grace(Duration::from_mins(5).try_into().ok()));
    let view = hosts.set(&host("a"), graced).await.unwrap();
    assert!(view.expected.is_some());
    bench.pass(1);
    bench
        .signal("a", Duration::from_hours(1), Signal::Start)
        .await;
    let view = hosts.show(&host("a")).await.unwrap();
    let limit = bench.clock.now().plus(Duration::from_mins(5));
    assert_eq!((view.deadline, view.expected), (Some(limit), None));
}

/// An expectation of a minute.
fn within_a_minute() -> Expectation {
    Expectation {
        interval: Interval::from_millis(60_000).ok(),
        note: "Tel. 0123".parse().ok(),
        ..Expectation::default()
    }
}

#[tokio::test]
async fn an_expected_host_is_listed_and_missing_when_it_is_not_heard() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    let expected = hosts.expect(&host("a"), &within_a_minute()).await.unwrap();
    assert_eq!(expected.state, State::Expected);
    assert!(expected.heartbeat.is_none() && expected.deadline.is_some());
    bench.sweep().run().await.unwrap();
    assert_eq!(states(&hosts).await, [("a".to_owned(), State::Expected)]);
    bench.pass(61);
    bench.sweep().run().await.unwrap();
    assert_eq!(states(&hosts).await, [("a".to_owned(), State::Missing)]);
    let shown = hosts.show(&host("a")).await.unwrap();
    let note = shown.details.note.unwrap();
    assert_eq!(note.as_str(), "Tel. 0123");
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let shown = hosts.show(&host("a")).await.unwrap();
    assert_eq!((shown.state, shown.settings.expected), (State::Up, None));
}

#[tokio::test]
async fn a_host_is_expected_once_also_after_a_crash_and_a_known_one_never() {
    let bench = Bench::new();
    let hosts = hosts(&bench);
    let expect = async |name| hosts.expect(&host(name), &within_a_minute()).await.unwrap();
    let first = expect("a").await.settings.expected;
    bench.pass(30);
    // The heartbeat was lost, as after a crash in between.
    let up_to = bench.clock.now();
    hosts
        .ports
        .heartbeats
        .forget(&host("a"), up_to)
        .await
        .unwrap();
    assert_eq!(hosts.show(&host("a")).await.unwrap().state, State::Expected);
    let again = expect("a").await;
    assert_eq!(again.settings.expected, first);
    assert!(again.deadline.is_some());
    bench.beat("b").await;
    let known = expect("b").await;
    assert_eq!((known.state, known.settings.expected), (State::Up, None));
    bench.sweep().run().await.unwrap();
    let known = expect("b").await;
    assert_eq!((known.state, known.settings.expected), (State::Up, None));
    hosts.forget(&host("a")).await.unwrap();
    assert!(matches!(
        hosts.show(&host("a")).await,
        Err(HostError::NoSuchHost(_))
    ));
}
