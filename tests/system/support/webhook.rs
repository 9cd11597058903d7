//! A receiver of webhooks that can be down and come back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) idempotency_key: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) notice: Value,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.notice["kind"] == kind
    }

    /// The hosts that it is about.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.notice["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host["hostId"].as_str().unwrap())
    }
}

pub(crate) struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    how: Arc<Mutex<How>>,
    up: Option<JoinHandle<()>>,
}

/// How requests are answered.
#[derive(Clone, Copy)]
struct How {
    status: u16,
    /// At the longest after so long.
    after: Duration,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let how = How {
            status: 200,
            after: Duration::ZERO,
        };
        let mut webhook = Self {
            address,
            received: Arc::default(),
            how: Arc::new(Mutex::new(how)),
            up: None,
        };
        webhook.listen(listener);
        webhook
    }

    fn listen(&mut self, listener: TcpListener) {
        let (received, how) = (self.received.clone(), self.how.clone());
        self.up = Some(tokio::spawn(async move {
            // Connections end with the task that accepted them.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (received, how) = (received.clone(), how.clone());
                let service =
                    service_fn(move |request| answer(request, received.clone(), how.clone()));
                connections.spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        }));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Stops listening.
    pub(crate) async fn go_down(&mut self) {
        let up = self.up.take().unwrap();
        up.abort();
        let _ = up.await;
    }

    /// Listens again at the same address.
    pub(crate) async fn come_back(&mut self) {
        let listener = super::eventually("the old port", async || {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        self.listen(listener);
    }

    /// Answers every request from now on with `status`; only requests answered with 200 count as received.
    pub(crate) fn answer_with(&self, status: u16) {
        self.how.lock().unwrap().status = status;
    }

    /// From now on records a notice at once and answers up to `longest` later: a sender that is killed meanwhile does not
    /// know that it was received.
    pub(crate) fn answer_within(&self, longest: Duration) {
        self.how.lock().unwrap().after = longest;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The hosts of all notices of a kind, those of digests as well, sorted.
    pub(crate) fn hosts(&self, kind: &str) -> Vec<String> {
        let received = self.received();
        let of_kind = received.iter().filter(|received| received.is(kind));
        let mut hosts: Vec<_> = of_kind
            .flat_map(Received::hosts)
            .map(ToOwned::to_owned)
            .collect();
        hosts.sort();
        hosts
    }

    /// By host the notices of a kind, each by its id and when it came first: a copy of a notice bears the same id,
    /// alone or in a digest.
    pub(crate) fn notices(&self, kind: &str) -> BTreeMap<String, BTreeMap<String, usize>> {
        let mut notices: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for (sandbox, received) in self
            .received()
            .iter()
            .enumerate()
            .filter(|(_, received)| received.is(kind))
        {
            for host in received.hosts() {
                let ids = notices.entry(host.to_owned()).or_default();
                ids.entry(received.idempotency_key.clone())
                    .or_insert(sandbox);
            }
        }
        notices
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if let Some(up) = self.up.take() {
            up.abort();
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Vec<Received>>>,
    how: Arc<Mutex<How>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers: BTreeMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
        .collect();
    let idempotency_key = headers.get("idempotency-key").cloned().unwrap_or_default();
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let How { status, after } = *how.lock().unwrap();
    if status == 200 {
        let notice = serde_json::from_slice(&body).unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let count = {
            let mut received = received.lock().unwrap();
            received.push(Received {
                idempotency_key,
                headers,
                notice,
                body,
            });
            received.len()
        };
        // From none at all to the longest, one after another.
        tokio::time::sleep(after * u32::try_from(count % 8).unwrap() / 7).await;
    }
    Ok(Response::builder()
        .status(status)
        .body(Full::default())
        .unwrap())
}
