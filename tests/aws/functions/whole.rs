//! Both functions on one account, all of it moto's: a host that fell silent, is told, speaks again, is told again.

use std::time::Duration;

use hb_aws::{Clients, DynamoHeartbeats, DynamoSystem, Stage, create_stage, https};
use hb_domain::Scope;
use hb_service::ports::{CompletedSweep, Heartbeats, System};
use serde_json::{Value, json};

use super::function::{Function, told};
use super::ingest::{beat, key, key_admin};
use super::sweep::{Queue, heard, now, region, scheduled};
use crate::{dynoxide, fleet, moto};

#[tokio::test]
async fn a_host_falls_silent_and_speaks_again() {
    let Some(url) = moto::server() else { return };
    let name = format!("whole-{}", std::process::id());
    let stage = Stage::parse(&name).unwrap();
    let queue = Queue::listen(url, &stage).await;
    let clients = Clients::new(&dynoxide::config(url).http_client(https()).build());
    create_stage(&clients, &stage).await.unwrap();
    fleet::send_at_once(&clients, &stage).await;
    let key = key(&key_admin(&clients, &stage), Scope::Ingest, &[]).await;
    // Silent for 50 minutes of the hour since its last beat, and a fleet that is known.
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    heartbeats
        .record(&heard("web-01", Duration::from_hours(1)))
        .await
        .unwrap();
    let began = now().minus(Duration::from_mins(30));
    let swept = CompletedSweep {
        began,
        ended: began,
        hosts: 1,
        program: String::new(),
    };
    DynamoSystem::new(&clients, &stage)
        .record_sweep(&region(), &swept)
        .await
        .unwrap();

    let variables = [("HB_STAGE", name.as_str())];
    let ingest = Function::start_at("ingest", url, url, &variables).await;
    let sweep = Function::start_at("sweep", url, url, &variables).await;
    ingest.hides(&key[16..]);
    let status = json!({"httpMethod": "GET", "path": "/v1/status", "requestContext": {"elb": {}}});
    let status = ingest.invoke(&status).await.unwrap();
    assert_eq!(status["statusCode"], 200);
    let body: Value = serde_json::from_str(status["body"].as_str().unwrap()).unwrap();
    let counts = ["hosts", "missing", "recovered", "accepted"];
    let pass = async || sweep.invoke(&scheduled()).await.unwrap()["passes"][0].take();
    assert_eq!(told(&pass().await, counts), json!([1, 1, 0, 1]));
    let system = DynamoSystem::new(&clients, &stage);
    let last = system.last_sweep(&region()).await.unwrap().unwrap();
    let program = format!(
        "{} ({})",
        body["version"].as_str().unwrap(),
        body["commit"].as_str().unwrap()
    );
    assert_eq!(last.program, program);
    assert_eq!(told(&pass().await, counts), json!([1, 0, 0, 0]));
    assert_eq!(
        ingest.invoke(&beat("web-01", &key)).await.unwrap()["statusCode"],
        200
    );
    assert_eq!(told(&pass().await, counts), json!([1, 0, 1, 1]));
    assert_eq!(told(&pass().await, counts), json!([1, 0, 0, 0]));

    let kind = |notice: &Value| notice["kind"].as_str().unwrap().to_owned();
    let mut kinds: Vec<_> = queue.notices().await.iter().map(kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["missing", "recovered"], "each once");
    assert!(ingest.log(0).await.is_empty(), "nothing went wrong");
    // The look at the status, which costs units, and the beat.
    assert_eq!(ingest.metrics(2).await.last().unwrap()["Beats"], 1.0);
}
