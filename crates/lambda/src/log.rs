//! What the functions say: one line of JSON an event, on standard error, which Lambda hands to CloudWatch Logs.

use std::io;
use std::panic::PanicHookInfo;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is ours. All others are heard from `warn` upwards only, whatever the level: the Lambda runtime traces whole
/// events, with the API keys in their headers, and the AWS SDK its requests.
const OURS: [&str; 6] = [
    "hb_aws",
    "hb_domain",
    "hb_http",
    "hb_lambda",
    "hb_service",
    "panic",
];
/// Where the runtime logs each error of an invocation. Ours are logged already, in words instead of in code.
const SAID_TWICE: &str = "lambda_runtime::layers::panic";

/// Starts the log at `level`; from then on a panic is a line of it, too.
pub(crate) fn start(level: LevelFilter) {
    let others = Targets::new().with_default(level.min(LevelFilter::WARN));
    let targets = others.with_targets(OURS.map(|target| (target, level)));
    let targets = targets.with_target(SAID_TWICE, LevelFilter::OFF);
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

/// Says where, and not the panic's own words: they may quote a request, and would be many lines.
fn panicked(panic: &PanicHookInfo) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::error!(target: "panic", "a bug: the code panicked at {place}");
}
