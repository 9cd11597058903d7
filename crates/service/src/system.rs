//! The system's clock and source of randomness, for binaries: the only places that use either.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hb_domain::{ClockEvent, ClockStep, Message, ProcessTime, Reading, Timestamp};

use crate::ports::{Clock, Ids};

/// The wall clock as it is: for commands, and for functions, which are frozen between two invocations, so that no other
/// clock is known to go on.
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::MIN.plus(since_1970)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The clock of a server: it follows a step of the wall clock only when that lasts ([`ProcessTime`]).
pub struct ProcessClock(Mutex<ProcessTime>);

impl ProcessClock {
    /// Starts with what the wall clock shows. `stored` is when a process before this one last stored something.
    #[must_use]
    pub fn start(stored: Option<Timestamp>) -> Self {
        let time = ProcessTime::new(reading()).resumed(stored.unwrap_or_default());
        if let Some(ClockStep { from, to }) = time.last_step(elapsed()) {
            tracing::warn!(
                "the last sweep was recorded at {from}, but this machine's clock shows {to}: it was set back since, or \
                 was wrong then; what is stored of later instants counts as now"
            );
        }
        Self(Mutex::new(time))
    }
}

#[async_trait]
impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, event) = time.read(reading());
        drop(time);
        match event {
            None => {}
            Some(ClockEvent::Stepped(ClockStep { from, to })) => tracing::warn!(
                "this machine's clock jumped from {from} to {to}: it is followed if it stays so for 1 min"
            ),
            Some(ClockEvent::Returned) => {
                tracing::info!("this machine's clock is back: the jump was not followed");
            }
            Some(ClockEvent::Followed(ClockStep { from, to })) => {
                tracing::warn!("this machine's clock is followed from {from} to {to}");
            }
        }
        now
    }

    fn trouble(&self) -> Option<Message> {
        let time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ClockStep { from, to } = time.last_step(elapsed())?;
        Some(Message::from(format!(
            "this machine's clock jumped from {from} to {to}; a jump is followed if it lasts for 1 min; see to its time \
             service"
        )))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Reads both clocks, again if the process was held up in between.
fn reading() -> Reading {
    const TRIES: u32 = 3;
    const AT_ONCE: Duration = Duration::from_millis(100);
    let mut before = elapsed();
    let mut tries = 0;
    loop {
        let wall = SystemClock.now();
        let after = elapsed();
        tries += 1;
        if after.saturating_sub(before) <= AT_ONCE || tries == TRIES {
            return Reading {
                wall,
                elapsed: after,
            };
        }
        before = after;
    }
}

/// The time since the machine started, including the time in which it was suspended.
#[cfg(target_os = "linux")]
fn elapsed() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// The time since the first call. It leaves out the time in which the machine was suspended, which then looks like a
/// step.
#[cfg(not(target_os = "linux"))]
fn elapsed() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

pub struct SystemIds;

impl Ids for SystemIds {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the adapter of randomness"
        )]
        let filled = getrandom::fill(&mut bytes);
        if let Err(error) = filled {
            // To continue would create guessable keys.
            tracing::error!("the operating system returned no random bytes: {error}");
            std::process::abort();
        }
        bytes
    }
}
