//! Failing storage: beats get 503 with `Retry-After`, each cause is logged once, and the service recovers by itself.

use std::process::Command;

use crate::support::{Sandbox, Server, eventually, have, skipped};

const BEAT: &str = r#"{"hostId": "web-01"}"#;

/// Beats and `/v1/status` get 503.
async fn assert_unavailable(server: &Server, key: &str) {
    for _ in 0..20 {
        let answer = server
            .client
            .post(format!("{}/v1/heartbeat", server.url))
            .header("x-api-key", key)
            .body(BEAT);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let status = server.status().await;
    assert_eq!(status.status(), 503);
    assert!(status.headers().contains_key("retry-after"));
}

async fn assert_recovers(server: &Server, key: &str) {
    eventually("recovery", async || {
        (server.beat(key, BEAT).await.unwrap() == 200).then_some(())
    })
    .await;
    eventually("a good status", async || {
        (server.status().await.status() == 200).then_some(())
    })
    .await;
    let log = server.stderr();
    let logged = |text| {
        log.iter()
            .filter_map(|line| Some(line.split_once(text)?.1))
            .collect::<Vec<_>>()
    };
    let mut causes = logged("recording beats failed");
    let lines = causes.len();
    causes.sort_unstable();
    causes.dedup();
    assert_eq!(
        causes.len(),
        lines,
        "once per cause, not per beat: {log:#?}"
    );
    assert!((1..=2).contains(&lines), "{log:#?}");
    assert_eq!(logged("recording beats works again").len(), 1, "{log:#?}");
}

#[tokio::test]
async fn a_missing_table_gives_503_until_it_is_back() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    assert_eq!(server.status().await.status(), 200);
    sandbox
        .database()
        .execute_batch("ALTER TABLE heartbeats RENAME TO elsewhere")
        .unwrap();
    assert_unavailable(&server, &key).await;
    sandbox
        .database()
        .execute_batch("ALTER TABLE elsewhere RENAME TO heartbeats")
        .unwrap();
    assert_recovers(&server, &key).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_gives_503_until_there_is_space() {
    if !have(&["sh", "prlimit"]) {
        return;
    }
    let sandbox = Sandbox::new();
    // The limit on the size of files stands in for the disk: with SIGXFSZ ignored, writes beyond it fail.
    let hb = sandbox.hb(&["serve", "--listen", "127.0.0.1:0"]);
    let mut ignoring = Command::new("sh");
    ignoring
        .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
        .arg(hb.get_program())
        .args(hb.get_args());
    ignoring.env_clear().envs(
        hb.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let server = Server::start_by(ignoring).await;
    let key = server.first_key();
    let limit = |size: &str| {
        let args = [
            format!("--pid={}", server.pid()),
            format!("--fsize={size}:unlimited"),
        ];
        assert!(
            Command::new("prlimit")
                .args(args)
                .status()
                .unwrap()
                .success()
        );
    };
    limit("4096");
    assert_unavailable(&server, &key).await;
    assert_eq!(
        sandbox.json(&["host", "list"]),
        serde_json::json!([]),
        "a refused beat is not stored"
    );
    limit("unlimited");
    assert_recovers(&server, &key).await;
}

/// Files that turn read-only under a running server: `chattr +i` stops even those that have them open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_read_only_folder_gives_503_until_it_is_writable() {
    /// Takes the attribute off again, whatever happens, so that the folder can be deleted.
    struct Immutable(Vec<std::path::PathBuf>);
    impl Immutable {
        fn set(&self, how: &str) -> bool {
            let done = Command::new("chattr")
                .arg(how)
                .args(&self.0)
                .stderr(std::process::Stdio::null())
                .status();
            done.is_ok_and(|status| status.success())
        }
    }
    impl Drop for Immutable {
        fn drop(&mut self) {
            self.set("-i");
        }
    }
    if !have(&["chattr"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let key = server.first_key();
    assert_eq!(server.beat(&key, BEAT).await.unwrap(), 200);
    let data = sandbox.path().join("data");
    // Not the shared memory file: the kernel ends a process that writes to a mapped page of it.
    let files = ["heartbeat.db", "heartbeat.db-wal", "."].map(|name| data.join(name));
    let immutable = Immutable(files.into());
    if !immutable.set("+i") {
        skipped("only root may use chattr, and not on every file system");
        return;
    }
    assert_unavailable(&server, &key).await;
    assert!(immutable.set("-i"));
    assert_recovers(&server, &key).await;
}
