//! The function that takes beats: HTTP events in, answers out.

fn main() -> std::process::ExitCode {
    hb_lambda::ingest()
}
