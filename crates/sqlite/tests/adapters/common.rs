//! A folder with a database, and endpoints that listen on this machine.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Kind, Notice, NoticeId, Protocol, Subscription, Timestamp,
};
use hb_service::ports::{Deliveries, Subscriptions, Tally};
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_sqlite::{
    ConsoleSender, Courier, Senders, SqliteDeliveries, SqliteSubscriptions, SqliteTopic, Store,
    WebhookSender,
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) topic: SqliteTopic,
    pub(crate) subscriptions: SqliteSubscriptions,
    /// The names of what the console showed.
    pub(crate) shown: Arc<Mutex<Vec<String>>>,
}

pub(crate) const START: i64 = 1_700_000_000_000;

/// A token that confirms.
pub(crate) fn token() -> ConfirmationToken {
    ConfirmationToken::from_random([7; 20])
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START).unwrap()));
        Self {
            topic: SqliteTopic::new(store.clone(), clock.clone()),
            subscriptions: SqliteSubscriptions::new(store.clone()),
            shown: Arc::default(),
            dir,
            store,
            clock,
        }
    }

    pub(crate) async fn subscribe(
        &self,
        id: &str,
        protocol: Protocol,
        address: &str,
        filter: Filter,
    ) {
        let subscription = Subscription {
            id: id.parse().unwrap(),
            endpoint: Endpoint::parse(protocol, address).unwrap(),
            filter,
            created: Timestamp::MIN,
        };
        assert!(
            self.subscriptions
                .add(&subscription, &token())
                .await
                .unwrap()
        );
        if protocol == Protocol::Email {
            assert!(self.subscriptions.confirm(&token()).await.unwrap());
        }
    }

    pub(crate) fn senders(&self) -> Senders {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = self.shown.clone();
        let console =
            ConsoleSender::new(move |notice| shown.lock().unwrap().push(name(&notice.json())));
        Senders::default()
            .with(Protocol::Console, Arc::new(console))
            .with(Protocol::Http, Arc::new(WebhookSender::new().unwrap()))
    }

    /// Starts a courier, as a process of its own would: with its own connections.
    pub(crate) fn courier(&self, senders: Senders) -> Running {
        let store = Store::open(self.dir.path()).unwrap();
        let courier = Courier::new(
            store,
            senders,
            self.clock.clone(),
            Arc::new(CountingIds::default()),
        )
        .polling_every(Duration::from_millis(10));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(courier.run(async { drop(stopped.await) }));
        Running { stop, task }
    }

    pub(crate) async fn tally(&self, subscription: &str) -> Tally {
        let tallies = SqliteDeliveries::new(self.store.clone())
            .tally()
            .await
            .unwrap();
        tallies
            .get(&subscription.parse().unwrap())
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until the tally of `subscription` is as `done` wants it.
    pub(crate) async fn until(&self, subscription: &str, done: impl Fn(&Tally) -> bool) -> Tally {
        for _ in 0..1_000 {
            let tally = self.tally(subscription).await;
            if done(&tally) {
                return tally;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{subscription} never came so far: {:?}",
            self.tally(subscription).await
        );
    }

    /// The number that `sql` gives.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let connection = Connection::open(self.store.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn sql(&self, sql: &str) {
        Connection::open(self.store.path())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).ok();
        self.task.await.unwrap();
    }

    /// As if the machine lost its power.
    pub(crate) async fn kill(self) {
        self.task.abort();
        self.task.await.ok();
    }
}

/// The notice of a transition of `host`.
pub(crate) fn notice(host: &str, epoch: u64, kind: Kind) -> Notice {
    serde_json::from_value(serde_json::json!({
        "id": notice_id(host, epoch), "attempt": 1, "kind": kind, "fleet": "main",
        "host": {"hostId": host, "since": START, "lastBeat": START, "interval": 600_000, "epoch": epoch,
                 "message": null, "before": null},
        "at": START, "region": "local",
    }))
    .unwrap()
}

/// Host and epoch of a notice as JSON: `web1`.
pub(crate) fn name(notice: &serde_json::Value) -> String {
    let host = &notice["hosts"][0];
    format!("{}{}", host["hostId"].as_str().unwrap(), host["epoch"])
}

/// An id that no other transition of these tests has.
pub(crate) fn notice_id(host: &str, epoch: u64) -> NoticeId {
    let mut bytes = [0; 32];
    format!("{epoch}{host}")
        .bytes()
        .zip(&mut bytes)
        .for_each(|(byte, place)| *place = byte);
    NoticeId::of_bytes(bytes)
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: serde_json::Value,
    pub(crate) status: u16,
}

/// A web server with one answer at a time.
pub(crate) struct Hook {
    pub(crate) url: String,
    status: Arc<AtomicU16>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The status of a hook that never answers.
pub(crate) const HANG: u16 = 0;

impl Hook {
    pub(crate) async fn listen(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/s3cr3t", listener.local_addr().unwrap());
        let hook = Self {
            url,
            status: Arc::new(AtomicU16::new(status)),
            requests: Arc::default(),
        };
        let (status, requests) = (hook.status.clone(), hook.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, status.clone(), requests.clone()));
            }
        });
        hook
    }

    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The names, host and epoch, of the notices that were answered with `status`, in the order of arrival.
    pub(crate) fn ids(&self, status: u16) -> Vec<String> {
        let requests = self
            .requests()
            .into_iter()
            .filter(|request| request.status == status);
        requests.map(|request| name(&request.body)).collect()
    }

    pub(crate) async fn until_requests(&self, count: usize) {
        for _ in 0..1_000 {
            if self.requests().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("of {count} requests only {} came", self.requests().len());
    }
}

async fn answer(stream: TcpStream, status: Arc<AtomicU16>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let status = status.load(Ordering::SeqCst);
    requests.lock().unwrap().push(Request {
        head,
        body: serde_json::from_slice(&body).unwrap(),
        status,
    });
    if status == HANG {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let said = "Cannot POST /hooks/s3cr3t\u{7}";
    let answer = format!(
        "HTTP/1.1 {status} Said\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
        said.len()
    );
    stream.get_mut().write_all(answer.as_bytes()).await.ok();
}
