//! The two functions on AWS Lambda: `ingest` answers HTTP events by the router, `sweep` looks for the silent.
//!
//! Both read their settings from the environment, build the adapters of a stage and run; what they do is written
//! elsewhere. HTTP events are read here rather than by `lambda_http`, because what the gateways deliver differs in ways
//! that matter (see `event`), and because a bad event must be answered, not end in a panic.

mod answer;
mod canary;
mod event;
mod ingest;
mod log;
mod metrics;
mod passes;
mod run;
mod settings;

pub use run::{ingest, sweep};
