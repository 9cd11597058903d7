//! What strangers do, each from an address of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::STRANGERS;
use crate::server::Server;

/// Connections of a stranger at a time: together more than there are places.
const CONNECTIONS: usize = 300;
/// Descriptors that the fleet may need.
const OTHERS: u64 = 1_500;
/// Refused requests a second, of all strangers.
const REFUSED: u64 = 2_000;

static CONNECTED: AtomicU64 = AtomicU64::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn connections() -> u64 {
    CONNECTED.load(Ordering::Relaxed)
}

pub(crate) fn refused() -> u64 {
    ANSWERED.load(Ordering::Relaxed)
}

/// Until it is dropped.
pub(crate) fn start(server: &Server) -> JoinSet<()> {
    let mut floods = JoinSet::new();
    let port = server.port;
    let each = connections_each();
    println!("{each} connections of each of {STRANGERS} strangers");
    for stranger in 0..STRANGERS {
        let from = Ipv4Addr::new(127, 0, 0, 2 + stranger);
        for n in 0..each {
            floods.spawn(async move {
                loop {
                    // A connection that the server closes is opened again.
                    let _ = misbehave(n, from, port).await;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
        floods.spawn(async move {
            loop {
                let _ = send_wrong_keys(from, port).await;
            }
        });
    }
    floods
}

/// As many as are wanted, if the limit of open files allows it.
fn connections_each() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let each = limit.saturating_sub(OTHERS) / u64::from(STRANGERS);
    usize::try_from(each).unwrap_or(usize::MAX).min(CONNECTIONS)
}

async fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(from), 0).into())?;
    let stream = socket
        .connect((IpAddr::from(Ipv4Addr::LOCALHOST), port).into())
        .await?;
    CONNECTED.fetch_add(1, Ordering::Relaxed);
    Ok(stream)
}

/// One of: half open, a slow head, a head without an end, a slow body, answers that are not read.
async fn misbehave(n: usize, from: Ipv4Addr, port: u16) -> std::io::Result<()> {
    let mut stream = connect(from, port).await?;
    let head = "POST /v1/heartbeat HTTP/1.1\r\nhost: hb\r\nx-api-key: hbk_wrong\r\n";
    match n % 30 {
        0 => {
            // Ten a second, of which no answer is read.
            let request = "GET /v1/nothing HTTP/1.1\r\nhost: hb\r\n\r\n".repeat(10);
            loop {
                stream.write_all(request.as_bytes()).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        1..9 => stream.read_u8().await.map(drop),
        9..16 => loop {
            for byte in head.as_bytes() {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        },
        16..23 => {
            stream.write_all(head.as_bytes()).await?;
            stream
                .write_all(&[b"x-y: ", [b'z'; 14_000].as_slice()].concat())
                .await?;
            stream.read_u8().await.map(drop)
        }
        _ => {
            stream
                .write_all(format!("{head}content-length: 1000\r\n\r\n").as_bytes())
                .await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Requests with keys that nobody has, on one connection for as long as the server keeps it.
async fn send_wrong_keys(from: Ipv4Addr, port: u16) -> std::io::Result<()> {
    let mut stream = connect(from, port).await?;
    let mut pace = tokio::time::interval(
        Duration::from_secs(1) * u32::from(STRANGERS) / u32::try_from(REFUSED).unwrap(),
    );
    let request = b"GET /v1/heartbeat/x HTTP/1.1\r\nhost: hb\r\nx-api-key: hbk_a4dqobyha4_fivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivajrcfnci\r\n\r\n";
    let mut answer = [0; 2_048];
    loop {
        pace.tick().await;
        stream.write_all(request).await?;
        if stream.read(&mut answer).await? == 0 {
            return Ok(());
        }
        ANSWERED.fetch_add(1, Ordering::Relaxed);
    }
}
