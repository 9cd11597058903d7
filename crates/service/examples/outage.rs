//! A mass outage, simulated: how long until people know of the first and of the last silent host.
//! `cargo run --release -p hb-service --features testing --example outage [HOSTS [SILENT]]`
//!
//! One sweep function every minute, 70 s each, against a store that takes a given number of calls a second. Time is
//! simulated; the figures do not depend on the machine.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Kind, Region, Timestamp};
use hb_service::ports::{Clock, Heard, Heartbeats};
use hb_service::testing::memory::{self, CountingIds, ManualClock, Memory, Slow};
use hb_service::{Sweep, SweepSettings};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a sweep function has, after its margin.
const TIME: Duration = Duration::from_secs(70);
/// Calls a second, as measured with 128 MB and with 1,769 MB of memory, and items of a scan that cost as much as a call.
const RATES: [(&str, u32); 2] = [("128 MB", 420), ("1,769 MB", 5_300)];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (hosts, silent): (u32, u32) = (number(1_000_000)?, number(500_000)?);
    for (memory, rate) in RATES {
        outage(memory, rate, hosts, silent).await?;
    }
    Ok(())
}

async fn outage(name: &str, rate: u32, hosts: u32, silent: u32) -> Result<(), Failure> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)?));
    let memory: Arc<Memory> = Arc::default();
    let mut ports = memory::ports(&memory, clock.clone(), Arc::new(CountingIds::default()));
    for host in 0..hosts {
        // The silent ones lie among the others.
        let hours = if host % (hosts / silent.max(1)).max(1) == 0 {
            1
        } else {
            1_000
        };
        record(&memory, &*clock, host, Duration::from_hours(hours)).await?;
    }
    Sweep::new(ports.clone(), SweepSettings::local())
        .run()
        .await?;
    let slow = Arc::new(Slow {
        inner: memory.clone(),
        clock: clock.clone(),
        call: Duration::from_secs(1) / rate,
    });
    ports.heartbeats = slow.clone();
    ports.ledger = slow;
    let settings = SweepSettings::distributed(Region::local(), TIME);
    clock.advance(Duration::from_hours(1));
    let outage = clock.now();
    let published = memory.published().len();
    let (mut first, mut listed, mut sweeps) = (None, 0, 0);
    while listed < u64::from(silent) {
        let began = clock.now();
        memory.hear(began, Duration::from_hours(24)).await?;
        // Each in a fresh process.
        let sweep = Sweep::new(ports.clone(), settings.clone());
        let _ = sweep.run_until(began.plus(TIME)).await;
        sweeps += 1;
        let notices = memory.published();
        let missing = notices[published..]
            .iter()
            .filter(|one| one.kind == Kind::Missing);
        listed = missing.map(|one| one.host_ids().count() as u64).sum();
        let since = clock.now().since(outage);
        if listed > 0 {
            first.get_or_insert(since);
        }
        let next = Duration::from_mins(since.as_secs() / 60 + 1);
        clock.advance(next.saturating_sub(since));
    }
    println!(
        "{name}, {rate} calls/s: {hosts} hosts, {silent} of them silent at once: the first announced within {:.1} min, \
         the last after {:.1} min, in {sweeps} sweeps and {} messages",
        first.unwrap_or_default().as_secs_f64() / 60.0,
        clock.now().since(outage).as_secs_f64() / 60.0,
        memory.published().len() - published,
    );
    Ok(())
}

async fn record(
    memory: &Memory,
    clock: &dyn Clock,
    host: u32,
    interval: Duration,
) -> Result<(), Failure> {
    let beat = Beat {
        interval: Interval::try_from(interval)?,
        ..Beat::ok(clock.now())
    };
    let heard = Heard {
        key: HostKey::new(
            Fleet::main(),
            format!("host-{host:07}.example.com").parse()?,
        ),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    Ok(memory.record(&heard).await?)
}
