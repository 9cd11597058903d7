//! Durable beats a second, and the time of a scan: `cargo run --release -p hb-sqlite --example throughput [HOSTS] [DIR]`.
//!
//! The figures are those of the disk under DIR (a temporary folder when none is named), not of this code alone.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and measures time"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hb_domain::{Beat, Fleet, Heartbeat, HostKey, Region, Timestamp};
use hb_service::ports::{Heard, Heartbeats, Segment, every_page};
use hb_sqlite::Store;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long each rate is measured.
const MEASURE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let hosts: usize = arguments
        .next()
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments
        .next()
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let heartbeats = Arc::new(Store::create(&dir)?);

    let alone = rate(&heartbeats, 1, 10_000).await?;
    println!("{:>3} producer   {:>9} beats/s", 1, alone);
    for producers in [8, 64, 256] {
        let together = rate(&heartbeats, producers, 10_000).await?;
        println!(
            "{producers:>3} producers  {together:>9} beats/s   {:.1} times one",
            ratio(together, alone)
        );
    }

    let began = Instant::now();
    fill(&heartbeats, hosts).await?;
    let filled = began.elapsed();
    println!("fill          {hosts:>9} hosts in {filled:.2?}");
    let began = Instant::now();
    let (found, _) = every_page(|after| heartbeats.scan(Segment::WHOLE, after)).await?;
    let scanned = began.elapsed();
    let found = found.len();
    println!("scan          {found:>9} hosts in {scanned:.2?}");
    Ok(())
}

/// Beats a second of `producers` that each wait for their answer, over `hosts` names.
async fn rate(heartbeats: &Arc<Store>, producers: usize, hosts: usize) -> Result<usize, Failure> {
    let began = Instant::now();
    let sent = Arc::new(AtomicUsize::new(0));
    let tasks = (0..producers).map(|_| {
        let (heartbeats, sent) = (heartbeats.clone(), sent.clone());
        tokio::spawn(async move {
            while began.elapsed() < MEASURE {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                heartbeats.record(&heard(n % hosts, n)?).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    let millis = usize::try_from(began.elapsed().as_millis())?;
    Ok(sent.load(Ordering::Relaxed) * 1_000 / millis)
}

async fn fill(heartbeats: &Arc<Store>, hosts: usize) -> Result<(), Failure> {
    let tasks = (0..512).map(|part| {
        let heartbeats = heartbeats.clone();
        tokio::spawn(async move {
            for n in (part..hosts).step_by(512) {
                heartbeats.record(&heard(n, n)?).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(())
}

fn heard(host: usize, millis: usize) -> Result<Heard, Failure> {
    let at = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(millis)?)?;
    let beat = Beat::ok(at);
    let key = HostKey::new(
        Fleet::main(),
        format!("host-{host:07}.example.com").parse()?,
    );
    Ok(Heard {
        key,
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure with one decimal")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
