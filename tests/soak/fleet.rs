//! Hosts that beat as `curl` does: each beat on a connection of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::faults::Fault;
use crate::server::Server;
use crate::{HOSTS, INTERVAL, PAUSE, SOON};

/// Hosts that can fall silent.
const SILENT: usize = Fault::ALL.len();
/// A new host each time, while the fleet grows.
const GROWTH: Duration = Duration::from_millis(20);
const DAY_MS: u32 = 86_400_000;

pub(crate) fn silent(n: usize) -> String {
    format!("silent-{n}")
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    slowest: Mutex<Duration>,
    silence: [AtomicBool; SILENT],
    grows: AtomicBool,
    uncounted: AtomicBool,
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
        for n in 0..HOSTS {
            let name = if n < SILENT {
                silent(n)
            } else {
                format!("live-{n}")
            };
            let request: Arc<str> = request(
                &name,
                u32::try_from(INTERVAL.as_millis()).unwrap(),
                &server.key,
            )
            .into();
            let (shared, port) = (shared.clone(), server.port);
            tokio::spawn(async move {
                let share = u32::try_from(n).unwrap();
                tokio::time::sleep(PAUSE * share / u32::try_from(HOSTS).unwrap()).await;
                let mut beats = tokio::time::interval(PAUSE);
                let silent = || {
                    shared
                        .silence
                        .get(n)
                        .is_some_and(|silent| silent.load(Ordering::Relaxed))
                };
                while !silent() {
                    beats.tick().await;
                    // The next one is sent in time, however long this one takes.
                    tokio::spawn(count(shared.clone(), port, request.clone()));
                }
            });
        }
        tokio::spawn(grow(shared.clone(), server.port, server.key.clone()));
        Self(shared)
    }

    /// One host stops.
    pub(crate) fn silence(&self, n: usize) -> Timestamp {
        self.0.silence[n].store(true, Ordering::Relaxed);
        Timestamp::now()
    }

    /// Whether new hosts come, with an interval of a day. Their beats are not counted.
    pub(crate) fn grow(&self, grows: bool) {
        self.0.grows.store(grows, Ordering::Relaxed);
    }

    pub(crate) fn count_beats(&self, counts: bool) {
        self.0.uncounted.store(!counts, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.0.sent.load(Ordering::Relaxed),
            answered: self.0.answered.load(Ordering::Relaxed),
            slowest: *self.0.slowest.lock().unwrap(),
        }
    }
}

fn request(name: &str, interval_ms: u32, key: &str) -> String {
    format!(
        "GET /v1/heartbeat/{name}?intervalMs={interval_ms} HTTP/1.0\r\nx-api-key: {key}\r\n\r\n"
    )
}

async fn grow(shared: Arc<Shared>, port: u16, key: String) {
    let mut names = 0_u32..;
    loop {
        tokio::time::sleep(GROWTH).await;
        if shared.grows.load(Ordering::Relaxed) {
            let request = request(&format!("new-{}", names.next().unwrap()), DAY_MS, &key);
            let _ = beat(port, &request).await;
        }
    }
}

async fn count(shared: Arc<Shared>, port: u16, request: Arc<str>) {
    let began = Instant::now();
    let answered = tokio::time::timeout(SOON, beat(port, &request)).await;
    if shared.uncounted.load(Ordering::Relaxed) {
        return;
    }
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
