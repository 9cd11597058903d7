//! Asks git for the commit that is built. Without git, or in an archive of the sources, it is `unknown`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    println!(
        "cargo:rustc-env=HB_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
    println!("cargo:rerun-if-changed=build.rs");
    // Written by each commit, checkout and pull.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
}

/// What git says of this repository, not of another one in which an archive was unpacked.
fn git(arguments: &[&str]) -> Option<String> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let beside = here.ancestors().nth(3).map(Path::to_owned)?;
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(&here)
        .env("GIT_CEILING_DIRECTORIES", beside);
    let output = command.output().ok().filter(|it| it.status.success())?;
    let said = String::from_utf8(output.stdout).ok()?;
    Some(said.trim().to_owned())
}
