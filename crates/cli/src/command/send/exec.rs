//! Runs a command transparently: its output goes where ours goes, signals reach it, and its exit code is ours.
//!
//! Its output is a pipe, not a terminal, because the end of it is kept. If our two outputs are the same file, it gets one
//! pipe for both, so that their order is kept.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::deliver::API_KEY;
use super::job::{Ended, FinishedJob};
use super::signals::Signals;
use super::tail::Tail;
use crate::output;

/// The bytes of one read: as much as a pipe holds on Linux.
const CHUNK: usize = 64 * 1024;
/// The total wait for output after the end of the command: a process that it left behind may keep the pipe open for
/// ever. What the command itself wrote is in the pipe by then.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is read after its end: as much as a pipe can hold (1 MiB for users on Linux, `pipe(7)`).
const LEFT_OVER: usize = 1024 * 1024;
/// How long the beat waits for a reader of our output that does not read, such as a stopped pager.
const BLOCKED: Duration = Duration::from_secs(10);

type Output = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

/// Runs `command` to its end. Its output may not be passed on completely yet ([`FinishedJob::pass_rest`]).
pub(super) async fn run(command: &[OsString], signals: &mut Signals) -> FinishedJob {
    let tail = Tail::default();
    let mut passing = JoinSet::new();
    let began = SystemClock.now();
    let took = || SystemClock.now().since(began);
    let Some((program, arguments)) = command.split_first() else {
        let ended = Ended::Unknown("no command was given".to_owned());
        return FinishedJob {
            ended,
            took: Duration::ZERO,
            tail,
            passing,
        };
    };
    let (mut child, outputs) = match start(program, arguments) {
        Ok(started) => started,
        Err(error) => {
            let ended = Ended::not_started(program, &error);
            return FinishedJob {
                ended,
                took: took(),
                tail,
                passing,
            };
        }
    };
    let (over, ended) = watch::channel(false);
    for (from, to) in outputs {
        passing.spawn(pass(from, to, tail.clone(), ended.clone()));
    }
    let pid = child.id();
    let status = tokio::select! {
        status = child.wait() => status,
        never = signals.forward(pid) => match never {},
    };
    let took = took();
    let _ = over.send(true);
    let _ = tokio::time::timeout(BLOCKED, async {
        while passing.join_next().await.is_some() {}
    })
    .await;
    let ended = match status {
        Ok(status) => Ended::Status(status),
        Err(error) => Ended::Unknown(format!("the exit status is unknown: {error}")),
    };
    FinishedJob {
        ended,
        took,
        tail,
        passing,
    }
}

/// Starts the command; returns where its output comes from and where it goes.
fn start(program: &OsString, arguments: &[OsString]) -> io::Result<(Child, Vec<Output>)> {
    let mut command = Command::new(program);
    command.args(arguments).env_remove(API_KEY);
    #[cfg(unix)]
    if same_file() {
        let (from, to) = io::pipe()?;
        command.stdout(to.try_clone()?).stderr(to);
        let child = command.spawn()?;
        let from = tokio::net::unix::pipe::Receiver::from_owned_fd(from.into())?;
        return Ok((child, vec![(Box::new(from), Box::new(tokio::io::stdout()))]));
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut outputs: Vec<Output> = Vec::new();
    if let Some(from) = child.stdout.take() {
        outputs.push((Box::new(from), Box::new(tokio::io::stdout())));
    }
    if let Some(from) = child.stderr.take() {
        outputs.push((Box::new(from), Box::new(tokio::io::stderr())));
    }
    Ok((child, outputs))
}

/// Whether our standard output and standard error are the same file, pipe or terminal.
#[cfg(unix)]
fn same_file() -> bool {
    use rustix::fs::fstat;
    match (fstat(io::stdout()), fstat(io::stderr())) {
        (Ok(out), Ok(err)) => (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino),
        _ => false,
    }
}

/// Passes on output until it ends, or until the command has ended and its pipe is empty. When the reader of our output
/// closes it, the pipe is closed as well, as it would be without us. On any other error, such as a full disk, the output
/// is still read for the beat: a log that cannot be written must not end the job.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    tail: Tail,
    mut ended: watch::Receiver<bool>,
) {
    let mut chunk = vec![0; CHUNK];
    let (mut patience, mut left_over, mut passing) = (PATIENCE, LEFT_OVER, true);
    loop {
        let read = tokio::select! {
            biased;
            read = from.read(&mut chunk) => read,
            () = over(&mut ended, &mut patience) => return,
        };
        let Ok(read @ 1..) = read else { return };
        tail.push(&chunk[..read]);
        let pass = async {
            to.write_all(&chunk[..read]).await?;
            to.flush().await
        };
        if passing && let Err(error) = pass.await {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return;
            }
            output::remark(&format!(
                "hb: the command's output is lost from here on, it cannot be written: {error}"
            ));
            passing = false;
        }
        if *ended.borrow() {
            left_over = left_over.saturating_sub(read);
            if left_over == 0 {
                return;
            }
        }
    }
}

/// Completes when the command has ended and all calls together have waited for `patience`.
async fn over(ended: &mut watch::Receiver<bool>, patience: &mut Duration) {
    let _ = ended.wait_for(|ended| *ended).await;
    let step = Duration::from_millis(50);
    while !patience.is_zero() {
        // Before the wait, so that one that is cut short by output counts as well.
        *patience = patience.saturating_sub(step);
        tokio::time::sleep(step).await;
    }
}
