//! Hosts that beat as `curl` does: each beat on a connection of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::Server;
use crate::{HOSTS, INTERVAL, PAUSE, SOON};

pub(crate) const SILENT: &str = "silent";

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    slowest: Mutex<Duration>,
    silence: AtomicBool,
}

pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) slowest: Duration,
}

pub(crate) struct Fleet(Arc<Shared>);

impl Fleet {
    pub(crate) fn start(server: &Server) -> Self {
        let shared = Arc::new(Shared::default());
        for n in 0..=HOSTS {
            let name = if n == 0 {
                SILENT.to_owned()
            } else {
                format!("live-{n}")
            };
            let request: Arc<str> = format!(
                "GET /v1/heartbeat/{name}?intervalMs={} HTTP/1.0\r\nx-api-key: {}\r\n\r\n",
                INTERVAL.as_millis(),
                server.key
            )
            .into();
            let (shared, port) = (shared.clone(), server.port);
            tokio::spawn(async move {
                tokio::time::sleep(
                    PAUSE * u32::try_from(n).unwrap() / u32::try_from(HOSTS).unwrap(),
                )
                .await;
                let mut beats = tokio::time::interval(PAUSE);
                while n > 0 || !shared.silence.load(Ordering::Relaxed) {
                    beats.tick().await;
                    // The next one is sent in time, however long this one takes.
                    tokio::spawn(count(shared.clone(), port, request.clone()));
                }
            });
        }
        Self(shared)
    }

    /// One host stops.
    pub(crate) fn silence(&self) -> Timestamp {
        self.0.silence.store(true, Ordering::Relaxed);
        Timestamp::now()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.0.sent.load(Ordering::Relaxed),
            answered: self.0.answered.load(Ordering::Relaxed),
            slowest: *self.0.slowest.lock().unwrap(),
        }
    }
}

async fn count(shared: Arc<Shared>, port: u16, request: Arc<str>) {
    let began = Instant::now();
    let answered = tokio::time::timeout(SOON, beat(port, &request)).await;
    shared.sent.fetch_add(1, Ordering::Relaxed);
    if matches!(answered, Ok(Ok(true))) {
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
    let mut slowest = shared.slowest.lock().unwrap();
    *slowest = (*slowest).max(began.elapsed());
}

async fn beat(port: u16, request: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.0 200"))
}
