//! The contract suite on the in-memory adapters.

use std::sync::Arc;

use hb_domain::Timestamp;
use hb_service::testing::contract::World;
use hb_service::testing::memory::{CountingIds, ManualClock, Memory, ports};

async fn fresh() -> World {
    let memory = Arc::new(Memory::default());
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let ports = ports(&memory, clock, Arc::new(CountingIds::default()));
    World {
        ports,
        spoil: Box::new(move |host| {
            memory.spoil(&host);
            Box::pin(async {})
        }),
        fleet_size: 100_000,
        keep: Box::new(()),
    }
}

hb_service::contract_suite!(fresh);
hb_service::delivery_contract!(fresh);
