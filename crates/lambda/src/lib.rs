//! The functions on AWS Lambda: `ingest` answers HTTP events with the router, `sweep` looks for silent hosts.
//!
//! Both read their settings from the environment, build the adapters of a stage and run; the rules are elsewhere.

mod answer;
mod canary;
mod event;
mod function;
mod ingest;
mod log;
mod metrics;
mod passes;
mod run;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use run::{ingest, sweep};

/// What the templates of a deployment repeat. `examples/facts.rs` prints it for `tests/template`.
pub mod facts {
    pub use crate::function::{Function, Permission};
    pub use crate::metrics::{NAMESPACE, emitted as metrics};
    pub use crate::passes::{MARGIN, MINUTE, SLACK};
    pub use crate::settings::VARIABLES;
}
