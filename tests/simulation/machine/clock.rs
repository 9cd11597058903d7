//! The clock of a process of `hb serve`: it follows a step of the wall clock only when that lasts.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{ClockEvent, ClockStep, Message, Reading, Timestamp};
use hb_service::ports::{Clock, Ids};

use super::process::Process;
use super::world::Machine;
use crate::world::{START, instant};

/// What the two clocks of the machine show.
pub(crate) fn reading(machine: &Machine) -> Reading {
    let world = machine.get();
    let now = world.now();
    Reading {
        wall: instant(now + world.wall),
        elapsed: Duration::from_millis((now - START).unsigned_abs()),
    }
}

#[async_trait]
impl Clock for Process {
    fn now(&self) -> Timestamp {
        let (time, event) = self.time.lock().unwrap().read(reading(&self.machine));
        if let Some(ClockEvent::Followed(_)) = event {
            // All beats are a little older at once, as after a short outage.
            let mut world = self.machine.get();
            world.outage_ended = world.outage_ended.max(world.now());
        }
        time
    }

    fn trouble(&self) -> Option<Message> {
        let elapsed = reading(&self.machine).elapsed;
        let ClockStep { from, to } = self.time.lock().unwrap().last_step(elapsed)?;
        Some(Message::from(format!(
            "the clock jumped from {from} to {to}"
        )))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl Ids for Process {
    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.machine.get().rng.fill(&mut bytes);
        bytes
    }
}
