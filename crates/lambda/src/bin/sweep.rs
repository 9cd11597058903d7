//! The function that looks for the silent: invoked by a schedule, once a minute.

fn main() -> std::process::ExitCode {
    hb_lambda::sweep()
}
