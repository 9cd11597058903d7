//! Tests that need a process of their own.

use std::process::Command;

/// Runs the ignored test `name` of this test binary in a process of its own, and panics when it does not pass.
///
/// For tests that capture spans: `tracing` keeps a span disabled that another thread registers while a subscriber is
/// added.
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "for tests only"
)]
pub fn run_alone(name: &str) {
    let binary = std::env::current_exe().unwrap();
    let output = Command::new(binary)
        .args([name, "--exact", "--ignored"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
