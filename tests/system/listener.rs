//! What strangers, odd clients and proxies can do to the listener.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Sandbox, Server, eventually};

/// The address of `server`.
fn address(server: &Server) -> SocketAddr {
    server.url.rsplit('/').next().unwrap().parse().unwrap()
}

/// A connection from the loopback address with this last part.
async fn connect(from: u8, server: &Server) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from: IpAddr = Ipv4Addr::new(127, 0, 0, from).into();
    socket.bind((from, 0).into())?;
    socket.connect(address(server)).await
}

/// What the server answers to these bytes, until it closes the connection.
async fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(1, server).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(&mut stream).await
}

/// Until the server closes the connection; that it does so by a reset is no error.
async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Starts with a limit of open files that leaves few places.
async fn with_few_places(sandbox: &Sandbox, files: u32) -> Server {
    let hb = sandbox.hb(&["serve", "--listen", "127.0.0.1:0"]);
    let mut shell = std::process::Command::new("sh");
    let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    shell
        .arg("-c")
        .arg(script)
        .arg(hb.get_program())
        .args(hb.get_args());
    shell.env_clear();
    for (name, value) in hb.get_envs() {
        shell.env(name, value.unwrap());
    }
    Server::start_by(shell).await
}

#[tokio::test]
async fn half_open_connections_of_strangers_keep_no_host_out() {
    let sandbox = Sandbox::new();
    let server = with_few_places(&sandbox, 256 + 160).await;
    let key = sandbox.key(&[]);
    let log = server.stderr().join("\n");
    assert!(log.contains("allows only 160 connections"), "{log}");
    assert_eq!(
        server.beat(&key, r#"{"hostId":"web-01"}"#).await.unwrap(),
        200
    );

    let mut held = Vec::new();
    for round in 0..40 {
        for from in 2..=21 {
            let mut stream = connect(from, &server).await.unwrap();
            let _ = stream.write_all(b"POST /v1/heartbeat HTTP/1.1\r\n").await;
            held.push(stream);
        }
        let status = server.beat(&key, r#"{"hostId":"web-01"}"#).await;
        assert_eq!(status.unwrap(), 200, "round {round}");
    }
    // A host that the server has not heard yet is a stranger as well.
    let mut stranger = connect(200, &server).await.unwrap();
    let beat = format!("GET /v1/heartbeat/web-02 HTTP/1.0\r\nx-api-key: {key}\r\n\r\n");
    stranger.write_all(beat.as_bytes()).await.unwrap();
    assert!(read(&mut stranger).await.starts_with("HTTP/1.0 200"));
    let (_, log) = server.stop().await;
    let log = log.join("\n");
    assert!(!log.contains("canaries failed"), "{log}");
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_in_words() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let head = "GET /v1/status HTTP/1.1\r\nhost: hb\r\nconnection: close\r\n";
    let one = |name: usize, length: usize| format!("x-{name}: {}\r\n", "a".repeat(length));
    let long = format!("{head}{}\r\n", one(1, 20_000));
    let many: String = (0..120).map(|name| one(name, 1)).collect();
    let usual: String = (0..90).map(|name| one(name, 100)).collect();
    for (request, status) in [
        (long, 431),
        (format!("{head}{many}\r\n"), 431),
        (format!("{head}{usual}\r\n"), 200),
    ] {
        let answer = answer(&server, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    for (request, expected) in [
        (
            "GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            "GET /v1/status HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            "GET /v1/status HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200",
        ),
        ("GET /v1/status HTTP/1.0\r\n\r\n", "HTTP/1.0 200"),
    ] {
        let answer = answer(&server, request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{request}: {answer}");
        assert_eq!(
            answer.contains("invalid_host_header"),
            expected.ends_with("400")
        );
    }
}

#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let mut stream = connect(1, &server).await.unwrap();
    let request = b"GET /v1/status HTTP/1.1\r\nhost: hb\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_http2_client_without_tls_is_told_to_speak_http1() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let answer = answer(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // An empty frame of settings, then GOAWAY with HTTP_1_1_REQUIRED (13).
    assert_eq!(answer.as_bytes()[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let (goaway, text) = answer[9..].split_at(17);
    let length = usize::from(goaway.as_bytes()[2]);
    assert_eq!((goaway.as_bytes()[3], goaway.as_bytes()[16]), (7, 13));
    assert_eq!(length, 8 + text.len());
    assert_eq!(text, "this server speaks HTTP/1.1 only");
}

#[tokio::test]
async fn a_connection_ends_after_a_thousand_requests() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let mut stream = connect(1, &server).await.unwrap();
    let request = b"GET /v1/nothing HTTP/1.1\r\nhost: hb\r\n\r\n".repeat(1_200);
    let (mut reading, mut writing) = stream.split();
    let mut answers = Vec::new();
    let (_, read) = tokio::join!(
        writing.write_all(&request),
        reading.read_to_end(&mut answers)
    );
    let _ = read;
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert_eq!(answers.matches("HTTP/1.1 404").count(), 1_000);
    assert_eq!(answers.matches("connection: close").count(), 1);
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.hb(&["serve", "--listen", "127.0.0.1:0"]);
    command
        .args(["--trust-proxy", "127.0.0.8/29,10.0.0.0/8"])
        .env("HB_LOG", "debug");
    let server = Server::start_by(command).await;
    let key = sandbox.key(&[]);
    for (from, host, client) in [
        (9, "by-proxy", "198.51.100.9"),
        (2, "by-itself", "127.0.0.2"),
    ] {
        let mut stream = connect(from, &server).await.unwrap();
        let request = format!(
            "GET /v1/heartbeat/{host} HTTP/1.0\r\nx-api-key: {key}\r\n\
             x-forwarded-for: 203.0.113.9, 198.51.100.{from}, 10.1.1.1\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(read(&mut stream).await.starts_with("HTTP/1.0 200"));
        let shown = sandbox
            .run(&["host", "show", host, "--output", "json"])
            .stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["address"], client);
    }
    eventually("both clients in the log", async || {
        let log = server.stderr().join("\n");
        let both = ["client=198.51.100.9", "client=127.0.0.2"];
        (both.iter().all(|client| log.contains(client)) && !log.contains("client=198.51.100.2"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_dead_proxy_in_front_of_the_server_is_noticed() {
    let sandbox = Sandbox::new();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", proxy.local_addr().unwrap());
    drop(proxy);
    let server = Server::start(&sandbox, &["--public-url", &url]).await;
    eventually("failed canaries", async || {
        let log = server.stderr().join("\n");
        log.contains("receiving canaries failed").then_some(())
    })
    .await;
}
