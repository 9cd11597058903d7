//! The in-memory adapters keep the contract of the ports.

use std::sync::Arc;

use hb_service::contract::World;
use hb_service::memory::Memory;

async fn fresh() -> World {
    let memory = Arc::new(Memory::default());
    let spoiled = memory.clone();
    World {
        heartbeats: memory.clone(),
        ledger: memory.clone(),
        digests: memory.clone(),
        receivers: memory.clone(),
        echoes: memory.clone(),
        keys: memory.clone(),
        subscriptions: memory.clone(),
        topic: memory.clone(),
        system: memory,
        spoil: Box::new(move |host| {
            spoiled.spoil(&host);
            Box::pin(async {})
        }),
        fleet_size: 100_000,
        keep: Box::new(()),
    }
}

hb_service::contract_suite!(fresh);
