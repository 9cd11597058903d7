//! A web server on this machine that answers requests by a rule.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::name;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) text: String,
    pub(crate) body: serde_json::Value,
    pub(crate) status: u16,
}

impl Request {
    pub(crate) fn key(&self) -> &str {
        self.header("idempotency-key")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let name = format!("{name}: ");
        let mut lines = self.head.lines();
        let line = lines.find(|line| line.to_lowercase().starts_with(&name));
        &line.unwrap()[name.len()..]
    }

    /// Its kind and its hosts: `missing a b`.
    pub(crate) fn what(&self) -> String {
        let hosts = self.body["hosts"].as_array().unwrap().iter();
        let hosts: Vec<_> = hosts.map(|host| host["hostId"].as_str().unwrap()).collect();
        format!(
            "{} {}",
            self.body["kind"].as_str().unwrap(),
            hosts.join(" ")
        )
    }
}

/// The status of the answer to a request.
type Rule = Box<dyn Fn(&Request) -> u16 + Send + Sync>;

pub(crate) struct Hook {
    pub(crate) url: String,
    status: Arc<AtomicU16>,
    rule: Arc<Rule>,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The status of a hook that never answers.
pub(crate) const HANG: u16 = 0;

impl Hook {
    /// Answers every request alike.
    pub(crate) async fn listen(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let current = status.clone();
        Self {
            status,
            ..Self::answering(move |_| current.load(Ordering::SeqCst)).await
        }
    }

    /// Answers a request by `rule`, which sees it without a status.
    pub(crate) async fn answering(rule: impl Fn(&Request) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/s3cr3t", listener.local_addr().unwrap());
        let hook = Self {
            url,
            status: Arc::default(),
            rule: Arc::new(Box::new(rule)),
            requests: Arc::default(),
        };
        let (rule, requests) = (hook.rule.clone(), hook.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, rule.clone(), requests.clone()));
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

    /// What was answered with 200, in the order of arrival.
    pub(crate) fn taken(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.status == 200);
        requests
    }

    pub(crate) async fn until_requests(&self, count: usize) {
        for _ in 0..1_000 {
            if self.requests().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("expected {count} requests, got {}", self.requests().len());
    }
}

async fn answer(stream: TcpStream, rule: Arc<Rule>, requests: Arc<Mutex<Vec<Request>>>) {
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
    let mut request = Request {
        head,
        text: String::from_utf8(body.clone()).unwrap(),
        body: serde_json::from_slice(&body).unwrap(),
        status: 0,
    };
    let status = rule(&request);
    request.status = status;
    requests.lock().unwrap().push(request);
    if status == HANG {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let body = "Cannot POST /hooks/s3cr3t\u{7}";
    let answer = format!(
        "HTTP/1.1 {status} Said\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(answer.as_bytes()).await.ok();
}
