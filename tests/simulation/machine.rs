//! One machine: `hb serve` with its own settings, from the beats to the receipts, under the troubles of one machine.
//!
//! Sweep, canaries and courier of production run as tasks of a process that is killed, stopped and paused as a whole, over
//! a disk that fails, and send to receivers that refuse. Time is that of a paused tokio runtime with one thread: it passes
//! when all tasks wait. The stores are in memory: that SQLite behaves like them is shown by the contract tests.

mod clock;
mod deliveries;
mod end;
mod hosts;
mod invariants;
mod mutants;
mod process;
mod receivers;
mod serve;
mod troubles;
mod world;

use std::sync::Arc;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Fleet, HostKey, Protocol, Subscription, SubscriptionId,
    Webhook,
};
use hb_service::ports::Subscriptions;
use hb_service::testing::memory::{CountingIds, ManualClock, ports};
use tokio::sync::{Notify, watch};

use self::hosts::{Server, send_beats};
pub(crate) use self::mutants::Variant;
use self::process::Process;
use self::receivers::{Mood, Receiver};
use self::serve::serve;
pub(crate) use self::troubles::Trouble;
use self::world::{Machine, World, sleep};
use crate::run::RunResult;
use crate::world::{START, instant};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// Minutes with faults.
const FAULTY: i64 = 14;
/// Minutes without: longer than any hold, and than the longest pause before a try twice.
const CALM: i64 = 20;
/// So long after faults have ended, one host falls silent, and one that is silent comes back.
const LAST_TURNS: i64 = 11;
/// So long after faults have ended, receivers like every notice.
const LIKED: i64 = 13;

/// What must have happened in some run, besides all troubles.
pub(crate) const PREMISES: [&str; 8] = [
    "one machine: a caveat",
    "one machine: a silence is decided",
    "one machine: a later notice passes",
    "one machine: a prompt delivery",
    "one machine: a delayed delivery",
    "one machine: a second copy",
    "one machine: a dead delivery",
    "one machine: a silence in time",
];

/// The calls after which a process must have been killed.
pub(crate) const CALLS: [&str; 12] = [
    "hb serve: beat",
    "hb serve: load beats",
    "hb serve: scan",
    "hb serve: load",
    "hb serve: swap",
    "hb serve: open",
    "hb serve: publish",
    "hb serve: due",
    "hb serve: lease",
    "hb serve: send",
    "hb serve: settle",
    "hb serve: acknowledge echoes",
];

/// Runs the production code in the world of a seed.
pub(crate) fn run_machine(seed: u64) -> RunResult {
    run_machine_variant(seed, Variant::Sound, Variant::Sound)
}

/// Runs a variant in the world of a seed, under the troubles that `troubles_of` fails under.
pub(crate) fn run_machine_variant(seed: u64, variant: Variant, troubles_of: Variant) -> RunResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let machine = Machine::new(seed, troubles_of);
        machine.get().variant = variant;
        populate(&machine).await;
        run(&machine).await;
        let mut world = machine.get();
        // The disk has the clock of the last process, which has the disk: neither would ever be freed.
        let clock = Arc::new(ManualClock::new(instant(START)));
        drop(ports(&world.disk, clock, Arc::new(CountingIds::default())));
        RunResult {
            violations: world.violations.clone(),
            trace: std::mem::take(&mut world.trace),
            faults: world.faults.clone(),
        }
    })
}

/// The phase with faults, the calm phase, and the final checks.
async fn run(machine: &Machine) {
    for half_minute in 0..2 * (FAULTY + CALM) {
        {
            let mut world = machine.get();
            if half_minute < 2 * FAULTY {
                world.disturb();
            } else if world.on {
                world.clear();
            } else if half_minute == 2 * (FAULTY + LAST_TURNS) {
                world.last_turns();
            }
            // After a first violation others follow; a broken variant must reach the one it is meant for.
            if world.variant == Variant::Sound && !world.violations.is_empty() {
                return;
            }
        }
        sleep(MINUTE / 2).await;
    }
    end::check(machine).await;
}

/// Hosts that send beats, receivers, and the process, started again whenever it ends.
async fn populate(machine: &Machine) {
    let server = Server::default();
    let disk = machine.get().disk.clone();
    for n in 0..3 {
        let id: SubscriptionId = format!("hook-{n}").parse().unwrap();
        let address = format!("https://example.com/{n}");
        let subscription = Subscription {
            id: id.clone(),
            endpoint: Endpoint::parse(Protocol::Https, &address).unwrap(),
            filter: Filter::default(),
            webhook: Webhook::default(),
            created: instant(START),
        };
        let token = ConfirmationToken::from_random([0; 20]);
        let _ = disk.add(&subscription, &token).await;
        let mut world = machine.get();
        let small = world.rng.u32(0..2_000) < world.chances.of(Trouble::TooLarge);
        let hosts = if small {
            world.rng.usize(1..4)
        } else {
            usize::MAX
        };
        let mood = Mood::Accepts;
        world.receivers.insert(id, Receiver { mood, hosts });
    }
    let sizes = {
        let mut world = machine.get();
        [world.rng.u8(1..4), world.rng.u8(6..10)]
    };
    for (fleet, size) in ["lab", "main"].into_iter().zip(sizes) {
        for n in 0..size {
            let fleet: Fleet = fleet.parse().unwrap();
            let name = format!("{fleet}-{n}").parse().unwrap();
            let key = HostKey::new(fleet, name);
            machine.get().add_host(&key);
            tokio::spawn(send_beats(machine.clone(), server.clone(), key));
        }
    }
    tokio::spawn(live(machine.clone(), server));
}

