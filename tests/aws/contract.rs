//! The contract suite on `dynoxide`.

use hb_service::testing::contract::World;

use crate::dynoxide::Account;
use crate::fleet;

async fn fresh() -> World {
    let account = Account::new();
    let (clients, stage) = account.stage().await;
    let raw = aws_sdk_dynamodb::Client::new(&raw(&account));
    fleet::world(&clients, raw, &stage, 100_000)
}

fn raw(account: &Account) -> aws_types::SdkConfig {
    let config = account.config().into_builder();
    config
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .build()
}

hb_service::contract_suite!(fresh);
