//! Forwards signals to the command.
//!
//! A terminal sends its signals to the command as well as to us. These are not forwarded: a second one makes many
//! programs stop at once.

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

    /// The signals that are forwarded, and whether a terminal sends them.
    const FORWARDED: [(Signal, bool); 4] = [
        (Signal::TERM, false),
        (Signal::INT, true),
        (Signal::QUIT, true),
        (Signal::HUP, true),
    ];

    /// The signals that arrive after it was created.
    pub(in super::super) struct Signals(Vec<(Signal, bool, Stream)>);

    impl Signals {
        /// From now on these signals do not end us. Those that we inherited as ignored (`nohup`, a background job of a
        /// script) stay ignored, as they do for the command.
        pub(in super::super) fn listen() -> Self {
            let ignored = ignored();
            let received = FORWARDED
                .into_iter()
                .filter(|(sort, _)| !is_in(ignored, *sort));
            let streams = received.filter_map(|(sort, of_terminal)| {
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

        /// Forwards signals to the process `pid`, for as long as it is polled.
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

    /// Whether a terminal sends its signals to us, and so to the command.
    fn in_foreground() -> bool {
        File::open("/dev/tty")
            .is_ok_and(|tty| tcgetpgrp(&tty).is_ok_and(|group| group == getpgrp()))
    }

    /// The signals that we ignore, a bit each. Empty outside Linux.
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

    /// Outside Unix the console signals the command itself.
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
