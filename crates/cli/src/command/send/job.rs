//! How a command ended, as an exit code and in words.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use hb_domain::{human_duration, limits};
use tokio::task::JoinSet;

use super::tail::Tail;

/// As shells have it: the command was found and cannot be run, or was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// As shells have it: the signal's number on top of this.
const SIGNALLED: i32 = 128;

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself, or by a signal.
    Status(ExitStatus),
    /// It never began.
    NotStarted { code: u8, cause: String },
    /// Nobody knows; the system would not say.
    Unknown(String),
}

impl Ended {
    /// `program` was not started.
    pub(super) fn not_started(program: &OsStr, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_EXECUTABLE
        };
        Self::NotStarted {
            code,
            cause: format!("{} cannot be run: {error}", program.display()),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Status(status) => {
                let code = status
                    .code()
                    .or_else(|| Some(SIGNALLED + signal(*status)?))
                    .unwrap_or(1);
                // Elsewhere than on Unix codes are larger than what we can end with.
                u8::try_from(code).unwrap_or(1)
            }
            Self::NotStarted { code, .. } => *code,
            Self::Unknown(_) => 1,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Status(status) => match (status.code(), signal(*status)) {
                (Some(code), _) => format!("exit {code}"),
                // `signal: 9 (SIGKILL)`, as the standard library has it.
                (None, Some(_)) => format!("killed by {}", status.to_string().replacen(':', "", 1)),
                (None, None) => status.to_string(),
            },
            Self::NotStarted { cause, .. } | Self::Unknown(cause) => cause.clone(),
        }
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// A command that is over.
#[derive(Debug)]
pub(super) struct FinishedJob {
    pub(super) ended: Ended,
    pub(super) took: Duration,
    pub(super) tail: Tail,
    /// What still passes on what it printed.
    pub(super) passing: JoinSet<()>,
}

impl FinishedJob {
    /// What we end with: what the command ended with, or what a shell would.
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.ended.code())
    }

    /// Whether all is well.
    pub(super) fn is_ok(&self) -> bool {
        matches!(self.ended, Ended::Status(status) if status.success())
    }

    /// Why it did not even begin.
    pub(super) fn not_started(&self) -> Option<&str> {
        match &self.ended {
            Ended::NotStarted { cause, .. } => Some(cause),
            Ended::Status(_) | Ended::Unknown(_) => None,
        }
    }

    /// How it ended, for people: `exit 3 after 4.2 s: ` and the end of its output, at most what a beat holds, and
    /// without the `secret`.
    pub(super) fn message(&self, secret: &str) -> String {
        let words = self.ended.words();
        if self.not_started().is_some() {
            return words;
        }
        let how = format!("{words} after {}", duration(self.took));
        let said = self
            .tail
            .text(limits::MESSAGE_BYTES.saturating_sub(how.len() + 2), secret);
        if said.is_empty() {
            how
        } else {
            format!("{how}: {said}")
        }
    }

    /// Waits until all that the command printed has gone where it belongs.
    pub(super) async fn pass_rest(&mut self) {
        while self.passing.join_next().await.is_some() {}
    }
}

/// With a tenth of a second below a minute.
fn duration(took: Duration) -> String {
    if took < Duration::from_mins(1) {
        format!("{:.1} s", took.as_secs_f32())
    } else {
        human_duration(took)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn outcome(ended: Ended, took: Duration, said: &str) -> FinishedJob {
        let tail = Tail::default();
        tail.push(said.as_bytes());
        FinishedJob {
            ended,
            took,
            tail,
            passing: JoinSet::new(),
        }
    }

    fn status(raw: i32) -> Ended {
        Ended::Status(ExitStatus::from_raw(raw))
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        let cannot = |kind| Ended::not_started(OsStr::new("job"), &io::Error::from(kind));
        let cases = [
            (status(0), 0),
            (status(3 << 8), 3),
            (status(255 << 8), 255),
            (status(9), 137),
            (cannot(io::ErrorKind::NotFound), 127),
            (cannot(io::ErrorKind::PermissionDenied), 126),
            (cannot(io::ErrorKind::Other), 126),
            (Ended::Unknown(String::new()), 1),
        ];
        for (ended, code) in cases {
            assert_eq!(ended.code(), code, "{ended:?}");
        }
    }

    #[test]
    fn the_message_says_how_how_long_and_what_last() {
        let said = |raw, millis, said| {
            outcome(status(raw), Duration::from_millis(millis), said).message("hunter2")
        };
        assert_eq!(
            said(3 << 8, 4_230, "disk full\n"),
            "exit 3 after 4.2 s: disk full"
        );
        assert_eq!(said(1 << 8, 90_000, ""), "exit 1 after 1 min 30 s");
        assert_eq!(
            said(1 << 8, 0, "key: hunter2"),
            "exit 1 after 0.0 s: key: ***"
        );
        assert_eq!(said(9, 0, ""), "killed by signal 9 (SIGKILL) after 0.0 s");
        let long = said(1 << 8, 0, &"line\n".repeat(1_000));
        assert!(
            long.len() == 1024
                && long.starts_with("exit 1 after 0.0 s: ...")
                && long.ends_with("line")
        );
    }
}
