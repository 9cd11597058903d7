//! Creates the tables and the topic of a bare stage on an emulator, and prints an API key for beats.
//!
//! Reads `HB_STAGE` and the variables that the functions read: region, credentials, `AWS_ENDPOINT_URL`.
#![expect(clippy::print_stdout, reason = "a tool for developers")]

use std::error::Error;
use std::sync::Arc;

use hb_aws::{Clients, Stage, create_stage};
use hb_domain::{Fleet, KeyLimits, KeyName, Scope};
use hb_service::admin::{KeyAdmin, KeyRequest};
use hb_service::system::{SystemClock, SystemIds};
use hb_service::testing::memory::auditor;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(make())
}

async fn make() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let clients = Clients::from_env(variable)?;
    let stage = Stage::parse(&variable("HB_STAGE").unwrap_or_else(|| "dev".to_owned()))?;
    create_stage(&clients, &stage).await?;
    let ports = hb_aws::ports(&clients, &stage, Arc::new(SystemClock), Arc::new(SystemIds));
    let auditor = auditor(&ports);
    let key_admin = KeyAdmin { ports, auditor };
    let request = KeyRequest {
        name: KeyName::first(),
        scope: Scope::Ingest,
        fleet: Fleet::main(),
        host_prefixes: Vec::new(),
        expires_in: None,
        limits: KeyLimits::default(),
    };
    println!("{}", key_admin.create_key(request).await?.token.reveal());
    Ok(())
}
