//! Starts a function: settings, log, and the loop over events. The only place that reads the environment.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hb_domain::Timestamp;
use hb_service::ports::Clock;
use hb_service::system::{SystemClock, SystemIds};
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Span};

use crate::canary::{CanaryFailed, CanaryResult, CanaryTask};
use crate::function::Function;
use crate::ingest::{Ingest, IngestError};
use crate::log;
use crate::metrics::stdout;
use crate::passes::{Minute, Passes, PassesFailed};
use crate::settings::{
    self, IngestFunctionSettings, SettingError, SweepFunctionSettings, Variables,
};

/// Set by Lambda; the runtime crate panics without them.
const OF_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// The program `ingest`: runs until Lambda ends it.
#[must_use]
pub fn ingest() -> ExitCode {
    start(IngestFunctionSettings::read, async |settings| {
        let ingest = &Ingest::new(&settings, Arc::new(SystemClock), stdout());
        let answer = async move |LambdaEvent { payload, context }: LambdaEvent<Value>| {
            ingest
                .answer(payload, deadline(&context))
                .instrument(request(&context))
                .await
        };
        lambda_runtime::run(service_fn(answer)).await
    })
}

/// The program `sweep`: runs until Lambda ends it. For the event `{"task": "canary"}` it sends canaries; for any other
/// event it sweeps.
#[must_use]
pub fn sweep() -> ExitCode {
    start(SweepFunctionSettings::read, async |settings| {
        let clock = Arc::new(SystemClock);
        let ids = Arc::new(SystemIds);
        let passes = &Passes::new(&settings, clock.clone(), ids.clone(), stdout());
        let canary = &CanaryTask::new(&settings, clock, ids, passes.fresh(), stdout())?;
        let run = async move |LambdaEvent { payload, context }: LambdaEvent<Value>| {
            let work = async {
                let task = payload.get("task").and_then(Value::as_str);
                if task.is_some() && task == Function::Canary.task() {
                    Ok(Done::Canary(canary.run().await?))
                } else {
                    Ok::<_, Diagnostic>(Done::Sweeps(passes.run(deadline(&context)).await?))
                }
            };
            work.instrument(request(&context)).await
        };
        lambda_runtime::run(service_fn(run)).await
    })
}

#[derive(Serialize)]
#[serde(untagged)]
enum Done {
    Sweeps(Minute),
    Canary(CanaryResult),
}

/// Reads the settings and serves. An invalid setting is logged in one line and ends the process, which Lambda reports as
/// an initialisation error.
fn start<S>(
    read: impl FnOnce(Variables) -> Result<S, SettingError>,
    serve: impl AsyncFnOnce(S) -> Result<(), lambda_runtime::Error>,
) -> ExitCode {
    let variables = |name: &str| std::env::var(name).ok();
    let level = settings::log_level(&variables);
    log::start(*level.as_ref().unwrap_or(&LevelFilter::INFO));
    tracing::debug!("{}", hb_version::LINE);
    let settings = level
        .and_then(|_| on_lambda(&variables))
        .and_then(|()| read(&variables));
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("this function cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // One thread: an environment handles one event at a time, on a fraction of a core.
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(lambda_runtime::Error::from)
        .and_then(|runtime| runtime.block_on(serve(settings)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the function stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_lambda(variables: Variables) -> Result<(), SettingError> {
    match OF_LAMBDA.into_iter().find(|name| variables(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(SettingError::NotOnLambda(name)),
    }
}

/// Puts the request id into each line of log, to correlate it with Lambda's own lines. The runtime has such a span too,
/// but below `warn` the log leaves it out.
fn request(context: &Context) -> Span {
    tracing::error_span!("invocation", requestId = context.request_id)
}

/// When Lambda ends the process, if the event is not answered.
///
/// No invocation takes longer than 15 minutes (Lambda quotas). A deadline in the past counts as none: `cargo lambda
/// watch` sends 600.
fn deadline(context: &Context) -> Timestamp {
    let now = SystemClock.now();
    let longest = now.plus(Duration::from_mins(15));
    let millis = i64::try_from(context.deadline).ok();
    let given = millis.and_then(|millis| Timestamp::from_millis(millis).ok());
    given
        .filter(|given| *given > now)
        .map_or(longest, |given| given.min(longest))
}

impl From<IngestError> for Diagnostic {
    fn from(error: IngestError) -> Self {
        let error_type = match error {
            IngestError::NotHttp(_) => "NotHttp",
            IngestError::Panicked => "Panicked",
        };
        diagnostic(error_type, &error)
    }
}

impl From<CanaryFailed> for Diagnostic {
    fn from(error: CanaryFailed) -> Self {
        diagnostic("CanaryFailed", &error)
    }
}

impl From<PassesFailed> for Diagnostic {
    fn from(error: PassesFailed) -> Self {
        diagnostic("PassesFailed", &error)
    }
}

fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: error.to_string(),
    }
}
