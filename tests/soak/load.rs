//! How many beats a second the server stores, and what a connection costs.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::server::Server;

const CONNECTIONS: usize = 32;
const RUN: Duration = Duration::from_secs(5);
const KEYS: usize = 100_000;

pub(crate) async fn run(server: &Server) {
    println!("memory when idle: {} MB", server.memory_mb());
    for _ in 0..3 {
        let (began, cpu) = (Instant::now(), server.cpu());
        let mut clients = JoinSet::new();
        for n in 0..CONNECTIONS {
            let keys = std::iter::repeat(server.key.clone());
            clients.spawn(client(server.port, n, keys, began + RUN));
        }
        let beats: u32 = clients.join_all().await.into_iter().sum();
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), server.cpu() - cpu);
        let (each, rate) = (cpu * 1e6 / f64::from(beats), f64::from(beats) / seconds);
        println!("{rate:.0} beats a second, {each:.1} µs of CPU time each");
    }
    println!("memory at most: {} MB", server.memory_mb());
    let keys = server.create_keys(KEYS);
    let mut clients = JoinSet::new();
    let shares = keys.chunks(KEYS / CONNECTIONS).map(<[_]>::to_vec);
    for (n, keys) in shares.enumerate() {
        clients.spawn(client(
            server.port,
            n,
            keys.into_iter(),
            Instant::now() + Duration::from_mins(5),
        ));
    }
    let beats: u32 = clients.join_all().await.into_iter().sum();
    println!(
        "memory after {beats} beats of {KEYS} keys: {} MB",
        server.memory_mb()
    );
    let mut held = Vec::new();
    for n in 0..4_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        let request = format!(
            "GET /v1/heartbeat/{n} HTTP/1.1\r\nx-y: {}",
            "z".repeat(15_000)
        );
        let _ = stream.write_all(request.as_bytes()).await;
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!(
        "memory after 4000 heads of 15 KB without an end: {} MB",
        server.memory_mb()
    );
}

/// Sends a beat for each of `keys` on one connection, which it opens again when it ends.
async fn client(
    port: u16,
    n: usize,
    mut keys: impl Iterator<Item = String>,
    until: Instant,
) -> u32 {
    let mut request = move || {
        let key = keys.next()?;
        Some(format!(
            "GET /v1/heartbeat/web-{n} HTTP/1.1\r\nhost: hb\r\nx-api-key: {key}\r\n\r\n"
        ))
    };
    let mut answer = [0; 1_024];
    let mut beats = 0;
    while Instant::now() < until {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        while Instant::now() < until {
            let Some(request) = request() else {
                return beats;
            };
            let sent = stream.write_all(request.as_bytes()).await;
            let read = stream.read(&mut answer).await;
            match (sent, read) {
                (Ok(()), Ok(length)) if length > 0 => beats += 1,
                _ => break,
            }
        }
    }
    beats
}
