//! The Lambda Runtime API, as much as a function asks of it.
//!
//! Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// What a function made of an event: its answer, or its error with `errorType` and `errorMessage`.
pub(crate) type Reply = Result<Value, Value>;

/// An event on its way to a function.
struct Invocation {
    event: Vec<u8>,
    /// Milliseconds since 1970.
    deadline: i64,
    outcome: oneshot::Sender<Reply>,
}

struct Shared {
    inbox: tokio::sync::Mutex<mpsc::Receiver<Invocation>>,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    count: u128,
    outcomes: HashMap<String, oneshot::Sender<Reply>>,
}

/// The API of one execution environment.
pub(crate) struct RuntimeApi {
    /// Host and port, for `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) address: String,
    invoke: mpsc::Sender<Invocation>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let (invoke, inbox) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            inbox: inbox.into(),
            under_way: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, invoke }
    }

    /// Hands an event to the function, which has this much time, and waits for what becomes of it.
    pub(crate) async fn invoke(&self, event: Vec<u8>, time: Duration) -> Reply {
        let (outcome, came) = oneshot::channel();
        let deadline = SystemClock.now().plus(time).as_millis();
        self.invoke
            .send(Invocation {
                event,
                deadline,
                outcome,
            })
            .await
            .ok()
            .unwrap();
        came.await.unwrap()
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> ([(&'static str, String); 5], Vec<u8>) {
    let Some(invocation) = shared.inbox.lock().await.recv().await else {
        // The test is over, and ends the function.
        return std::future::pending().await;
    };
    let Invocation {
        event,
        deadline,
        outcome,
    } = invocation;
    let id = {
        let mut under_way = shared.under_way.lock().unwrap();
        under_way.count += 1;
        let id = uuid::Uuid::from_u128(under_way.count).to_string();
        under_way.outcomes.insert(id.clone(), outcome);
        id
    };
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:hb-test".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event)
}

async fn response(shared: State<Arc<Shared>>, id: Path<String>, body: Bytes) -> StatusCode {
    ended(&shared, &id, Ok(serde_json::from_slice(&body).unwrap()))
}

async fn error(shared: State<Arc<Shared>>, id: Path<String>, body: Bytes) -> StatusCode {
    ended(&shared, &id, Err(serde_json::from_slice(&body).unwrap()))
}

fn ended(shared: &Shared, id: &str, outcome: Reply) -> StatusCode {
    let Some(waiting) = shared.under_way.lock().unwrap().outcomes.remove(id) else {
        return StatusCode::FORBIDDEN;
    };
    let _ = waiting.send(outcome);
    StatusCode::ACCEPTED
}