/// One process after the other.
async fn live(machine: Machine, server: Server) {
    loop {
        let killed = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let process = Process::start(&machine).await;
        {
            let mut world = machine.get();
            world.killed = killed.clone();
            world.stop = Some(stop);
            world.outage_ended = world.outage_ended.max(world.now());
            let life = world.life;
            world.say(|| format!("process {life} begins"));
        }
        *server.lock().unwrap() = Some(process.clone());
        tokio::select! {
            biased;
            () = killed.notified() => {}
            () = serve(process, stopped) => {}
        }
        *server.lock().unwrap() = None;
        {
            let mut world = machine.get();
            world.runs = false;
            world.say(|| "the process has ended".to_owned());
        }
        machine.wait(500..90_000).await;
    }
}

impl World {
    /// What happens every half minute in the phase with faults.
    fn disturb(&mut self) {
        let now = self.now();
        if self.strikes(Trouble::Pause) {
            let pause = self.some_time();
            self.say(|| format!("the process stands still for {pause} ms"));
            self.paused_until = now + pause;
            self.outage_ended = self.outage_ended.max(self.paused_until);
        }
        if self.strikes(Trouble::DiskFull) {
            let full = self.some_time();
            self.say(|| format!("no commit succeeds for {full} ms"));
            self.full_until = now + full;
            self.outage_ended = self.outage_ended.max(self.full_until);
        }
        if self.runs && self.strikes(Trouble::Restart) {
            self.say(|| "the process is told to stop".to_owned());
            self.listens = false;
            if let Some(stop) = &self.stop {
                stop.send_replace(true);
            }
        }
        if self.strikes(Trouble::ClockStep) {
            let right = self.wall != 0 && self.rng.bool();
            let wall = if right { 0 } else { self.far() };
            self.step_to(wall);
        }
        let hosts: Vec<_> = self.hosts.keys().cloned().collect();
        if self.strikes(Trouble::MassOutage) {
            let up = self.rng.bool();
            for key in hosts.iter().filter(|key| key.fleet.is_main()) {
                self.turn(key, up);
            }
        } else if self.rng.u8(0..3) == 0 {
            let key = &hosts[self.rng.usize(0..hosts.len())];
            self.turn(key, !self.hosts[key].up);
        }
        self.disturb_receivers();
    }

    /// Seconds or minutes.
    fn some_time(&mut self) -> i64 {
        let longest = [10 * SECOND, 150 * SECOND][self.rng.usize(0..2)];
        self.rng.i64(SECOND..longest)
    }

    /// Far from the right time, in either direction.
    fn far(&mut self) -> i64 {
        const DAY: i64 = 86_400 * SECOND;
        let size = match self.rng.u8(0..4) {
            0 => self.rng.i64(SECOND..5 * SECOND),
            1 => self.rng.i64(60 * SECOND..300 * SECOND),
            2 => self.rng.i64(DAY / 24..2 * DAY),
            _ => 365 * DAY,
        };
        if self.rng.bool() { size } else { -size }
    }

    /// The wall clock steps.
    fn step_to(&mut self, wall: i64) {
        self.say(|| format!("the wall clock is {} s ahead", wall / SECOND));
        if wall < self.wall {
            self.set_back = Some(self.now());
        }
        self.wall = wall;
        self.steps += 1;
        self.stepped = Some(self.now());
    }

    /// Ends all faults. Receivers still refuse single notices.
    fn clear(&mut self) {
        let now = self.now();
        self.say(|| "all faults end".to_owned());
        self.on = false;
        (self.paused_until, self.full_until) = (now, now);
        (self.calm_from, self.liked_from) = (now, now + LIKED * MINUTE);
        if self.wall != 0 {
            self.step_to(0);
        }
        for receiver in self.receivers.values_mut() {
            receiver.mood = Mood::Accepts;
        }
    }

    /// Without faults, a host falls silent and another one comes back.
    fn last_turns(&mut self) {
        let known = |key: &&HostKey, up: bool| self.hosts[*key].up == up;
        let up = self.hosts.keys().find(|key| known(key, true)).cloned();
        let silent = self.hosts.keys().find(|key| known(key, false)).cloned();
        if let Some(key) = silent {
            self.turn(&key, true);
        }
        // If hardly any other host is heard, the network of the machine may be lost, and then there is a grace.
        let others = self.hosts.values().filter(|host| host.up).count();
        if let Some(key) = up.filter(|_| others > 3) {
            self.turn(&key, false);
            self.silent.insert(key);
        }
    }
}
