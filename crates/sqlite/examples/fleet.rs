//! Time and memory of the sweeps that register a fleet: `cargo run --release -p hb-sqlite --example fleet [HOSTS]`.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and measures time"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Receiver, Region};
use hb_service::ports::{Heard, Ports};
use hb_service::testing::memory::{CountingIds, ManualClock};
use hb_service::{Sweep, SweepSettings};
use hb_sqlite::Store;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hosts: usize = std::env::args()
        .nth(1)
        .map_or(Ok(100_000), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let store = Store::create(dir.path())?;
    let clock = Arc::new(ManualClock::new(hb_domain::Timestamp::from_millis(
        1_700_000_000_000,
    )?));
    let ports = hb_sqlite::ports(&store, clock.clone(), Arc::new(CountingIds::default()));
    stream::iter(0..hosts)
        .map(|n| record(&ports, n))
        .buffer_unordered(512)
        .try_collect::<()>()
        .await?;
    println!("{hosts} hosts have beaten once, {} MB in memory", memory()?);
    let sweep = Sweep::new(ports.clone(), SweepSettings::local());
    for what in ["registers", "5 s later", "10 s later"] {
        run(&sweep, what).await?;
        clock.advance(Duration::from_secs(5));
    }
    let canary = Receiver::new(Region::local()).with_canary(ports.clock.now(), Duration::MAX);
    clock.advance(Duration::from_hours(1));
    // The receiver works, and one host is heard: otherwise the others would be held.
    let canary = canary.with_canary(ports.clock.now(), Duration::MAX);
    ports.receivers.swap(&canary, None, Uuid::nil()).await?;
    record(&ports, hosts).await?;
    run(&sweep, "all missing").await?;
    clock.advance(Duration::from_secs(5));
    run(&sweep, "5 s later").await
}

async fn run(sweep: &Sweep, what: &str) -> Result<(), Failure> {
    let began = Instant::now();
    let report = sweep.run().await?;
    println!(
        "{what:<12} {:>9.2?}   {} decided in {} messages, {} MB in memory, {} MB at most",
        began.elapsed(),
        report.decided.total(),
        report.accepted,
        memory()?,
        status("VmHWM")?
    );
    Ok(())
}

async fn record(ports: &Ports, n: usize) -> Result<(), Failure> {
    let beat = Beat {
        interval: Interval::try_from(Duration::from_mins(30))?,
        ..Beat::ok(ports.clock.now())
    };
    let heard = Heard {
        key: HostKey::new(Fleet::main(), format!("host-{n:07}.example.com").parse()?),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    Ok(ports.heartbeats.record(&heard).await?)
}

fn memory() -> Result<u64, Failure> {
    status("VmRSS")
}

/// A figure of this process in MB, as Linux states it.
fn status(name: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no such figure")?.parse::<u64>()? / 1024)
}
