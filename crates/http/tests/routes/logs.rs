//! What is logged, and what must not be.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Once};

use crate::world::{BrokenClock, MAIN, READ, REVOKED, UNKNOWN, World, request, token};

thread_local! {
    /// What this thread logged: a test runs on one thread.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures all logs from now on, for all tests at once: `tracing` caches for each call site whether a subscriber wants
/// it, so a test with its own subscriber would miss call sites that another test had reached before.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let format = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false);
        tracing::subscriber::set_global_default(
            format.without_time().with_writer(|| ThisThread).finish(),
        )
        .unwrap();
    });
}

/// The lines that this test logged since the last call; those of DEBUG and TRACE only if `debugging`.
pub(crate) fn logged(debugging: bool) -> String {
    let log = String::from_utf8(LOG.take()).unwrap();
    let hidden =
        |line: &&str| debugging || !(line.starts_with("DEBUG") || line.starts_with("TRACE"));
    log.lines().filter(hidden).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn secrets_never_reach_the_log() {
    let (world, broken) = (
        World::new().await,
        World::with_clock(Arc::new(BrokenClock)).await,
    );
    for number in [MAIN, READ, REVOKED, UNKNOWN] {
        let key = token(number);
        for sent in [key.clone(), format!("{key}x"), key[..60].to_owned()] {
            world.memory.fail_with(None);
            world
                .send(request(
                    "POST /v1/heartbeat",
                    Some(&sent),
                    r#"{"hostId": "web-01"}"#,
                ))
                .await;
            world
                .send(request(
                    "POST /v1/heartbeat",
                    Some(&sent),
                    format!("{{\"hostId\": \"{sent}!\""),
                ))
                .await;
            world
                .send(request(
                    &format!("GET /v1/heartbeat/{sent}?message={sent}"),
                    None,
                    sent.clone(),
                ))
                .await;
            let mut bearer = request("HEAD /v1/heartbeat/web-01", None, "");
            bearer
                .headers_mut()
                .insert("authorization", format!("Bearer {sent}").parse().unwrap());
            world.send(bearer).await;
            world.memory.fail_with(Some("disk full"));
            world
                .send(request("GET /v1/heartbeat/web-01", Some(&sent), ""))
                .await;
            broken
                .send(request("GET /v1/heartbeat/web-01", Some(&sent), ""))
                .await;
        }
    }
    let log = logged(true);
    for expected in [
        "recording beats failed",
        "disk full",
        "refused: unknown key",
        "panicked",
        "status=200",
    ] {
        assert!(
            log.contains(expected),
            "{expected} is not in the log, so it captured too little"
        );
    }
    for number in [MAIN, READ, REVOKED, UNKNOWN] {
        let secret = &token(number)[15..30];
        assert!(!log.contains(secret), "a secret is in the log: {log}");
    }
}

#[tokio::test]
async fn a_recorded_beat_is_logged_at_debug_only() {
    let world = World::new().await;
    world.ask("GET /v1/heartbeat/web-01/7?message=x", "").await;
    insta::assert_snapshot!(logged(true), @r#"DEBUG hb_http::beat: beat method=GET route="/v1/heartbeat/{hostId}" status=200"#);
}
