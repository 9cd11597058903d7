//! The contract suite on SQLite.

use std::sync::Arc;

use hb_sqlite::{
    SqliteEchoes, SqliteHeartbeats, SqliteKeys, SqliteLedger, SqliteSubscriptions, SqliteSystem,
    SqliteTopic, Store,
};
use hb_service::contract::World;
use hb_service::memory::ManualClock;
use rusqlite::{Connection, params};

async fn fresh() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let path = store.path().to_owned();
    World {
        heartbeats: Arc::new(SqliteHeartbeats::new(store.clone())),
        ledger: Arc::new(SqliteLedger::new(store.clone())),
        digests: Arc::new(SqliteLedger::new(store.clone())),
        receivers: Arc::new(SqliteLedger::new(store.clone())),
        echoes: Arc::new(SqliteEchoes::new(store.clone())),
        keys: Arc::new(SqliteKeys::new(store.clone())),
        subscriptions: Arc::new(SqliteSubscriptions::new(store.clone())),
        topic: Arc::new(SqliteTopic::new(
            store.clone(),
            Arc::new(ManualClock::new(hb_domain::Timestamp::MIN)),
        )),
        system: Arc::new(SqliteSystem::new(store)),
        spoil: Box::new(move |host| {
            let path = path.clone();
            Box::pin(async move {
                let connection = Connection::open(path).unwrap();
                for sql in [
                    "UPDATE heartbeats SET interval = -1 WHERE fleet = ?1 AND host = ?2",
                    "UPDATE ledger SET record = '{' WHERE key = ?1 || '/' || ?2",
                ] {
                    connection
                        .execute(sql, params![host.fleet.as_str(), host.host.as_str()])
                        .unwrap();
                }
            })
        }),
        fleet_size: 100_000,
        keep: Box::new(dir),
    }
}

hb_service::contract_suite!(fresh);
