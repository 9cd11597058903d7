//! The result of a command, as an exit code and as a message.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use hb_domain::{Message, human_duration};
use tokio::task::JoinSet;

use super::tail::Tail;

/// As in shells: the command was found and cannot be run, or was not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// As in shells: the number of the signal is added to this.
const SIGNALLED: i32 = 128;

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By exit or by a signal.
    Status(ExitStatus),
    NotStarted {
        code: u8,
        cause: String,
    },
    /// The system did not report a status.
    Unknown(String),
}

impl Ended {
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
                // Outside Unix, exit codes are larger than ours can be.
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
                // The standard library writes `signal: 9 (SIGKILL)`.
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

#[derive(Debug)]
pub(super) struct FinishedJob {
    pub(super) ended: Ended,
    pub(super) took: Duration,
    pub(super) tail: Tail,
    /// The tasks that still pass on its output.
    pub(super) passing: JoinSet<()>,
}

impl FinishedJob {
    /// The exit code of the command, or the one that a shell would exit with.
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.ended.code())
    }

    pub(super) fn is_ok(&self) -> bool {
        matches!(self.ended, Ended::Status(status) if status.success())
    }

    /// Why it was not started, if it was not.
    pub(super) fn not_started(&self) -> Option<&str> {
        match &self.ended {
            Ended::NotStarted { cause, .. } => Some(cause),
            Ended::Status(_) | Ended::Unknown(_) => None,
        }
    }

    /// The result for people: `exit 3 after 4.2 s: ` and the end of its output, without the `secret`.
    pub(super) fn message(&self, secret: &str) -> Message {
        let words = self.ended.words();
        if self.not_started().is_some() {
            return words.into();
        }
        let how = format!("{words} after {}", duration(self.took));
        Message::of_job(Some(&how), &self.tail.text(secret))
    }

    /// Waits until all output of the command is passed on.
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

    fn finished(ended: Ended, took: Duration, output: &str) -> FinishedJob {
        let tail = Tail::default();
        tail.push(output.as_bytes());
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
    fn exit_codes_are_those_of_a_shell() {
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
    fn the_message_has_result_duration_and_end_of_output() {
        let message = |raw, millis, output| {
            let job = finished(status(raw), Duration::from_millis(millis), output);
            String::from(job.message("hunter2"))
        };
        assert_eq!(
            message(3 << 8, 4_230, "disk full\n"),
            "exit 3 after 4.2 s: disk full"
        );
        assert_eq!(
            message(3 << 8, 4_230, "writing\ndisk full\n"),
            "exit 3 after 4.2 s: disk full\nwriting"
        );
        assert_eq!(message(1 << 8, 90_000, ""), "exit 1 after 1 min 30 s");
        assert_eq!(
            message(1 << 8, 0, "key: hunter2"),
            "exit 1 after 0.0 s: key: ***"
        );
        assert_eq!(
            message(9, 0, ""),
            "killed by signal 9 (SIGKILL) after 0.0 s"
        );
    }
}
