//! One thread, many tasks: which of them goes on is drawn by lot, and time passes only when all of them wait.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hb_domain::Region;

use crate::faults::Fault;
use crate::world::Shared;

/// Milliseconds that a process may live: its lease is longer.
pub(crate) const LIFE: i64 = 60_000;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, and whose it is.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) region: Option<Region>,
    work: Work,
    born: i64,
    /// Not to be asked before this instant.
    wake: i64,
    /// Whether it can be killed, paused and started anew: a process of ours.
    process: bool,
}

/// The tasks of a run.
pub(crate) struct Executor {
    world: Shared,
    tasks: Vec<Task>,
}

impl Executor {
    pub(crate) fn new(world: Shared) -> Self {
        Self {
            world,
            tasks: Vec::new(),
        }
    }

    /// Starts a process that chance may kill or pause.
    pub(crate) fn process(
        &mut self,
        name: &str,
        region: &Region,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut world = self.world.get();
        world.say(|| format!("{region}: {name} begins"));
        let born = world.now;
        drop(world);
        let work: Work = Box::pin(work);
        let region = Some(region.clone());
        self.tasks.push(Task {
            name: name.to_owned(),
            region,
            work,
            born,
            wake: born,
            process: true,
        });
    }

    /// Starts something of the world outside, which goes its own way.
    pub(crate) fn outside(&mut self, name: &str, work: impl Future<Output = ()> + Send + 'static) {
        let born = self.world.get().now;
        let task = Task {
            name: name.to_owned(),
            region: None,
            work: Box::pin(work),
            born,
            wake: born,
            process: false,
        };
        self.tasks.push(task);
    }

    /// How many sweeps of a region can still publish.
    pub(crate) fn sweeping(&self, region: &Region) -> usize {
        let now = self.world.get().now;
        let here = self
            .tasks
            .iter()
            .filter(|task| task.region.as_ref() == Some(region));
        here.filter(|task| task.name == "sweep" && now - task.born <= LIFE)
            .count()
    }

    /// Runs until the world's time is `until`.
    pub(crate) fn run_until(&mut self, until: i64) {
        loop {
            let now = self.world.get().now;
            if now >= until {
                return;
            }
            let ready: Vec<_> = (0..self.tasks.len())
                .filter(|place| self.tasks[*place].wake <= now)
                .collect();
            if ready.is_empty() {
                let next = self
                    .tasks
                    .iter()
                    .map(|task| task.wake)
                    .min()
                    .unwrap_or(until);
                self.pass(next.min(until));
                continue;
            }
            let place = ready[self.world.get().rng.usize(0..ready.len())];
            self.step(place);
        }
    }

    fn pass(&mut self, until: i64) {
        let mut world = self.world.get();
        world.now = until;
        let world = &mut *world;
        let cut_off = &world.cut_off;
        world
            .tables
            .arrive(until, |region| cut_off.contains(region));
    }

    fn step(&mut self, place: usize) {
        let task = &mut self.tasks[place];
        let mut world = self.world.get();
        (world.progress, world.waits, world.last_call) = (false, i64::MAX, "");
        drop(world);
        let done = task
            .work
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        let mut world = self.world.get();
        let (name, call) = (task.name.clone(), world.last_call);
        if done {
            world.say(|| format!("{name} ends"));
            drop(self.tasks.swap_remove(place));
            return;
        }
        if !world.progress {
            task.wake = world.waits.max(world.now);
        }
        if !task.process {
            return;
        }
        if call == "topic.publish" && world.now - task.born > LIFE || world.strikes(Fault::Crash) {
            world.say(|| format!("{name} is killed after {call}"));
            *world.faults.crashes.entry(call).or_default() += 1;
            drop(world);
            drop(self.tasks.swap_remove(place));
        } else if world.strikes(Fault::Pause) {
            // Beyond its life at times: then it is a zombie, which may do anything but publish.
            let pause = world.rng.i64(1_000..120_000);
            world.say(|| format!("{name} is paused for {pause} ms after {call}"));
            task.wake = world.now + pause;
        }
    }
}

/// Completes at an instant of the world, after it was asked at least once.
pub(crate) struct Wait {
    world: Shared,
    until: Option<i64>,
    millis: i64,
}

impl Wait {
    pub(crate) fn new(world: &Shared, millis: i64) -> Self {
        Self {
            world: world.clone(),
            until: None,
            millis,
        }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = self.world.clone();
        let mut world = shared.get();
        let millis = self.millis.max(0);
        let until = *self.until.get_or_insert(world.now + millis);
        if self.millis < 0 || (world.now >= until && self.millis > 0) {
            world.progress = true;
            return Poll::Ready(());
        }
        if self.millis == 0 {
            // Once around, so that others may come between.
            self.millis = -1;
            world.progress = true;
        }
        world.waits = world.waits.min(until);
        // Whoever polls several futures asks again only those that wake it.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
