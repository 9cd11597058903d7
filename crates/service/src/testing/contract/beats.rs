use std::collections::{BTreeMap, HashSet};

use futures::stream::{self, StreamExt};
use hb_domain::{Beat, Heartbeat, HostKey, Interval, Message, Signal, strategy};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{World, at, heard, host};
use crate::ports::{Heard, PortError, Segment, every_page};

/// Whatever the order of arrival, the newest beat and the newest failure are kept, and the first.
pub async fn newer_beat_wins(world: World) {
    let beats = [
        (20, Signal::Ok),
        (10, Signal::Fail),
        (40, Signal::Fail),
        (50, Signal::Ok),
        (30, Signal::Ok),
    ];
    for (seconds, signal) in beats {
        world
            .ports
            .heartbeats
            .record(&heard("web-01", "local", seconds, signal))
            .await
            .unwrap();
    }
    let kept = world.ports.heartbeats.load(&host("web-01")).await.unwrap();
    let all = beats.map(|(seconds, signal)| heard("web-01", "local", seconds, signal).heartbeat);
    let expected = all.into_iter().reduce(Heartbeat::merge).unwrap();
    assert_eq!(
        kept,
        [Heard {
            heartbeat: expected,
            ..heard("web-01", "local", 0, Signal::Ok)
        }]
    );
    let Heartbeat {
        first,
        last,
        signal,
        ref failure,
        ..
    } = kept[0].heartbeat;
    assert_eq!((first, last, signal), (at(10), at(50), Signal::Ok));
    assert_eq!(failure.as_ref().unwrap().at, at(40));
    assert_eq!(
        world.ports.heartbeats.load(&host("web-02")).await.unwrap(),
        []
    );
}

/// Every field of a heartbeat is loaded and scanned as it was recorded; the message only loaded.
pub async fn a_heartbeat_is_stored_whole(world: World) {
    let mut runner = TestRunner::deterministic();
    let mut recorded = BTreeMap::new();
    for n in 0..world.fleet_size.min(64) {
        let heartbeat = strategy::heartbeat()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let heard = Heard {
            heartbeat,
            ..heard(&format!("host-{n}"), "local", 0, Signal::Ok)
        };
        world.ports.heartbeats.record(&heard).await.unwrap();
        recorded.insert(heard.key.clone(), heard);
    }
    for (key, heard) in &recorded {
        let loaded = world.ports.heartbeats.load(key).await.unwrap();
        assert_eq!(loaded, std::slice::from_ref(heard));
    }
    let plain = |mut heartbeat: Heartbeat| {
        if let Some(failure) = &mut heartbeat.failure {
            failure.message = None;
        }
        heartbeat
    };
    for scanned in scan(&world).await.0 {
        let expected = recorded[&scanned.key].heartbeat.clone();
        assert_eq!(plain(scanned.heartbeat), plain(expected));
    }
}

/// The heartbeats of two regions remain two items, adjacent in a scan.
pub async fn heartbeats_of_two_regions_are_separate_and_adjacent(world: World) {
    for name in ["a", "b", "c"] {
        for region in ["eu-west-1", "us-east-1"] {
            world
                .ports
                .heartbeats
                .record(&heard(name, region, 1, Signal::Ok))
                .await
                .unwrap();
        }
    }
    let regions = world.ports.heartbeats.load(&host("b")).await.unwrap();
    assert_eq!(
        regions
            .iter()
            .map(|h| h.region.as_str())
            .collect::<HashSet<_>>(),
        HashSet::from(["eu-west-1", "us-east-1"])
    );
    let names: Vec<_> = scan(&world)
        .await
        .0
        .into_iter()
        .map(|heard| heard.key)
        .collect();
    assert!(
        names.len() == 6 && names.chunks(2).all(|pair| pair[0] == pair[1]),
        "{names:?}"
    );
}

/// In a fleet of many pages.
pub async fn a_scan_finds_every_host_once(world: World) {
    let names: Vec<_> = (0..world.fleet_size).map(|i| format!("host-{i}")).collect();
    let record = async |name: &String| {
        world
            .ports
            .heartbeats
            .record(&heard(name, "local", 1, Signal::Ok))
            .await
    };
    // A small fleet means an emulator, which fails under many concurrent calls.
    let concurrency = (names.len() / 100).clamp(8, 512);
    stream::iter(&names)
        .map(record)
        .buffer_unordered(concurrency)
        .for_each(async |result| result.unwrap())
        .await;
    let (found, unreadable) = scan(&world).await;
    assert_eq!((found.len(), unreadable), (names.len(), 0));
    let distinct: HashSet<_> = found
        .into_iter()
        .map(|heard| heard.key.host.as_str().to_owned())
        .collect();
    assert_eq!(distinct, names.into_iter().collect());
}

