//! How a function starts: settings, log, and the loop over events. The only place that looks at the environment.

use std::io::{self, Write};
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
use crate::ingest::{Ingest, IngestError};
use crate::log;
use crate::passes::{Minute, Passes, PassesFailed};
use crate::settings::{
    self, IngestFunctionSettings, SettingError, SweepFunctionSettings, Variables,
};

/// Takes a line of metrics.
pub(crate) type Print = Arc<dyn Fn(&str) + Send + Sync>;

/// What Lambda sets, and its runtime crate panics without.
const OF_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// The function `ingest`: runs until Lambda ends it.
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

/// The function `sweep`: runs until Lambda ends it. For the event `{"task": "canary"}` it sends a canary; whatever else
/// the event says, it sweeps.
#[must_use]
pub fn sweep() -> ExitCode {
    start(SweepFunctionSettings::read, async |settings| {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let passes = &Passes::new(&settings, clock.clone(), ids.clone(), stdout());
        let canary = &CanaryTask::new(&settings, clock, ids, passes.fresh(), stdout())?;
        let run = async move |LambdaEvent { payload, context }: LambdaEvent<Value>| {
            let work = async {
                if payload.get("task").is_some_and(|task| task == "canary") {
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

/// What an invocation of `sweep` did.
#[derive(Serialize)]
#[serde(untagged)]
enum Done {
    Sweeps(Minute),
    Canary(CanaryResult),
}

/// Reads the settings and serves. What is wrong with the start is one line of log, and the process ends, which Lambda
/// shows as an error of the initialisation.
fn start<S>(
    read: impl FnOnce(Variables) -> Result<S, SettingError>,
    serve: impl AsyncFnOnce(S) -> Result<(), lambda_runtime::Error>,
) -> ExitCode {
    let variables = |name: &str| std::env::var(name).ok();
    let level = settings::log_level(&variables);
    log::start(*level.as_ref().unwrap_or(&LevelFilter::INFO));
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
    // One thread: an environment answers one event at a time, and has a part of a core.
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(lambda_runtime::Error::from)
        .and_then(|runtime| runtime.block_on(serve(settings)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("this function ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_lambda(variables: Variables) -> Result<(), SettingError> {
    match OF_LAMBDA.into_iter().find(|name| variables(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(SettingError::Missing(
            name,
            "this program runs on AWS Lambda; on a machine, run hb serve",
        )),
    }
}

/// What each line of log about an invocation bears, so that Lambda's own lines about it are found. The runtime has such
/// a span too, but the log does not hear it below `warn`.
fn request(context: &Context) -> Span {
    tracing::error_span!("invocation", requestId = context.request_id)
}

/// When Lambda ends the process, if the event is not answered.
///
/// No invocation takes longer than 15 minutes (Lambda quotas), and none begins after its end: an emulator says so
/// (`cargo lambda watch` sends 600), and means that it does not care.
fn deadline(context: &Context) -> Timestamp {
    let now = SystemClock.now();
    let longest = now.plus(Duration::from_mins(15));
    let millis = i64::try_from(context.deadline).ok();
    let told = millis.and_then(|millis| Timestamp::from_millis(millis).ok());
    told.filter(|told| *told > now)
        .map_or(longest, |told| told.min(longest))
}

/// Metrics go to standard output, which CloudWatch reads like the log, each a line by itself.
fn stdout() -> Print {
    Arc::new(|line| {
        // Without a reader there is nobody to tell.
        let _ = writeln!(io::stdout().lock(), "{line}");
    })
}

impl From<IngestError> for Diagnostic {
    fn from(error: IngestError) -> Self {
        let error_type = match error {
            IngestError::NotHttp(_) => "NotHttp",
            IngestError::Panicked => "Panicked",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

impl From<CanaryFailed> for Diagnostic {
    fn from(error: CanaryFailed) -> Self {
        Self {
            error_type: "CanaryFailed".to_owned(),
            error_message: error.to_string(),
        }
    }
}

impl From<PassesFailed> for Diagnostic {
    fn from(error: PassesFailed) -> Self {
        Self {
            error_type: "PassesFailed".to_owned(),
            error_message: error.to_string(),
        }
    }
}
