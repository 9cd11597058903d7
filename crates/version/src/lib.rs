//! Which program this is. The crate changes with every commit, so only the crates of the binaries depend on it.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first 12 digits of the commit that was built, or `unknown`. What was changed since is not seen.
pub const COMMIT: &str = env!("HB_COMMIT");

/// Both, for people.
pub const PROGRAM: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HB_COMMIT"), ")");

/// The same as a line of the log. The build of the functions finds it in the binary, where texts follow each other without
/// a gap, by its first word (`crates/lambda/Makefile`).
pub const LINE: &str = concat!(
    "heartbeat ",
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("HB_COMMIT"),
    ")"
);