/// One unreadable item is named, and does not affect other hosts.
pub async fn unreadable_heartbeats_are_reported_and_skipped(world: World) {
    for name in ["a", "b", "c"] {
        world
            .ports
            .heartbeats
            .record(&heard(name, "local", 1, Signal::Ok))
            .await
            .unwrap();
    }
    (world.spoil)(host("b")).await;
    let (found, unreadable) = scan(&world).await;
    assert_eq!((found.len(), unreadable), (2, 1));
    let error = world.ports.heartbeats.load(&host("b")).await.unwrap_err();
    assert!(
        matches!(error, PortError::Unreadable { .. }) && error.to_string().contains("main/b"),
        "{error}"
    );
}

/// A beat replaces one that is so much later that a wrong clock wrote it. A failure remains until another one arrives.
pub async fn a_beat_replaces_one_of_a_wrong_clock(world: World) {
    let steps = [
        (200, Signal::Fail),
        (20, Signal::Ok),
        (21, Signal::Fail),
        (81, Signal::Ok),
        (22, Signal::Fail),
    ];
    let mut expected: Option<Heartbeat> = None;
    for (seconds, signal) in steps {
        let beat = heard("web-01", "local", seconds, signal);
        world.ports.heartbeats.record(&beat).await.unwrap();
        expected = Some(match expected {
            Some(stored) => stored.recorded(beat.heartbeat, world.ports.clock.now()),
            None => beat.heartbeat,
        });
        let kept = world.ports.heartbeats.load(&host("web-01")).await.unwrap();
        assert_eq!(Some(&kept[0].heartbeat), expected.as_ref(), "at {seconds}");
    }
    let Heartbeat {
        first,
        last,
        failure,
        ..
    } = expected.unwrap();
    let failed = failure.unwrap().at;
    assert_eq!((first, last, failed), (at(20), at(81), at(22)));
}

/// What a wrong clock wrote is brought to now, and nothing that a beat has overwritten meanwhile.
pub async fn instants_of_a_wrong_clock_are_mended(world: World) {
    let heartbeats = &world.ports.heartbeats;
    for (name, seconds, signal) in [
        ("ahead", 200, Signal::Fail),
        ("right", 60, Signal::Ok),
        ("overwritten", 200, Signal::Ok),
    ] {
        let beat = heard(name, "local", seconds, signal);
        heartbeats.record(&beat).await.unwrap();
    }
    heartbeats
        .record(&heard("ahead", "eu-west-1", 10, Signal::Ok))
        .await
        .unwrap();
    let (read, _) = scan(&world).await;
    heartbeats
        .record(&heard("overwritten", "local", 5, Signal::Ok))
        .await
        .unwrap();
    // Twice is the same as once.
    for _ in 0..2 {
        heartbeats.mend(&read, at(0)).await.unwrap();
    }
    let stored = async |name| {
        let regions = heartbeats.load(&host(name)).await.unwrap().into_iter();
        let instants = |heard: Heard| {
            let failure = heard.heartbeat.failure.map(|failure| failure.at);
            (heard.heartbeat.first, heard.heartbeat.last, failure)
        };
        regions
            .map(instants)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        stored("ahead").await,
        [(at(0), at(0), Some(at(0))), (at(10), at(10), None)].into()
    );
    assert_eq!(stored("right").await, [(at(60), at(60), None)].into());
    assert_eq!(stored("overwritten").await, [(at(5), at(5), None)].into());
}

/// A beat that arrives while its host is being forgotten is kept.
pub async fn forgetting_keeps_a_newer_beat(world: World) {
    for name in ["a", "b"] {
        world
            .ports
            .heartbeats
            .record(&heard(name, "local", 10, Signal::Ok))
            .await
            .unwrap();
    }
    world
        .ports
        .heartbeats
        .forget(&host("a"), at(9))
        .await
        .unwrap();
    world
        .ports
        .heartbeats
        .forget(&host("b"), at(10))
        .await
        .unwrap();
    world
        .ports
        .heartbeats
        .forget(&host("unknown"), at(10))
        .await
        .unwrap();
    assert_eq!(
        world.ports.heartbeats.load(&host("a")).await.unwrap().len(),
        1
    );
    assert_eq!(world.ports.heartbeats.load(&host("b")).await.unwrap(), []);
}

/// A scan resumes after a host and all its regions, whether that host is stored or not.
pub async fn a_scan_resumes_after_a_host(world: World) {
    for name in ["a", "b", "c", "d"] {
        for region in ["eu-west-1", "us-east-1"] {
            world
                .ports
                .heartbeats
                .record(&heard(name, region, 10, Signal::Ok))
                .await
                .unwrap();
        }
    }
    let all = scan_behind(&world, None).await;
    let last = &all[all.len() - 1];
    assert_eq!(scan_behind(&world, Some(last)).await, []);
    let second = &all[3];
    assert_eq!(scan_behind(&world, Some(second)).await, all[4..]);
    world.ports.heartbeats.forget(second, at(10)).await.unwrap();
    assert_eq!(
        scan_behind(&world, Some(second)).await,
        all[4..],
        "even when it was forgotten"
    );
}

