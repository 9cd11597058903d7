//! A stage of its own for each test, behind the ports.

use std::any::Any;
use std::sync::Arc;

use futures::FutureExt;
use hb_aws::{
    Clients, DynamoHeartbeats, DynamoKeys, DynamoLedger, DynamoSystem, SnsSubscriptions, SnsTopic, Stage,
    create_stage,
};
use hb_service::contract::World;

/// Overwrites what is stored of a host with something that nobody can read.
pub type Spoil = Arc<dyn Fn(String, String, String) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// An empty stage over `clients`; `spoil` writes a broken item of a key into a table.
pub async fn stage(clients: &Clients, fleet_size: usize, spoil: Spoil, keep: Box<dyn Any + Send>) -> World {
    let stage = Stage::parse(&uuid::Uuid::new_v4().simple().to_string()[..12]).unwrap();
    let topic = create_stage(clients, &stage).await.unwrap();
    let spoiled = stage.clone();
    World {
        heartbeats: Arc::new(DynamoHeartbeats::new(clients, &stage)),
        ledger: Arc::new(DynamoLedger::new(clients, &stage)),
        keys: Arc::new(DynamoKeys::new(clients, &stage)),
        subscriptions: Arc::new(SnsSubscriptions::new(clients, &stage, topic.clone())),
        topic: Arc::new(SnsTopic::new(clients, topic)),
        system: Arc::new(DynamoSystem::new(clients, &stage)),
        spoil: Box::new(move |host| {
            let (stage, spoil) = (spoiled.clone(), spoil.clone());
            async move {
                spoil(stage.heartbeats(), host.to_string(), "local".to_owned()).await;
                spoil(stage.ledger(), host.to_string(), String::new()).await;
            }
            .boxed()
        }),
        fleet_size,
        keep,
    }
}
