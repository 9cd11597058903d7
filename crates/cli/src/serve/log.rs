//! The log of `hb serve` on standard error, at the level that `HB_LOG` names.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::printer::Printer;
use crate::output::Format;

/// Starts the log on `printer`. `HB_LOG` is a level, or targets with levels such as `info,hb_http=debug`; targets that match none of them are not logged.
pub(super) fn start(format: Format, printer: Printer) {
    let wanted = std::env::var("HB_LOG").unwrap_or_default();
    let targets: Targets = wanted.parse().unwrap_or_default();
    let targets = if wanted.is_empty() || targets == Targets::default() {
        Targets::new().with_default(LevelFilter::INFO)
    } else {
        targets
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || printer.clone())
        .with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    // It only fails when a log was started already.
    let _ = match format {
        Format::Table => registry
            .with(layer.with_ansi(io::stderr().is_terminal()))
            .try_init(),
        Format::Json => registry.with(layer.json()).try_init(),
    };
}
