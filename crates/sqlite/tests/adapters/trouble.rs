//! What the adapters report about damaged and incomplete databases.

use hb_domain::{
    Beat, Entry, Fleet, Heartbeat, HostKey, Interval, Key, KeyId, KeyLimits, Kind, Region, Scope,
    Secret, Timestamp,
};
use hb_service::ports::{CompletedSweep, Heard, PortError, Segment, Swap, every_page};
use hb_service::testing::contract::notice;
use hb_sqlite::Store;
use uuid::Uuid;

use crate::common::World;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn host(name: &str) -> HostKey {
    HostKey::new(Fleet::main(), name.parse().unwrap())
}

fn heard(name: &str) -> Heard {
    let beat = Beat::ok(at(5));
    Heard {
        key: host(name),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    }
}

fn key(n: u8) -> Key {
    Key {
        id: KeyId::from_random([n; 7]),
        name: "first".parse().unwrap(),
        hash: Secret::from_random([n; 32]).hash(),
        fleet: Fleet::main(),
        scope: Scope::Ingest,
        host_prefixes: Vec::new(),
        created: at(0),
        expires: None,
        revoked: None,
        used: None,
        limits: KeyLimits::default(),
        hosts: 0,
    }
}

#[tokio::test]
async fn garbage_in_any_column_of_a_heartbeat_is_one_unreadable_item() {
    let world = World::new();
    let heartbeats = &world.ports.heartbeats;
    let garbage = [
        ("fleet", "'Not A Fleet'"),
        ("host", "CAST(x'ff00' AS TEXT)"),
        ("host", "''"),
        ("region", "'EU'"),
        ("first", "-1"),
        ("last", "9223372036854775807"),
        ("interval", "0"),
        ("signal", "2"),
        ("failed", "-9223372036854775808"),
    ];
    for (i, (column, value)) in garbage.iter().enumerate() {
        heartbeats
            .record(&heard(&format!("bad-{i}")))
            .await
            .unwrap();
        world.sql(&format!(
            "UPDATE heartbeats SET {column} = {value} WHERE host = 'bad-{i}'"
        ));
    }
    heartbeats.record(&heard("good")).await.unwrap();
    let page = heartbeats.scan(Segment::WHOLE, None).await.unwrap();
    assert_eq!(
        (page.items, page.unreadable.len()),
        (vec![heard("good")], garbage.len())
    );
    assert!(
        page.unreadable
            .iter()
            .any(|item| item.key == "main/bad-4/local" && item.cause.contains("first"))
    );
    let error = heartbeats
        .load(&host("bad-7"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("heartbeat.db holds an unreadable item main/bad-7/local: column signal"),
        "{error}"
    );
}

#[tokio::test]
async fn pages_continue_after_keys_that_are_not_utf8() {
    let world = World::new();
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
         INSERT INTO heartbeats SELECT 'main', CAST(x'ff' || printf('%04d', i) AS TEXT), 'local', 1, 1, 1000, 0, NULL, NULL, NULL, NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL
         FROM n",
    );
    let heartbeats = &world.ports.heartbeats;
    let (beats, unreadable) = every_page(|after| heartbeats.scan(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!((beats.len(), unreadable.len()), (0, 2_500));
}

#[tokio::test]
async fn garbage_in_the_other_tables_is_reported_by_name() {
    let world = World::new();
    let ledger = &world.ports.ledger;
    let keys = &world.ports.keys;
    let system = &world.ports.system;
    let entry = Entry::new(host("web")).with_interval(Some(Interval::default()));
    assert_eq!(
        ledger.swap(&entry, None, Uuid::nil()).await.unwrap(),
        Swap::Done(1)
    );
    for n in 1..=5 {
        keys.create(&key(n)).await.unwrap();
    }
    world.sql("UPDATE ledger SET version = -5");
    let error = ledger.swap(&entry, Some(1), Uuid::nil()).await.unwrap_err();
    assert!(
        matches!(&error, PortError::Unreadable { source, .. } if source.to_string().contains("version")),
        "{error}"
    );
    assert_eq!(
        ledger
            .open(Segment::WHOLE, None)
            .await
            .unwrap()
            .unreadable
            .len(),
        1
    );

    world.sql(&format!(
        "UPDATE keys SET hash = x'00' WHERE id = '{}'; UPDATE keys SET scope = 'root' WHERE id = '{}';
         UPDATE keys SET prefixes = '[\"\"]' WHERE id = '{}'; UPDATE keys SET id = 'x' WHERE id = '{}'",
        key(1).id,
        key(2).id,
        key(3).id,
        key(4).id
    ));
    let page = keys.list(None).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable.len()), (1, 4));
    assert!(matches!(
        keys.load(&key(1).id).await,
        Err(PortError::Unreadable { .. })
    ));

    world.sql(
        "INSERT INTO subscriptions VALUES
             ('hook', 'https', 'https://user:s3cr3t@', '{}', 0, NULL, NULL, NULL),
             ('hook-2', 'https', 'https://example.com', '{}', 0, NULL, NULL, '{\"secrets\": \"whsec_s3cr3t\"}')",
    );
    let page = world.ports.subscriptions.list(None).await.unwrap();
    assert!(
        page.unreadable.len() == 2 && !format!("{page:?}").contains("s3cr3t"),
        "{page:?}"
    );

    world.sql("INSERT INTO system VALUES ('sweep/local', 'garbage')");
    assert!(matches!(
        system.last_sweep(&Region::local()).await,
        Err(PortError::Unreadable { .. })
    ));
    let sweep = CompletedSweep {
        began: at(1),
        ended: at(2),
        hosts: 3,
        program: String::new(),
    };
    system.record_sweep(&Region::local(), &sweep).await.unwrap();
    assert_eq!(
        system.last_sweep(&Region::local()).await.unwrap(),
        Some(sweep)
    );
}

