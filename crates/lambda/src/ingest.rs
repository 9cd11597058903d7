//! Answers one HTTP event with the router, and counts it.

pub(crate) mod refusals;

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use hb_aws::{DynamoHeartbeats, DynamoKeys, Meter, SnsTopic};
use hb_domain::Timestamp;
use hb_http::{App, Program, Router};
use hb_service::CachePolicy;
use hb_service::ports::{Clock, IngestPorts};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Collected};
use lambda_http::{Adapter, Context, LambdaEvent};
use serde::Serialize;
use serde_json::Value;
use tower::{Service, ServiceExt, service_fn};

use crate::answer::Answer;
use crate::event::{HttpEvent, NotHttp};
use crate::function::Function;
use crate::ingest::refusals::Refusals;
use crate::metrics::{self, Capacity, Print, RequestOutcome};
use crate::settings::IngestFunctionSettings;

/// Reserved at the end of the function's time, to answer that it ran out.
const ANSWER_RESERVE: Duration = Duration::from_millis(500);
/// Requested often, and not a beat.
const STATUS: &str = "/v1/status";

pub(crate) struct Ingest {
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stage: String,
    pub(crate) meter: Arc<Meter>,
    pub(crate) refusals: Mutex<Refusals>,
    pub(crate) print: Print,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum IngestError {
    #[error(transparent)]
    NotHttp(#[from] NotHttp),
    #[error("the function panicked while answering; the log has the location")]
    Panicked,
}

impl Ingest {
    pub(crate) fn new(
        settings: &IngestFunctionSettings,
        clock: Arc<dyn Clock>,
        print: Print,
    ) -> Self {
        let IngestFunctionSettings { shared, rate_limit } = settings;
        let stage = &shared.stage;
        let clients = Function::Ingest.clients(&shared.clients);
        // Not `hb_aws::ports`: what is not named here is not linked.
        let ports = IngestPorts {
            heartbeats: Arc::new(DynamoHeartbeats::new(&clients, stage)),
            keys: Arc::new(DynamoKeys::new(&clients, stage)),
            topic: Arc::new(SnsTopic::new(&clients, stage)),
            clock: clock.clone(),
        };
        let region = shared.region.clone();
        let keys = CachePolicy::default();
        let app = App {
            program: Some(Program {
                version: hb_version::VERSION,
                commit: hb_version::COMMIT,
            }),
            ..App::new(ports, region, keys, *rate_limit, Arc::default())
        };
        Self {
            router: hb_http::router(app),
            clock,
            stage: stage.to_string(),
            meter: clients.meter().clone(),
            refusals: Mutex::default(),
            print,
        }
    }

    /// Answers `event` before `deadline`, in the form that its gateway expects. An error concerns this event only.
    pub(crate) async fn answer(
        &self,
        event: Value,
        deadline: Timestamp,
    ) -> Result<impl Serialize + Debug, IngestError> {
        let before = self.meter.usage();
        // The router answers its own panics; this catches those outside of it.
        let answered = AssertUnwindSafe(self.route(event, deadline))
            .catch_unwind()
            .await;
        let (answer, outcome) =
            answered
                .unwrap_or(Err(IngestError::Panicked))
                .inspect_err(|error| {
                    // A panic is logged already.
                    if let IngestError::NotHttp(_) = error {
                        tracing::error!("{error}");
                    }
                })?;
        let capacity = Capacity::between(&before, &self.meter.usage());
        let now = self.clock.now();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        for (outcome, capacity) in refusals.count(outcome, capacity, now) {
            if let Some(line) = metrics::of_request(&self.stage, now, &outcome, capacity) {
                (self.print)(&line);
            }
        }
        Ok(answer)
    }

    async fn route(
        &self,
        event: Value,
        deadline: Timestamp,
    ) -> Result<(impl Serialize + Debug, RequestOutcome), IngestError> {
        let HttpEvent { event, mended } = HttpEvent::read(event)?;
        let outcome = OnceLock::new();
        let service = service_fn(async |request| {
            let (answer, what) = self.respond(mended.request(request), deadline).await?;
            let _ = outcome.set(what);
            Ok::<_, IngestError>(answer)
        });
        let event = LambdaEvent::new(event, Context::default());
        let answer = Adapter::from(service).call(event).await?;
        Ok((answer, outcome.into_inner().ok_or(IngestError::Panicked)?))
    }

    async fn respond(
        &self,
        request: Request<hb_http::Body>,
        deadline: Timestamp,
    ) -> Result<(Answer, RequestOutcome), IngestError> {
        let status = request.uri().path() == STATUS;
        let time = deadline.minus(ANSWER_RESERVE).since(self.clock.now());
        let answered = tokio::time::timeout(time, self.router.clone().oneshot(request)).await;
        let Ok(response) = answered.unwrap_or_else(|_elapsed| Ok(hb_http::timed_out()));
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
            // Bodies of the router are in memory and cannot fail.
            return Err(IngestError::Panicked);
        };
        let outcome = match head.status {
            _ if status => RequestOutcome::Other,
            StatusCode::OK => RequestOutcome::Beat,
            other => RequestOutcome::Refused {
                reason: reason(&body).unwrap_or_else(|| other.as_u16().to_string()),
                count: 1,
            },
        };
        Ok((Answer::new(head, &body), outcome))
    }
}

/// The `code` of a problem. An answer to `HEAD` has no body.
fn reason(body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
