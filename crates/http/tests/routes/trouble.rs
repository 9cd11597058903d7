//! Responses and logs while a dependency fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Incarnation, Notice, Publication};
use hb_http::Program;
use hb_service::ports::{Ids, PortError, PortResult, Topic};
use hb_service::testing::memory::CountingIds;

use crate::logs::logged;
use crate::world::{EDGE, World, request, token};

const CAUSE: &str = "unable to open /var/lib/hb/beats.db: INSERT INTO beats";

#[tokio::test]
async fn a_beat_that_is_not_stored_is_not_acknowledged() {
    let world = World::new().await;
    assert_eq!(
        world.ask("GET /v1/heartbeat/web-01", "").await.status,
        200,
        "the key is cached now"
    );
    world.memory.fail_with(Some(CAUSE));
    let answer = world.ask("GET /v1/heartbeat/web-02", "").await;
    insta::assert_snapshot!(answer.full(), @r#"
    503 Service Unavailable
    cache-control: no-store
    content-length: 199
    content-type: application/problem+json
    retry-after: 5
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"beat storage is unavailable; try again later","message":"beat storage is unavailable; try again later"}
    "#);
    let again = world.ask("GET /v1/heartbeat/web-02", "").await;
    assert_eq!(again.full(), answer.full());
    let other = world
        .send(request("GET /v1/heartbeat/web-03", Some(&token(EDGE)), ""))
        .await;
    insta::assert_snapshot!(other.short(), @"503 unavailable: API key storage is unavailable; try again later");
    world.memory.fail_with(None);
    world.clock.advance(Duration::from_mins(1));
    for key in [token(EDGE), token(EDGE)] {
        assert_eq!(
            world
                .send(request("GET /v1/heartbeat/web-03", Some(&key), ""))
                .await
                .status,
            200
        );
    }
    insta::assert_snapshot!(logged(false), @"
    ERROR hb_service::trouble: recording beats failed: table heartbeats is unavailable: unable to open /var/lib/hb/beats.db: INSERT INTO beats (logged once per cause)
    ERROR hb_service::trouble: reading API keys failed: table keys is unavailable: unable to open /var/lib/hb/beats.db: INSERT INTO beats (logged once per cause)
     INFO hb_service::trouble: reading API keys works again after 1 min (failures: 1)
     INFO hb_service::trouble: recording beats works again after 1 min (failures: 2)
    ");
    insta::assert_snapshot!(world.stored().await, @"
    edge/web-03 Ok 600000
    main/web-01 Ok 600000
    ");
}

#[tokio::test]
async fn the_status_names_the_failing_dependency_and_recovers() {
    let world = World::new().await;
    insta::assert_snapshot!(world.send(request("GET /v1/status", None, "")).await.full(), @r#"
    200 OK
    cache-control: no-store
    content-length: 16
    content-type: application/json
    x-content-type-options: nosniff

    {"message":"OK"}
    "#);
    world.memory.fail_with(Some(CAUSE));
    let status = async || world.ask("GET /v1/status", "").await;
    assert_eq!(status().await.status, 200, "cached for 30 s");
    assert_eq!(world.ask("GET /v1/heartbeat/web-01", "").await.status, 503);
    insta::assert_snapshot!(status().await.full(), @r#"
    503 Service Unavailable
    cache-control: no-store
    content-length: 199
    content-type: application/problem+json
    retry-after: 5
    x-content-type-options: nosniff

    {"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"beat storage is unavailable; try again later","message":"beat storage is unavailable; try again later"}
    "#);
    world.memory.fail_with(None);
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(status().await.status, 200);
    insta::assert_snapshot!(logged(false), @"
    ERROR hb_service::trouble: reading API keys failed: table keys is unavailable: unable to open /var/lib/hb/beats.db: INSERT INTO beats (logged once per cause)
    ERROR hb_service::trouble: checking health failed: table heartbeats is unavailable: unable to open /var/lib/hb/beats.db: INSERT INTO beats (logged once per cause)
     INFO hb_service::trouble: checking health works again after 2 s (failures: 1)
    ");
}

#[tokio::test]
async fn the_status_names_program_and_database_where_they_are_known() {
    let id = CountingIds::default().token();
    let program = Program {
        version: "0.1.0",
        commit: "0d10dc84c91f",
    };
    let known = |program, database| async move {
        let world = World::with(|app| (app.program, app.database) = (program, database)).await;
        world.ask("GET /v1/status", "").await.body
    };
    assert_eq!(known(None, None).await, r#"{"message":"OK"}"#);
    assert_eq!(
        known(Some(program), Some(Incarnation { id })).await,
        format!(
            r#"{{"message":"OK","version":"0.1.0","commit":"0d10dc84c91f","database":"{id}"}}"#
        )
    );
}

struct DeadTopic;

#[async_trait]
impl Topic for DeadTopic {
    async fn publish(&self, _: &Notice) -> Publication {
        Publication::Accepted
    }

    async fn check(&self) -> PortResult<()> {
        Err(PortError::unavailable(
            "topic hb-prod-notices",
            "AccessDenied for arn:aws:iam::123456789012:role/hb",
        ))
    }
}

#[tokio::test]
async fn the_status_names_the_topic() {
    let answer = World::with_topic(Arc::new(DeadTopic))
        .await
        .ask("GET /v1/status", "")
        .await;
    insta::assert_snapshot!(answer.short(), @"503 unavailable: the notice topic is unavailable; try again later");
}
