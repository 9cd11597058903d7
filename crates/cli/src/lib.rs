//! The program `hb`: the whole service on one machine, and the commands of its admins.
//!
//! A library only for tests; no other program depends on it.

mod args;
mod backend;
mod command;
mod config;
mod exit;
mod output;
mod serve;
#[cfg(feature = "testing")]
pub mod testing;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Chosen, Command, Hb, KeyCommand};
use crate::backend::Backend;
use crate::config::Config;
use crate::exit::Failure;

/// Runs `hb` with the arguments and the environment of this process.
#[must_use]
pub fn main() -> ExitCode {
    // One TLS stack for all; it only fails when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Ends the process for help, the version, and wrong usage.
    let hb = Hb::parse();
    let mut on_stage = false;
    let result = Config::load(&hb.command).and_then(|config| {
        on_stage = matches!(hb.target.choose(&config), Ok(Chosen::Stage { .. }));
        run(hb, &config)
    });
    result.unwrap_or_else(|failure| {
        failure.report(on_stage);
        failure.code()
    })
}

fn run(hb: Hb, config: &Config) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(dispatch(hb, config));
    // A job that hangs, such as a read of a stuck disk, must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// A crash writes no core dump: it would hold the keys.
fn dump_no_core() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        // Lowering a limit is always allowed.
        let _ = setrlimit(Resource::Core, none);
    }
}

/// Runs the command; returns the code to exit with.
async fn dispatch(hb: Hb, config: &Config) -> Result<ExitCode, Failure> {
    let format = hb.output.or(config.output).unwrap_or_default();
    // Not before it is needed: some commands work without a target.
    let target = || hb.target.choose(config);
    let holds_keys = match &hb.command {
        Command::Serve(_) => true,
        // What a command of --exec may dump is its own matter.
        Command::Send(send) => !send.exec,
        _ => false,
    };
    if holds_keys {
        dump_no_core();
    }
    match hb.command {
        Command::Serve(serve) => serve::run(target()?.folder_for("serve")?, format, serve).await?,
        Command::Key(KeyCommand::Inspect { token }) => command::key::inspect(format, &token)?,
        Command::Key(command) => {
            let backend = Backend::open(target()?).await?;
            backend.end(command::key::run(&backend, format, command).await)?;
        }
        Command::Subscription(command) => {
            let backend = Backend::open(target()?).await?;
            backend.end(command::subscription::run(&backend, format, command).await)?;
        }
        Command::Fleet(command) => {
            let backend = Backend::open(target()?).await?;
            backend.end(command::fleet::run(&backend, format, command).await)?;
        }
        Command::Maintenance(command) => {
            let backend = Backend::open(target()?).await?;
            backend.end(command::maintenance::run(&backend, format, command).await)?;
        }
        Command::Host(command) => {
            let backend = Backend::open(target()?).await?;
            backend.end(command::host::run(&backend, format, command).await)?;
        }
        Command::Audit(command) => {
            command::audit::run(&Backend::open(target()?).await?, format, command).await?;
        }
        Command::Status => {
            return command::status::run(&Backend::open(target()?).await?, format).await;
        }
        Command::Doctor(doctor) => {
            return command::doctor::run(target()?, config, format, doctor).await;
        }
        Command::Migrate => {
            command::data::migrate(&target()?.folder_for("migrate")?, format).await?;
        }
        Command::Backup(backup) => {
            command::data::backup(&target()?.folder_for("backup")?, format, &backup.file)?;
        }
        Command::Restore(restore) if restore.verify => {
            command::data::verify(format, &restore.file)?;
        }
        Command::Restore(restore) => {
            let dir = target()?.folder_for("restore")?;
            command::data::restore(&dir, format, &restore.file).await?;
        }
        Command::Completions { shell } => command::man::completions(shell)?,
        Command::Man(man) => command::man::man(&man)?,
        #[cfg(feature = "cost")]
        Command::Cost(cost) => command::cost::run(format, &cost)?,
        #[cfg(not(feature = "cost"))]
        Command::Cost(_) => return Err(Failure::NotBuiltIn("cost")),
        Command::Send(send) => return command::send::run(config, format, send).await,
    }
    Ok(ExitCode::SUCCESS)
}
