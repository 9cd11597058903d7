//! Signals that are meant for the command that we run, and how they get there.
//!
//! A terminal sends its signals to the command as well as to us; a second one would make many programs give up at
//! once, so it is not sent on.

#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(not(unix))]
pub(super) use elsewhere::Signals;

#[cfg(unix)]
mod unix {
    use std::convert::Infallible;
    use std::fs::File;

    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use rustix::termios::tcgetpgrp;
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// What is sent on, and whether a terminal sends it, too.
    const FORWARDED: [(Signal, bool); 4] = [
        (Signal::TERM, false),
        (Signal::INT, true),
        (Signal::QUIT, true),
        (Signal::HUP, true),
    ];

    /// The signals that we got from the time on when it was made.
    pub(in super::super) struct Signals(Vec<(Signal, bool, Stream)>);

    impl Signals {
        /// From now on these signals do not end us. Those that whoever started us had us ignore (`nohup`, a job in the
        /// background of a script) stay ignored, and the command inherits that.
        pub(in super::super) fn listen() -> Self {
            let ignored = ignored();
            let heard = FORWARDED
                .into_iter()
                .filter(|(sort, _)| !is_in(ignored, *sort));
            let streams = heard.filter_map(|(sort, of_terminal)| {
                let stream = signal(SignalKind::from_raw(sort.as_raw())).ok()?;
                Some((sort, of_terminal, stream))
            });
            Self(streams.collect())
        }

        /// The next one; `None` when none can come.
        pub(in super::super) async fn next(&mut self) -> Option<(Signal, bool)> {
            if self.0.is_empty() {
                return None;
            }
            let next = self.0.iter_mut().map(|(sort, of_terminal, stream)| {
                let what = (*sort, *of_terminal);
                Box::pin(async move { stream.recv().await.map(|()| what) })
            });
            futures::future::select_all(next).await.0
        }

        /// Sends signals on to the process `pid`, for as long as it is polled.
        pub(in super::super) async fn forward(&mut self, pid: Option<u32>) -> Infallible {
            let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            while let Some((sort, of_terminal)) = self.next().await {
                let Some(pid) = pid.filter(|_| !(of_terminal && in_foreground())) else {
                    continue;
                };
                // It fails when the process has just ended.
                let _ = kill_process(pid, sort);
            }
            std::future::pending().await
        }
    }

    /// Whether the keys of a terminal reach us, and so the command.
    fn in_foreground() -> bool {
        File::open("/dev/tty")
            .is_ok_and(|tty| tcgetpgrp(&tty).is_ok_and(|group| group == getpgrp()))
    }

    /// The set of signals that we ignore, as Linux tells it; elsewhere none.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    }

    /// Whether the set has the signal: signal 1 is bit 0.
    fn is_in(set: u64, sort: Signal) -> bool {
        set >> (sort.as_raw() - 1) & 1 == 1
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_set_of_ignored_signals_is_read_by_bits() {
            assert!(is_in(0b1, Signal::HUP) && !is_in(0b1, Signal::INT));
            assert!(is_in(0x4000, Signal::TERM) && !is_in(0x4000, Signal::HUP));
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::convert::Infallible;

    /// Elsewhere the console tells the command itself.
    pub(in super::super) struct Signals;

    impl Signals {
        pub(in super::super) fn listen() -> Self {
            Self
        }

        #[expect(clippy::unused_async, reason = "as on Unix")]
        pub(in super::super) async fn next(&mut self) -> Option<()> {
            None
        }

        pub(in super::super) async fn forward(&mut self, _: Option<u32>) -> Infallible {
            std::future::pending().await
        }
    }
}
