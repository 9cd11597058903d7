//! What the adapters say when the database is not as it should be.

use std::sync::Arc;

use crate::common::{World, notice};
use hb_domain::{
    Beat, Entry, Fleet, Heartbeat, HostKey, Interval, Key, KeyId, Kind, Region, Scope, Secret,
    Signal, Timestamp,
};
use hb_service::ports::{
    CompletedSweep, Heard, Heartbeats, Keys, Ledger, PortError, Segment, Subscriptions, Swap,
    System, Topic,
};
use hb_sqlite::{SqliteHeartbeats, SqliteKeys, SqliteLedger, SqliteSystem, Store};
use uuid::Uuid;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn host(name: &str) -> HostKey {
    HostKey::new(Fleet::main(), name.parse().unwrap())
}

fn heard(name: &str) -> Heard {
    let beat = Beat {
        at: at(5),
        interval: Interval::default(),
        signal: Signal::Ok,
        message: None,
    };
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
    }
}

#[tokio::test]
async fn garbage_in_any_column_of_a_beat_is_one_unreadable_item() {
    let world = World::new();
    let heartbeats = SqliteHeartbeats::new(world.store.clone());
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
async fn pages_go_on_behind_keys_that_are_no_text() {
    let world = World::new();
    world.sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
         INSERT INTO heartbeats SELECT 'main', CAST(x'ff' || printf('%04d', i) AS TEXT), 'local', 1, 1, 1000, 0, NULL, NULL
         FROM n",
    );
    let heartbeats = SqliteHeartbeats::new(world.store.clone());
    let (mut after, mut unreadable, mut pages) = (None, 0, 0);
    loop {
        let page = heartbeats.scan(Segment::WHOLE, after).await.unwrap();
        unreadable += page.unreadable.len();
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, unreadable), (3, 2_500));
}

#[tokio::test]
async fn garbage_in_the_other_tables_is_told_by_name() {
    let world = World::new();
    let ledger = SqliteLedger::new(world.store.clone());
    let keys = SqliteKeys::new(world.store.clone());
    let system = SqliteSystem::new(world.store.clone());
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
        Ledger::<Entry>::open(&ledger, None)
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
        "INSERT INTO subscriptions VALUES ('hook', 'https', 'https://user:s3cr3t@', '{}', 0, NULL)",
    );
    let page = world.subscriptions.list(None).await.unwrap();
    assert!(
        page.unreadable.len() == 1 && !page.unreadable[0].cause.contains("s3cr3t"),
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
    };
    system.record_sweep(&Region::local(), &sweep).await.unwrap();
    assert_eq!(
        system.last_sweep(&Region::local()).await.unwrap(),
        Some(sweep)
    );
}

#[tokio::test]
async fn the_checks_fail_when_a_table_is_missing_and_heal() {
    let world = World::new();
    let heartbeats = SqliteHeartbeats::new(world.store.clone());
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
            world.topic.check().await.is_ok(),
        );
        assert_eq!(outcome, (beats, notices), "{table}");
        world.sql(&format!("ALTER TABLE away RENAME TO {table}"));
        heartbeats.check().await.unwrap();
        world.topic.check().await.unwrap();
    }
}

#[tokio::test]
async fn the_checks_fail_when_nothing_can_be_written() {
    let world = World::new();
    let heartbeats = SqliteHeartbeats::new(world.store.clone());
    world.sql(
        "CREATE TRIGGER stop BEFORE INSERT ON heartbeats BEGIN SELECT RAISE(ABORT, 'no room'); END;
         CREATE TRIGGER halt BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    let error = heartbeats.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with("table heartbeats of ") && error.ends_with("no room"),
        "{error}"
    );
    world.topic.check().await.unwrap_err();
    let publication = world.topic.publish(&notice("web", 1, Kind::Missing)).await;
    assert!(
        format!("{publication:?}").starts_with("Refused"),
        "{publication:?}"
    );
    world.sql("DROP TRIGGER halt");
    // The refused notice left nothing behind that would make the next try look like a second one.
    world.topic.publish(&notice("web", 1, Kind::Missing)).await;
    assert_eq!(world.tally("console").await.due, 1);
}

#[tokio::test]
async fn of_many_servers_that_start_one_makes_the_first_key() {
    let world = World::new();
    let starts = (0..8).map(|n| {
        let store = Store::open(world.dir.path()).unwrap();
        tokio::spawn(async move { SqliteKeys::new(store).create_first(&key(n)).await.unwrap() })
    });
    let made = futures::future::join_all(starts).await;
    assert_eq!(
        made.into_iter()
            .filter(|made| *made.as_ref().unwrap())
            .count(),
        1
    );
    let keys: Arc<dyn Keys> = Arc::new(SqliteKeys::new(world.store.clone()));
    assert_eq!(keys.list(None).await.unwrap().items.len(), 1);
}
