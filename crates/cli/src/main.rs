//! The binary `hb`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hb_cli::main()
}
