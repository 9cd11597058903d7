//! The binary `hb`: the whole service on one machine, and the admin's commands.

mod args;
mod backend;
mod command;
mod config;
mod exit;
mod output;
mod prices;
mod serve;

use std::process::ExitCode;

use crate::args::{Chosen, Command, Hb, KeyCommand};
use crate::backend::Backend;
use crate::config::Config;
use crate::exit::Failure;

fn main() -> ExitCode {
    // One TLS stack for all; it only fails when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut on_stage = false;
    let result = config::parse().and_then(|(hb, config)| {
        on_stage = matches!(hb.target.choose(), Ok(Chosen::Stage { .. }));
        run(hb, &config)
    });
    match result {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(on_stage);
            failure.code()
        }
    }
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

/// Does what the command line says; gives the code to end with.
async fn dispatch(
    Hb {
        target,
        output,
        command,
    }: Hb,
    config: &Config,
) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(serve) => serve::run(&target, output, serve).await?,
        Command::Key(KeyCommand::Inspect { token }) => command::key::inspect(output, &token)?,
        Command::Key(command) => {
            command::key::run(&Backend::open(&target).await?, output, command).await?;
        }
        Command::Subscription(command) => {
            command::subscription::run(&Backend::open(&target).await?, output, command).await?;
        }
        Command::Host(command) => {
            command::host::run(&Backend::open(&target).await?, output, command).await?;
        }
        Command::Doctor(doctor) => {
            return command::doctor::run(&target, config, output, doctor).await;
        }
        Command::Completions { shell } => command::man::completions(shell)?,
        Command::Man(man) => command::man::man(&man)?,
        Command::Cost(cost) => command::cost::run(output, &cost)?,
        Command::Send(send) => return command::send::run(output, send).await,
    }
    Ok(ExitCode::SUCCESS)
}
