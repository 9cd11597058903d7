//! A service with scripted answers that keeps the beats it receives.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A status, and headers with it.
pub(crate) type Answer = (u16, &'static [(&'static str, &'static str)]);

/// Of an answer that is not one of the service.
pub(crate) const HTML: (&str, &str) = ("content-type", "text/html");

pub(crate) struct Scripted {
    pub(crate) url: String,
    beats: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Gives each answer once, in this order, and the last one again and again.
    pub(crate) async fn answering(answers: &'static [Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let beats = Arc::<Mutex<Vec<Value>>>::default();
        let kept = beats.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service = service_fn(move |request| answer(request, kept.clone(), answers));
                connections.spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, beats, task }
    }

    /// The beats that came, in order.
    pub(crate) fn beats(&self) -> Vec<Value> {
        self.beats.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    beats: Arc<Mutex<Vec<Value>>>,
    answers: &[Answer],
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut beats = beats.lock().unwrap();
    let (status, headers) = answers[beats.len().min(answers.len() - 1)];
    beats.push(serde_json::from_slice(&body).unwrap());
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = match status {
        _ if headers.contains(&HTML) => "<html>Welcome to our network</html>",
        200 => r#"{"message":"OK"}"#,
        _ => r#"{"message": "no", "detail": "as the test\u202e has it"}"#,
    };
    Ok(answer.body(Full::from(body)).unwrap())
}
