//! The contract suite on SQLite.

use std::sync::Arc;

use hb_service::testing::contract::World;
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_sqlite::Store;
use rusqlite::{Connection, params};

async fn fresh() -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path()).unwrap();
    let path = store.path().to_owned();
    let clock = Arc::new(ManualClock::new(hb_domain::Timestamp::MIN));
    World {
        ports: hb_sqlite::ports(&store, clock, Arc::new(CountingIds::default())),
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
hb_service::delivery_contract!(fresh);
