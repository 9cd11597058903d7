//! `hb send`: sends a beat, with retries; or runs a command and sends its result.

mod deliver;
mod exec;
mod job;
mod signals;
mod tail;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use hb_domain::splay;
use hb_service::ports::Ids;
use hb_service::system::SystemIds;
use serde_json::json;

use self::deliver::Service;
use self::job::FinishedJob;
use self::signals::Signals;
use crate::args::SendArgs;
use crate::config::Config;
use crate::exit::Failure;
use crate::output::{self, Format};

/// The signal that ended the command may also reach us, a moment later; it is not meant to stop the beat.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// How long the end of a command waits for the answer to its start.
const LATE_START: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    config: &Config,
    format: Format,
    mut send: SendArgs,
) -> Result<ExitCode, Failure> {
    send.url = send.url.or_else(|| config.url.clone());
    if send.exec {
        send.rid = Some(SystemIds.token().to_string());
        return Ok(run_command(&send).await);
    }
    let service = Service::of(&send)?;
    wait(&send).await;
    let tries = service.deliver(&send.body()).await?;
    let value = json!({ "hostId": send.host, "tries": tries });
    output::one(format, &format!("{} beats", send.host), &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command, even if the beat cannot be sent: monitoring a job must not stop it.
async fn run_command(send: &SendArgs) -> ExitCode {
    wait(send).await;
    let mut signals = Signals::listen();
    let mut start = pin!(send_start(send));
    let mut started = false;
    let mut job = {
        let mut run = pin!(exec::run(&send.command, &mut signals));
        loop {
            tokio::select! {
                job = &mut run => break job,
                () = &mut start, if !started => started = true,
            }
        }
    };
    if !started {
        // So that it does not arrive behind the result.
        let _ = tokio::time::timeout(LATE_START, start).await;
    }
    if let Some(cause) = job.not_started() {
        output::remark(&format!("hb: {cause}"));
    }
    let interrupted = async {
        let _ = tokio::time::timeout(SAME_SIGNAL, async {
            while signals.next().await.is_some() {}
        })
        .await;
        match signals.next().await {
            Some(_) => {}
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = send_result(send, &job) => result,
        () = interrupted => Err(Failure::NotDelivered {
            tries: 0,
            cause: "hb was interrupted by a signal".to_owned(),
        }),
    };
    if let Err(failure) = result {
        failure.report(false);
    }
    job.pass_rest().await;
    job.code()
}

/// Says that the job begins, once: a later try would say a later beginning. Why it fails will show when the result is sent.
async fn send_start(send: &SendArgs) {
    if let Ok(service) = Service::of(send) {
        service.try_once(&send.body_of_start()).await;
    }
}

async fn send_result(send: &SendArgs, job: &FinishedJob) -> Result<(), Failure> {
    let service = Service::of(send)?;
    let failure = (!job.is_ok()).then(|| job.message(&service.secret()));
    let body = send.body_of_job(failure.as_ref());
    service.deliver(&body).await.map(drop)
}

/// Waits for the host's share of the splay.
async fn wait(send: &SendArgs) {
    if let Some(within) = send.splay {
        tokio::time::sleep(splay(&send.host, within)).await;
    }
}
