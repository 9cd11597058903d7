//! A receiver of webhooks that can be down and come back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

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
    pub(crate) notice: Value,
}

pub(crate) struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<Mutex<u16>>,
    up: Option<JoinHandle<()>>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut webhook =
            Self { address, received: Arc::default(), status: Arc::new(Mutex::new(200)), up: None };
        webhook.listen(listener);
        webhook
    }

    fn listen(&mut self, listener: TcpListener) {
        let (received, status) = (self.received.clone(), self.status.clone());
        self.up = Some(tokio::spawn(async move {
            // Connections end with the task that accepted them.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (received, status) = (received.clone(), status.clone());
                let service = service_fn(move |request| answer(request, received.clone(), status.clone()));
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

    /// Nobody listens any more.
    pub(crate) async fn go_down(&mut self) {
        let up = self.up.take().unwrap();
        up.abort();
        let _ = up.await;
    }

    /// Listens again at the same address.
    pub(crate) async fn come_back(&mut self) {
        let listener =
            super::eventually("the old port", async || TcpListener::bind(self.address).await.ok()).await;
        self.listen(listener);
    }

    /// From now on every request is answered so, and only what gets 200 counts as received.
    pub(crate) fn answer_with(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The hosts of all notices of a kind, those of digests as well, sorted.
    pub(crate) fn hosts(&self, kind: &str) -> Vec<String> {
        let received = self.received();
        let of_kind = received.iter().filter(|received| received.notice["kind"] == kind);
        let mut hosts: Vec<_> = of_kind
            .flat_map(|received| received.notice["hosts"].as_array().unwrap())
            .map(|host| host["hostId"].as_str().unwrap().to_owned())
            .collect();
        hosts.sort();
        hosts
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
    status: Arc<Mutex<u16>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header =
        |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let idempotency_key = header("idempotency-key");
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status = *status.lock().unwrap();
    if status == 200 {
        let notice = serde_json::from_slice(&body).unwrap();
        received.lock().unwrap().push(Received { idempotency_key, notice });
    }
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}
