//! The descriptors of the process: as many as the system allows, and some of them kept for the database and for notices.

/// For the database, the log, canaries and deliveries.
#[cfg(unix)]
const KEPT: u64 = 256;

/// Raises the limit of open files as far as that is allowed, and returns how many of them may be connections.
#[cfg(unix)]
pub(crate) fn for_connections() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    let mut raised = before;
    raised.current = before.maximum;
    // macOS reports no limit and refuses more than OPEN_MAX.
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => before.current,
    };
    let limit = limit.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(KEPT)).unwrap_or(usize::MAX)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn for_connections() -> usize {
    usize::MAX
}
