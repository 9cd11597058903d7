//! The function that looks for silent hosts: invoked by a schedule, once a minute.

fn main() -> std::process::ExitCode {
    hb_lambda::sweep()
}
