//! The log: one line of JSON per event on standard error, which Lambda forwards to CloudWatch Logs.

use std::io;
use std::panic::PanicHookInfo;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Our own targets. All others are logged from `warn` upwards only, at any level: the Lambda runtime traces whole
/// events, with the API keys in their headers, and the AWS SDK its requests.
const OURS: [&str; 6] = [
    "hb_aws",
    "hb_domain",
    "hb_http",
    "hb_lambda",
    "hb_service",
    "panic",
];
/// Where the runtime logs each error of an invocation. Ours are logged already.
const DUPLICATES: &str = "lambda_runtime::layers::panic";

/// Starts the log at `level`. From then on a panic is logged as one line.
pub(crate) fn start(level: LevelFilter) {
    let others = Targets::new().with_default(level.min(LevelFilter::WARN));
    let targets = others.with_targets(OURS.map(|target| (target, level)));
    let targets = targets.with_target(DUPLICATES, LevelFilter::OFF);
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        // At `debug` the current span may be an adapter's: the request id is in the one around it.
        .with_span_list(level >= LevelFilter::DEBUG)
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr);
    // It only fails when a log was started already.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(layer)
        .try_init();
    std::panic::set_hook(Box::new(panicked));
}

/// Logs the location without the panic's message, which may quote a request and span lines.
fn panicked(panic: &PanicHookInfo) {
    let location = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!(target: "panic", "a bug: the code panicked at {location}");
}
