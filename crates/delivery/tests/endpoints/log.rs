//! What a test logs.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

thread_local! {
    /// What this thread logged: a test runs on one thread.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures all logs from now on, for all tests at once: `tracing` caches for each call site whether a subscriber wants
/// it.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let format = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_target(false);
        let subscriber = format.without_time().with_writer(|| ThisThread).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// The lines that this test logged as errors since the last call.
pub(crate) fn errors() -> Vec<String> {
    let log = String::from_utf8(LOG.take()).unwrap();
    let lines = log.lines().map(str::trim_start);
    let errors = lines.filter_map(|line| line.strip_prefix("ERROR "));
    errors.map(ToOwned::to_owned).collect()
}