async fn scan_behind(world: &World, host: Option<&HostKey>) -> Vec<HostKey> {
    let heartbeats = &world.ports.heartbeats;
    let mut start = host.map(|host| heartbeats.behind(host));
    let turn = |after: Option<_>| heartbeats.scan(Segment::WHOLE, after.or_else(|| start.take()));
    let (items, _) = every_page(turn).await.unwrap();
    items.into_iter().map(|heard| heard.key).collect()
}

/// The health checks succeed, and store no beat.
pub async fn a_working_store_passes_its_checks(world: World) {
    world.ports.heartbeats.check().await.unwrap();
    world.ports.topic.check().await.unwrap();
    assert_eq!(scan(&world).await.0, []);
}

/// All items of four segments, and how many were unreadable.
async fn scan(world: &World) -> (Vec<Heard>, usize) {
    let mut items = Vec::new();
    let mut unreadable = 0;
    for index in 0..4 {
        let segment = Segment { index, of: 4 };
        let scan = every_page(|after| world.ports.heartbeats.scan(segment, after));
        let (some, bad) = scan.await.unwrap();
        items.extend(some);
        unreadable += bad.len();
    }
    (items, unreadable)
}

/// Of a known host a start and a log change what they are for, and of a new one they are its first beat.
pub async fn starts_and_logs_are_kept_beside_the_beats(world: World) {
    let store = &world.ports.heartbeats;
    let beat = |name: &str, seconds, signal, id: &str| {
        let message = (signal == Signal::Log).then(|| Message::from(format!("at {seconds}")));
        let beat = Beat {
            signal,
            message,
            run_id: id.parse().ok(),
            limit: Interval::from_millis(60_000).ok(),
            ..Beat::ok(at(seconds))
        };
        Heard {
            heartbeat: Heartbeat::new(beat),
            ..heard(name, "local", 0, Signal::Ok)
        }
    };
    let record = async |heard: Heard| store.record(&heard).await.unwrap();
    let stored = async |name: &str| {
        let mut stored = store.load(&host(name)).await.unwrap();
        stored.pop().unwrap().heartbeat
    };
    let took = |beats: &Heartbeat| beats.last_took().map(|took| took.as_secs());
    record(beat("job", 0, Signal::Ok, "")).await;
    let before = stored("job").await;
    record(beat("job", 10, Signal::Start, "a")).await;
    let running = stored("job").await;
    let run = running.run.unwrap();
    assert_eq!((run.at, run.id, run.took), (at(10), "a".parse().ok(), None));
    assert_eq!(run.limit, Interval::from_millis(60_000).ok());
    assert_eq!(
        Heartbeat {
            run: None,
            ..running
        },
        before,
        "no beat"
    );
    record(beat("job", 12, Signal::Log, "a")).await;
    record(beat("job", 11, Signal::Log, "a")).await;
    let logged = stored("job").await.log.unwrap();
    assert_eq!((logged.at, logged.message.as_str()), (at(12), "at 12"));
    // Another run is over, and this one goes on.
    record(beat("job", 20, Signal::Ok, "b")).await;
    let running = stored("job").await;
    assert_eq!((running.last, took(&running)), (at(20), None));
    record(beat("job", 30, Signal::Ok, "a")).await;
    record(beat("job", 40, Signal::Ok, "c")).await;
    assert_eq!(took(&stored("job").await), Some(20), "whatever comes then");
    // One from before does not replace it, a later one does.
    record(beat("job", 5, Signal::Start, "")).await;
    assert_eq!(stored("job").await.run.unwrap().at, at(10));
    record(beat("job", 50, Signal::Start, "")).await;
    assert_eq!(took(&stored("job").await), None);
    record(beat("job", 55, Signal::Ok, "")).await;
    assert_eq!(took(&stored("job").await), Some(5));
    record(beat("new", 10, Signal::Start, "")).await;
    let new = stored("new").await;
    assert!(new.first == new.last && new.last < at(10) && new.open_run(new.last).is_some());
    record(beat("new", 15, Signal::Ok, "")).await;
    assert_eq!(took(&stored("new").await), Some(5));
    record(beat("quiet", 10, Signal::Log, "")).await;
    assert!(stored("quiet").await.log.is_some());
    let mut nothing_said = beat("mute", 10, Signal::Log, "");
    nothing_said.heartbeat.log = None;
    record(nothing_said.clone()).await;
    let mute = stored("mute").await;
    assert_eq!(mute.log, None, "and the host is known");
    record(nothing_said).await;
    assert_eq!(stored("mute").await, mute);
    let scanned = scan(&world).await.0;
    let scanned = scanned
        .iter()
        .find(|heard| heard.key == host("new"))
        .unwrap();
    assert_eq!(scanned.heartbeat.run, stored("new").await.run);
}
