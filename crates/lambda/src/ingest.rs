//! One HTTP event: read, answered by the router, counted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use hb_aws::{DynamoHeartbeats, DynamoKeys, Meter, SnsTopic};
use hb_domain::Timestamp;
use hb_http::{App, Router};
use hb_service::CachePolicy;
use hb_service::ports::{Clock, IngestPorts};
use http::StatusCode;
use http_body_util::{BodyExt, Collected};
use serde_json::Value;
use tower::ServiceExt;

use crate::answer::Answer;
use crate::event::{HttpEvent, NotHttp};
use crate::metrics::{self, Capacity, RequestOutcome};
use crate::run::Print;
use crate::settings::IngestFunctionSettings;

/// Kept of the function's time to say that it was not enough.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The path that is asked often and is no beat.
const STATUS: &str = "/v1/status";

/// Answers HTTP events.
pub(crate) struct Ingest {
    router: Router,
    clock: Arc<dyn Clock>,
    stage: String,
    meter: Arc<Meter>,
    print: Print,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum IngestError {
    /// The event is none for this function.
    #[error(transparent)]
    NotHttp(#[from] NotHttp),
    /// A bug; the log has the place.
    #[error("the code panicked while it answered; the log says where")]
    Panicked,
}

impl Ingest {
    /// The whole service of a stage, as far as beats go.
    pub(crate) fn new(
        settings: &IngestFunctionSettings,
        clock: Arc<dyn Clock>,
        print: Print,
    ) -> Self {
        let IngestFunctionSettings { shared, rate_limit } = settings;
        let (clients, stage) = (&shared.clients, &shared.stage);
        let ports = IngestPorts {
            heartbeats: Arc::new(DynamoHeartbeats::new(clients, stage)),
            keys: Arc::new(DynamoKeys::new(clients, stage)),
            topic: Arc::new(SnsTopic::new(clients, stage)),
            clock: clock.clone(),
        };
        let region = shared.region.clone();
        let keys = CachePolicy::default();
        let app = App::new(ports, region, keys, *rate_limit, Arc::default());
        let (stage, meter) = (stage.to_string(), clients.meter().clone());
        Self {
            router: hb_http::router(app),
            clock,
            stage,
            meter,
            print,
        }
    }

    /// The answer to `event`, which will be of no use after `deadline`. An error is one of the event or of this code;
    /// the next event is answered all the same.
    pub(crate) async fn answer(
        &self,
        event: Value,
        deadline: Timestamp,
    ) -> Result<Answer, IngestError> {
        let before = self.meter.usage();
        // The router answers its own panics; this is for what stands around it.
        let answered = AssertUnwindSafe(self.route(event, deadline))
            .catch_unwind()
            .await;
        let (answer, outcome) =
            answered
                .unwrap_or(Err(IngestError::Panicked))
                .inspect_err(|error| {
                    // The log has the place of a panic already.
                    if let IngestError::NotHttp(_) = error {
                        tracing::error!("{error}");
                    }
                })?;
        let capacity = Capacity::between(&before, &self.meter.usage());
        if let Some(line) = metrics::of_request(&self.stage, self.clock.now(), &outcome, capacity) {
            (self.print)(&line);
        }
        Ok(answer)
    }

    async fn route(
        &self,
        event: Value,
        deadline: Timestamp,
    ) -> Result<(Answer, RequestOutcome), IngestError> {
        let HttpEvent { request, format } = HttpEvent::read(event)?;
        let status = request.uri().path() == STATUS;
        let time = deadline.minus(LAST_WORDS).since(self.clock.now());
        let answered = tokio::time::timeout(time, self.router.clone().oneshot(request)).await;
        let Ok(response) = answered.unwrap_or_else(|_elapsed| Ok(hb_http::timed_out()));
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
            // The router's bodies are in memory.
            return Err(IngestError::Panicked);
        };
        let outcome = match head.status {
            _ if status => RequestOutcome::Other,
            StatusCode::OK => RequestOutcome::Beat,
            other => {
                RequestOutcome::Refused(reason(&body).unwrap_or_else(|| other.as_u16().to_string()))
            }
        };
        Ok((Answer::new(format, &head, &body), outcome))
    }
}

/// The `code` of a problem. An answer to `HEAD` has lost it.
fn reason(body: &[u8]) -> Option<String> {
    let problem: Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("code")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
