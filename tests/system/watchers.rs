//! Who watches the watcher: another server by `--ping-url`, and systemd.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Duration;

use crate::support::{Sandbox, Server, eventually};

/// What the server sent to systemd since the last call.
fn received(socket: &UnixDatagram) -> Vec<String> {
    let mut datagram = [0; 1_000];
    std::iter::from_fn(|| {
        let size = socket.recv(&mut datagram).ok()?;
        Some(String::from_utf8(datagram[..size].to_vec()).unwrap())
    })
    .collect()
}

/// `hb serve` with a sweep each second, started as systemd does it.
fn under_systemd(sandbox: &Sandbox, socket: &str, watchdog: &[(&str, &str)]) -> Command {
    let mut hb = sandbox.hb(&["serve", "--listen", "127.0.0.1:0", "--sweep-every", "1s"]);
    hb.env("NOTIFY_SOCKET", socket)
        .envs(watchdog.iter().copied());
    hb
}

/// A socket of the file system, and its name.
fn bind(sandbox: &Sandbox) -> (UnixDatagram, String) {
    let path = sandbox.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn systemd_hears_of_start_stop_and_completed_sweeps_alone() {
    let sandbox = Sandbox::new();
    let (socket, name) = bind(&sandbox);
    let server = Server::start_by(under_systemd(
        &sandbox,
        &name,
        &[("WATCHDOG_USEC", "60000000")],
    ))
    .await;
    let mut all = Vec::new();
    eventually("two sweeps", async || {
        all.extend(received(&socket));
        (all.len() > 2).then_some(())
    })
    .await;
    assert_eq!(all[..3], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        sandbox.database().execute_batch(&sql).unwrap();
    };
    rename("heartbeats", "elsewhere");
    eventually("a sweep that fails", async || {
        let failed = |line: &String| line.contains("sweeping failed");
        server.stderr().iter().any(failed).then_some(())
    })
    .await;
    received(&socket);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(received(&socket), Vec::<String>::new());
    rename("elsewhere", "heartbeats");
    eventually("a sweep that works", async || {
        received(&socket).pop().filter(|last| last == "WATCHDOG=1")
    })
    .await;
    assert_eq!(server.stop().await.0, 0);
    assert!(received(&socket).contains(&"STOPPING=1".to_owned()));
}

#[tokio::test]
async fn a_watchdog_of_systemd_is_extended_to_three_sweeps_and_ignored_if_it_is_for_another_process()
 {
    let sandbox = Sandbox::new();
    let name = format!("hb-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let first = async |watchdog: &[(&str, &str)]| {
        let mut hb = under_systemd(&sandbox, &format!("@{name}"), watchdog);
        hb.env("HB_LOG", "debug");
        let server = Server::start_by(hb).await;
        eventually("a sweep", async || {
            let swept = |line: &String| line.contains("swept");
            server.stderr().iter().any(swept).then_some(())
        })
        .await;
        assert_eq!(server.stop().await.0, 0);
        received(&socket)
    };
    let short = first(&[("WATCHDOG_USEC", "2000000")]).await;
    assert_eq!(short[..2], ["READY=1\nWATCHDOG_USEC=3000000", "WATCHDOG=1"]);
    let other = first(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")]).await;
    assert_eq!(other, ["READY=1", "STOPPING=1"]);
}

#[tokio::test]
async fn an_address_that_hangs_delays_no_sweep() {
    let sandbox = Sandbox::new();
    let (socket, name) = bind(&sandbox);
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    hanging.set_nonblocking(true).unwrap();
    let mut hb = under_systemd(&sandbox, &name, &[("WATCHDOG_USEC", "60000000")]);
    hb.env(
        "HB_PING_URL",
        format!("http://{}", hanging.local_addr().unwrap()),
    );
    let _server = Server::start_by(hb).await;
    let mut sweeps = 0;
    eventually("sweeps", async || {
        let all = received(&socket);
        sweeps += all.iter().filter(|state| *state == "WATCHDOG=1").count();
        (sweeps > 3).then_some(())
    })
    .await;
    let pings = std::iter::from_fn(|| hanging.accept().ok()).count();
    assert!(
        (1..sweeps).contains(&pings),
        "{pings} pings, {sweeps} sweeps"
    );
}

#[tokio::test]
async fn two_servers_watch_each_other() {
    let (a, b) = (Sandbox::new(), Sandbox::new());
    let mut urls = Vec::new();
    for sandbox in [&a, &b] {
        let server = Server::start(sandbox, &[]).await;
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        urls.push((address, server.first_key()));
        assert_eq!(server.stop().await.0, 0);
    }
    let start = async |sandbox: &Sandbox, own: usize, name: &str| {
        let (other, key) = &urls[1 - own];
        let ping = format!("http://:{key}@{other}/v1/heartbeat/{name}?intervalMs=5000&x=T0PSECRET");
        let mut hb = sandbox.hb(&["serve", "--listen", &urls[own].0, "--sweep-every", "1s"]);
        hb.env("HB_PING_URL", ping).env("HB_LOG", "trace");
        let server = Server::start_by(hb).await;
        sandbox.send_at_once();
        server
    };
    let mut servers = (start(&a, 0, "hb-a").await, start(&b, 1, "hb-b").await);
    for (sandbox, other) in [(&a, "hb-b"), (&b, "hb-a")] {
        eventually("a ping", async || {
            let hosts = sandbox.json(&["host", "list"]);
            (hosts[0]["hostId"] == other && hosts[0]["state"] == "up").then_some(())
        })
        .await;
    }
    servers.1.kill();
    eventually("a notice about the dead server", async || {
        let missing = |line: &String| line.contains("MISSING hb-b: ");
        servers.0.stdout().iter().any(missing).then_some(())
    })
    .await;
    let _again = start(&b, 1, "hb-b").await;
    eventually("both recoveries", async || {
        let back = |line: &String| line.contains("RECOVERED hb-b: ");
        let works = |line: &String| line.contains("--ping-url works again");
        (servers.0.stdout().iter().any(back) && servers.0.stderr().iter().any(works)).then_some(())
    })
    .await;
    for server in [&servers.0, &servers.1] {
        let log = server.stderr().join("\n");
        for secret in [&urls[0].1[16..], &urls[1].1[16..], "T0PSECRET"] {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }
}
