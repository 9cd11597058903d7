//! Nobody reads standard output and standard error, such as after Ctrl-S in a terminal: the service goes on.

use crate::support::{Sandbox, Server, beat_all, eventually, keep_heard};

/// So many that their beats fill the log, and each digest of them fills standard output.
const HOSTS: usize = 3_000;

/// Starts a server that logs each beat, and fills both of its pipes.
async fn stuck(sandbox: &Sandbox) -> (Server, String) {
    let mut command = sandbox.hb(&["serve", "--listen", "127.0.0.1:0", "--sweep-every", "1s"]);
    command.args(["--output", "json"]).env("HB_LOG", "trace");
    let server = Server::start_by(command).await;
    sandbox.send_at_once();
    let key = sandbox.key(&[]);
    (server, key)
}

/// Each host beats until it is acknowledged.
async fn all_beat(server: &Server, key: &str, interval: u64) {
    // Long names make long digests.
    let names: Vec<_> = (0..HOSTS).map(|i| format!("host-{i:0100}")).collect();
    let hosts = names.iter().map(|name| (name.as_str(), interval));
    beat_all(key, || Some(server.url.clone()), hosts).await;
}

/// The number of hosts in the printed notices of `kind`.
fn printed(server: &Server, kind: &str) -> usize {
    let notices = server.stdout().into_iter().map(|line| {
        let notice: serde_json::Value = serde_json::from_str(&line).unwrap();
        notice
    });
    let of_kind = notices.filter(|notice| notice["kind"] == kind);
    of_kind
        .map(|notice| notice["hosts"].as_array().unwrap().len())
        .sum()
}

#[tokio::test]
async fn pipes_that_nobody_reads_hold_up_no_beat_and_lose_no_notice() {
    let sandbox = Sandbox::new();
    let (server, key) = stuck(&sandbox).await;
    keep_heard(&key, &server.url);
    server.read(false);
    for (kind, interval) in [
        ("registered", 600_000),
        ("missing", 1_000),
        ("recovered", 600_000),
    ] {
        all_beat(&server, &key, interval).await;
        eventually(kind, async || {
            (sandbox.notified(kind).len() >= HOSTS).then_some(())
        })
        .await;
    }
    server.read(true);
    eventually("the number of lost lines", async || {
        let lost = |line: &String| {
            line.contains("standard error could not be written: ")
                && line.contains(" lines were dropped")
        };
        server.stderr().iter().any(lost).then_some(())
    })
    .await;
    for kind in ["registered", "missing", "recovered"] {
        eventually("each host in a notice", async || {
            (printed(&server, kind) >= HOSTS).then_some(())
        })
        .await;
    }
    assert_eq!(server.stop().await.0, 0);
}

#[tokio::test]
async fn a_server_stops_while_nobody_reads_its_output() {
    let sandbox = Sandbox::new();
    let (server, key) = stuck(&sandbox).await;
    server.read(false);
    all_beat(&server, &key, 600_000).await;
    assert_eq!(server.stop().await.0, 0);
}