#[tokio::test]
async fn the_checks_fail_while_a_table_is_missing() {
    let world = World::new();
    let heartbeats = &world.ports.heartbeats;
    for (table, beats, notices) in [
        ("heartbeats", false, true),
        ("notices", true, false),
        ("deliveries", true, false),
        ("subscriptions", true, false),
        ("system", false, false),
    ] {
        world.sql(&format!("ALTER TABLE {table} RENAME TO away"));
        let outcome = (
            heartbeats.check().await.is_ok(),
            world.ports.topic.check().await.is_ok(),
        );
        assert_eq!(outcome, (beats, notices), "{table}");
        world.sql(&format!("ALTER TABLE away RENAME TO {table}"));
        heartbeats.check().await.unwrap();
        world.ports.topic.check().await.unwrap();
    }
}

#[tokio::test]
async fn the_checks_fail_while_nothing_can_be_written() {
    let world = World::new();
    let heartbeats = &world.ports.heartbeats;
    world.sql(
        "CREATE TRIGGER stop BEFORE INSERT ON heartbeats BEGIN SELECT RAISE(ABORT, 'no room'); END;
         CREATE TRIGGER halt BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let error = heartbeats.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with("table heartbeats of ") && error.ends_with("no room"),
        "{error}"
    );
    world.ports.topic.check().await.unwrap_err();
    let publication = world
        .ports
        .topic
        .publish(&notice("web", 1, Kind::Missing))
        .await;
    assert!(
        format!("{publication:?}").starts_with("Refused"),
        "{publication:?}"
    );
    world.sql("DROP TRIGGER halt");
    // The refused notice left nothing behind: the next try is not taken for a second one.
    world
        .ports
        .topic
        .publish(&notice("web", 1, Kind::Missing))
        .await;
    assert_eq!(world.tally("console").await.due, 1);
}

#[tokio::test]
async fn one_of_many_starting_servers_creates_the_first_key() {
    let world = World::new();
    let starts = (0..8).map(|n| {
        let store = Store::create(world.dir.path()).unwrap();
        tokio::spawn(async move { store.create_first_key(&key(n)).await.unwrap() })
    });
    let created = futures::future::join_all(starts).await;
    assert_eq!(
        created
            .into_iter()
            .filter(|created| *created.as_ref().unwrap())
            .count(),
        1
    );
    let keys = world.ports.keys.list(None).await.unwrap();
    assert_eq!(keys.items.len(), 1);
}
