//! Many tasks on one thread: a random one runs next, and time passes only when all of them wait.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hb_domain::{Fleet, Kind, Notice, Region, Timestamp};
use hb_service::ports::Topic;

use crate::faults::{Fault, Faults};
use crate::ports::SimulatedPorts;
use crate::world::Shared;

/// Most milliseconds that a process may live: its lease is longer.
pub(crate) const LIFE: i64 = 60_000;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) region: Option<Region>,
    work: Work,
    born: i64,
    /// Not to be polled before this instant.
    wake: i64,
    /// Whether it is a process of the service, which can be killed and paused.
    process: bool,
}

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

    /// Starts a process that may be killed or paused at random.
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

    /// Starts a task outside the service.
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

    /// Ends all processes that `which` is true of.
    pub(crate) fn end_processes(&mut self, which: impl Fn(&str, &Region) -> bool) {
        self.tasks.retain(|task| {
            let region = task.region.as_ref().filter(|_| task.process);
            region.is_none_or(|region| !which(&task.name, region))
        });
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
                .filter(|index| self.tasks[*index].wake <= now)
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
            let index = ready[self.world.get().rng.usize(0..ready.len())];
            self.step(index);
        }
    }

    fn pass(&mut self, until: i64) {
        let mut world = self.world.get();
        world.now = until;
        let world = &mut *world;
        let cut_off = &world.cut_off;
        world
            .tables
            .arrive(until, !world.replication_down, |region| {
                cut_off.contains(region)
            });
    }

    fn step(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let mut world = self.world.get();
        world.progress = false;
        world.waits = i64::MAX;
        world.last_call = "";
        world.lives_until = if task.process {
            task.born + LIFE
        } else {
            i64::MAX
        };
        world.ended = false;
        drop(world);
        let done = task
            .work
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        let mut world = self.world.get();
        let name = task.name.clone();
        let call = world.last_call;
        if done {
            world.say(|| format!("{name} ends"));
            drop(self.tasks.swap_remove(index));
            return;
        }
        if !world.progress {
            task.wake = world.waits.max(world.now);
        }
        if !task.process {
            return;
        }
        if world.ended || world.strikes(Fault::Crash) {
            world.say(|| format!("{name} is killed after {call}"));
            *world.faults.crashes.entry(call).or_default() += 1;
            drop(world);
            drop(self.tasks.swap_remove(index));
        } else if world.strikes(Fault::Pause) {
            // At times longer than it may live: it must not publish any more, whatever else it does.
            let pause = world.rng.i64(1_000..120_000);
            world.say(|| format!("{name} is paused for {pause} ms after {call}"));
            task.wake = world.now + pause;
        }
    }
}

/// Completes at an instant of the world, after at least one poll.
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
            // One more poll, so that other tasks can run in between.
            self.millis = -1;
            world.progress = true;
        }
        world.waits = world.waits.min(until);
        // A combinator of several futures polls only those that wake it.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_process_ends_before_the_effect_of_a_publish_after_its_life() {
    let world = Shared::new(0, 1, Faults::default(), false);
    let region = world.get().regions[0].clone();
    for (wait, published) in [(LIFE / 2, 1), (LIFE + 1, 0)] {
        let mut executor = Executor::new(world.clone());
        let ports = SimulatedPorts::new(&world, &region, 0);
        let notice = Notice::test(Fleet::main(), Kind::Missing, region.clone(), Timestamp::MIN);
        executor.process("sweep", &region, async move {
            Wait::new(&ports.world, wait).await;
            ports.publish(&notice).await;
        });
        world.get().accepted.clear();
        let until = world.get().now + 2 * LIFE;
        executor.run_until(until);
        assert_eq!(world.get().accepted.len(), published, "after {wait} ms");
    }
}
