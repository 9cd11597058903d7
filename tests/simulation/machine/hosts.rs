//! The hosts of one machine: they send beats to the process that runs, if one does, and retry.

use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{Beat, Fleet, Heartbeat, HostId, HostKey, Region, Signal};
use hb_service::Caller;
use hb_service::ports::{Clock, Heard, Heartbeats};

use super::process::Process;
use super::troubles::Trouble;
use super::world::{Host, Machine, World, sleep};
use crate::intervals::millis;

const SECOND: i64 = 1_000;
/// Short intervals, which only one machine can serve well.
const INTERVALS: [i64; 8] = [5, 10, 20, 30, 60, 60, 120, 120];
/// How long the server's own canary waits for an answer.
const CANARY: i64 = 5 * SECOND;

/// The process that runs, for those who send beats.
pub(crate) type Server = std::sync::Arc<std::sync::Mutex<Option<Process>>>;

impl World {
    /// A new host with an interval of its own.
    pub(crate) fn add_host(&mut self, key: &HostKey) {
        let interval = INTERVALS[self.rng.usize(0..INTERVALS.len())] * SECOND;
        self.say(|| format!("{key} beats every {interval} ms"));
        let host = Host {
            up: true,
            since: self.now(),
            interval,
            beat: None,
            lost: None,
            read: 0,
            known: None,
            behind: false,
        };
        self.hosts.insert(key.clone(), host);
    }
}

/// A host: a beat after a third of its interval or a little later, tried three times.
pub(crate) async fn send_beats(machine: Machine, server: Server, key: HostKey) {
    let mut due = 0;
    loop {
        let (up, now, interval) = {
            let world = machine.get();
            let host = &world.hosts[&key];
            (host.up, world.now(), host.interval)
        };
        if !up || now < due {
            sleep(if up { due - now } else { 3 * SECOND }).await;
            continue;
        }
        let signal = if machine.get().strikes(Trouble::HostFails) {
            Signal::Fail
        } else {
            Signal::Ok
        };
        let mut answered = false;
        for _ in 0..3 {
            let patience = (interval / 5).min(10 * SECOND);
            answered = beat(&server, &key, interval, signal, patience).await;
            if answered {
                break;
            }
            sleep((interval / 20).min(SECOND)).await;
        }
        let mut world = machine.get();
        let now = world.now();
        if !answered && let Some(host) = world.hosts.get_mut(&key) {
            host.lost = Some(now);
        }
        due = now + interval * world.rng.i64(300..417) / 1_000;
        if signal == Signal::Fail {
            // It soon says that it is well.
            due = due.min(now + 20 * SECOND);
        }
    }
}

/// Sends a beat; whether it was acknowledged in time.
async fn beat(
    server: &Server,
    key: &HostKey,
    interval: i64,
    signal: Signal,
    patience: i64,
) -> bool {
    let Some(process) = server.lock().unwrap().clone() else {
        return false;
    };
    let patience = Duration::from_millis(patience.unsigned_abs());
    let recorded = tokio::time::timeout(patience, record(&process, key, interval, signal));
    recorded.await == Ok(true)
}

/// The server takes a beat.
async fn record(process: &Process, key: &HostKey, interval: i64, signal: Signal) -> bool {
    process.runs().await;
    if !process.machine.get().listens {
        return false;
    }
    let beat = Beat {
        interval: millis(interval),
        signal,
        ..Beat::ok(process.now())
    };
    let heard = Heard {
        key: key.clone(),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    process.record(&heard).await.is_ok()
}

/// Sends the canaries of a process to itself.
pub(crate) struct Itself(pub(crate) Process);

#[async_trait]
impl Caller for Itself {
    async fn beat(&self, host: &HostId) -> Result<(), String> {
        let key = HostKey::new(Fleet::main(), host.clone());
        let patience = Duration::from_millis(CANARY.unsigned_abs());
        let recorded = record(&self.0, &key, 60 * SECOND, Signal::Ok);
        match tokio::time::timeout(patience, recorded).await {
            Ok(true) => Ok(()),
            _ => Err("no answer".to_owned()),
        }
    }
}
