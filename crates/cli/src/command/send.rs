//! `hb send`: a beat, with retries; or a command, and then a beat that says how it ended.

mod deliver;
mod exec;
mod job;
mod signals;
mod tail;

use std::process::ExitCode;
use std::time::Duration;

use hb_domain::splay;
use serde_json::{Value, json};

use self::deliver::Service;
use self::signals::Signals;
use crate::args::{Format, Send, StatusArg};
use crate::exit::Failure;
use crate::output;

/// What ended the command may tell us, too, a moment later; it is not meant for the beat.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

pub(crate) async fn run(format: Format, send: Send) -> Result<ExitCode, Failure> {
    if send.exec {
        return Ok(run_command(&send).await);
    }
    let service = Service::of(&send)?;
    wait(&send).await;
    let status = match send.status {
        StatusArg::Ok => "ok",
        StatusArg::Fail => "fail",
    };
    let tries = service
        .deliver(&beat(&send, status, &json!(send.message)))
        .await?;
    let value = json!({ "hostId": send.host, "tries": tries });
    output::one(format, &format!("{} beats", send.host), &value)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command, whatever stands in the way of the beat: who watches a job must not stop it.
async fn run_command(send: &Send) -> ExitCode {
    wait(send).await;
    let mut signals = Signals::listen();
    let mut outcome = exec::run(&send.command, &mut signals).await;
    if let Some(cause) = outcome.not_started() {
        output::remark(&format!("hb: {cause}"));
    }
    let told_to_stop = async {
        let _ = tokio::time::timeout(SAME_SIGNAL, async {
            while signals.next().await.is_some() {}
        })
        .await;
        match signals.next().await {
            Some(_) => {}
            None => std::future::pending().await,
        }
    };
    let told = tokio::select! {
        told = tell(send, &outcome) => told,
        () = told_to_stop => Err(Failure::NotDelivered(0, "hb was told to stop meanwhile".to_owned())),
    };
    if let Err(failure) = told {
        failure.tell(false);
    }
    outcome.pass_rest().await;
    outcome.code()
}

/// Sends how the command ended.
async fn tell(send: &Send, outcome: &job::FinishedJob) -> Result<(), Failure> {
    let service = Service::of(send)?;
    let body = if outcome.is_ok() {
        beat(send, "ok", &Value::Null)
    } else {
        beat(send, "fail", &json!(outcome.message(&service.secret())))
    };
    service.deliver(&body).await.map(drop)
}

fn beat(send: &Send, status: &str, message: &Value) -> String {
    json!({ "hostId": send.host, "intervalMs": send.interval, "status": status, "message": message })
        .to_string()
}

/// Waits for the host's place in the splay.
async fn wait(send: &Send) {
    if let Some(within) = send.splay {
        tokio::time::sleep(splay(&send.host, within)).await;
    }
}
