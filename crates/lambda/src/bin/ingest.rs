//! The function that receives beats: HTTP events in, answers out.

fn main() -> std::process::ExitCode {
    hb_lambda::ingest()
}
