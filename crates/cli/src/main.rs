//! The binary `hb`: the whole service on one machine, and the admin's commands.

mod args;
mod backend;
mod command;
mod exit;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Chosen, Command, Hb, KeyCommand};
use crate::backend::Backend;
use crate::exit::Failure;

fn main() -> ExitCode {
    let hb = Hb::parse();
    let on_stage = matches!(hb.place.choose(), Ok(Chosen::Stage { .. }));
    // One TLS stack for all; it only fails when one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(hb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::ClosedPipe) {
                output::remark(&format!("hb: {failure}"));
            }
            if let Some(next_step) = failure.next_step(on_stage) {
                output::remark(&format!("    {next_step}"));
            }
            failure.code()
        }
    }
}

fn run(hb: Hb) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    let result = runtime.block_on(dispatch(hb));
    // A job that hangs, such as a read of a stuck disk, must not keep the process alive.
    runtime.shutdown_background();
    result
}

async fn dispatch(Hb { place, output, command }: Hb) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) => serve::run(&place, output, serve).await,
        Command::Key(KeyCommand::Inspect { token }) => command::key::inspect(output, &token),
        Command::Key(command) => command::key::run(&Backend::open(&place).await?, output, command).await,
        Command::Subscription(command) => {
            command::subscription::run(&Backend::open(&place).await?, output, command).await
        }
        Command::Host(command) => command::host::run(&Backend::open(&place).await?, output, command).await,
        Command::Send(send) => command::send::run(output, send).await,
    }
}
