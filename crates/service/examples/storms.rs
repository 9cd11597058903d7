//! How many messages people get of common outages, and how soon, simulated with the settings of one machine and of AWS.
//! `cargo run --release -p hb-service --features testing --example storms`
//!
//! Canaries arrive and some hosts keep beating all the time. Times count from the moment of the outage.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Interval, Kind, Notice, Region, Timestamp};
use hb_service::ports::{Clock, Heard, Heartbeats};
use hb_service::testing::memory::{self, CountingIds, ManualClock, Memory};
use hb_service::{Sweep, SweepSettings};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Time passes in steps of this.
const STEP: u64 = 5;
const MINUTE: u64 = 60;
/// When the outage begins, and how long it lasts.
const OUTAGE: u64 = 60 * MINUTE;
const LASTS: u64 = 30 * MINUTE;

/// A host that beats each `every` seconds, from `offset` on, and announces this interval.
struct Host {
    name: String,
    every: u64,
    offset: u64,
    interval: u64,
    falls_silent: bool,
}

/// Hosts with an interval of `least` to `most` minutes, whose beats are spread.
fn spread(count: u64, least: u64, most: u64) -> Vec<Host> {
    let host = |n: u64| {
        let every = (least + n * 7 % (most - least + 1)) * MINUTE;
        Host {
            name: format!("host-{n:04}"),
            every,
            // Spread, and the same in each run.
            offset: n * 37 % (every / STEP) * STEP,
            interval: every,
            falls_silent: true,
        }
    };
    (0..count).map(host).collect()
}

/// It promises to beat every minute and beats more seldom.
fn flapper(every: u64) -> Vec<Host> {
    vec![Host {
        name: "flapper".to_owned(),
        every,
        offset: 0,
        interval: MINUTE,
        falls_silent: false,
    }]
}

struct Story {
    name: &'static str,
    hosts: Vec<Host>,
    /// What came before does not count.
    from: u64,
    until: u64,
}

fn stories() -> Vec<Story> {
    let of = |name, hosts| Story {
        name,
        hosts,
        from: OUTAGE,
        until: OUTAGE + LASTS + 40 * MINUTE,
    };
    let day = |name, hosts| Story {
        name,
        hosts,
        from: 0,
        until: 24 * 60 * MINUTE,
    };
    vec![
        of("20 hosts, every minute", spread(20, 1, 1)),
        of("50 hosts, every minute", spread(50, 1, 1)),
        of("1,000 hosts, every minute", spread(1_000, 1, 1)),
        of("1,000 hosts, every 1 to 15 min", spread(1_000, 1, 15)),
        of("100 hosts, every 1 to 15 min", spread(100, 1, 15)),
        of("7 registers of a restaurant, every 5 min", spread(7, 5, 5)),
        of("60 hosts, every 5 min", spread(60, 5, 5)),
        day("one that is late every 100 s, in a day", flapper(100)),
        day("one that is late every 5 min, in a day", flapper(300)),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    println!("| outage | settings | missing | recovered | first host | last host |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for story in stories() {
        let aws = SweepSettings {
            messages_per_second: None,
            ..SweepSettings::distributed(Region::local(), Duration::from_secs(70))
        };
        run(&story, "one machine", 20, SweepSettings::local()).await?;
        run(&story, "AWS", 60, aws).await?;
    }
    Ok(())
}

async fn run(
    story: &Story,
    settings: &str,
    every: u64,
    rules: SweepSettings,
) -> Result<(), Failure> {
    let start = Timestamp::from_millis(1_700_000_000_000)?;
    let clock = Arc::new(ManualClock::new(start));
    let memory: Arc<Memory> = Arc::default();
    let ports = memory::ports(&memory, clock.clone(), Arc::new(CountingIds::default()));
    let sweep = Sweep::new(ports, rules);
    let live = (0..5).map(|n| Host {
        name: format!("live-{n}"),
        every: 10,
        offset: 0,
        interval: 10 * MINUTE,
        falls_silent: false,
    });
    let live: Vec<_> = live.collect();
    let (mut seen, mut notices) = (0, Vec::new());
    for second in (0..story.until).step_by(usize::try_from(STEP)?) {
        clock.set(start.plus(Duration::from_secs(second)));
        let away = (OUTAGE..OUTAGE + LASTS).contains(&second);
        for host in live.iter().chain(&story.hosts) {
            let due = second >= host.offset && (second - host.offset) % host.every == 0;
            if due && !(away && host.falls_silent) {
                record(&memory, &*clock, host).await?;
            }
        }
        if second % every == 0 {
            memory.hear(clock.now(), Duration::from_hours(48)).await?;
            sweep.run().await?;
            let published = memory.published();
            let news = published[seen..].iter();
            notices.extend(news.map(|notice| (second, notice.clone())));
            seen = published.len();
        }
    }
    report(story, settings, &notices);
    Ok(())
}

/// A line of the table.
fn report(story: &Story, settings: &str, notices: &[(u64, Notice)]) {
    let of = |kind| {
        notices
            .iter()
            .filter(move |(at, notice)| notice.kind == kind && *at >= story.from)
    };
    let (mut known, mut times) = (BTreeSet::new(), Vec::new());
    for (at, notice) in of(Kind::Missing) {
        for host in notice.host_ids() {
            if known.insert(host.clone()) {
                times.push(*at - story.from);
            }
        }
    }
    let minutes = |time: Option<&u64>| {
        time.map_or("-".to_owned(), |seconds| {
            format!("{}:{:02} min", seconds / MINUTE, seconds % MINUTE)
        })
    };
    let all = known.len() == story.hosts.len();
    println!(
        "| {} | {settings} | {} | {} | {} | {}{} |",
        story.name,
        of(Kind::Missing).count(),
        of(Kind::Recovered).count(),
        minutes(times.first()),
        minutes(times.last()),
        if all { "" } else { " (not all)" },
    );
}

async fn record(memory: &Memory, clock: &dyn Clock, host: &Host) -> Result<(), Failure> {
    let interval = Interval::try_from(Duration::from_secs(host.interval))?;
    let beat = Beat {
        interval,
        ..Beat::ok(clock.now())
    };
    let heard = Heard {
        key: HostKey::new(Fleet::main(), host.name.parse()?),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    Ok(memory.record(&heard).await?)
}
