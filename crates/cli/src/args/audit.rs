//! `hb audit`.

use std::time::Duration;

use clap::Subcommand;

use super::duration;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what admins did, the newest last. Acts are kept for 400 days; a stage with two regions keeps those of each
    /// region there.
    List {
        /// How far back.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "7d")]
        since: Duration,
    },
}
