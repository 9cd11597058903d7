//! Floods a real `hb serve` from many addresses while a fleet beats, and checks that nobody is kept out, nobody is
//! announced who beats, and a silent host is announced in time.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p hb-cli --example soak -- target/release/hb 120
//! cargo run --release -p hb-cli --example soak -- target/release/hb load
//! ```
//!
//! The second one measures beats a second of 32 connections, for 5 s, three times. Linux only: it uses the addresses
//! 127.0.0.0/8 and reads `/proc`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers, which measures"
)]

mod fleet;
mod floods;
mod load;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use fleet::Fleet;
use server::Server;

/// Live hosts, their pause and their interval.
const HOSTS: usize = 500;
const PAUSE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_secs(10);
/// Addresses of strangers, from 127.0.0.2 on.
const STRANGERS: u8 = 20;
/// An answer that comes later does not count.
const SOON: Duration = Duration::from_secs(2);
/// What is asked for.
const ANSWERED: f64 = 0.999;
const MEMORY_MB: u64 = 256;
/// A sweep, its calls, and the wait for a beat of another host.
const DETECTION: Duration = Duration::from_secs(20 + 5 + 10);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [hb, what] = &arguments[..] else {
        println!("usage: soak HB SECONDS|load");
        return ExitCode::from(2);
    };
    let server = Server::start(hb).await;
    let Ok(seconds) = what.parse() else {
        load::run(&server).await;
        return ExitCode::SUCCESS;
    };
    soak(server, Duration::from_secs(seconds)).await
}

async fn soak(mut server: Server, duration: Duration) -> ExitCode {
    let fleet = Fleet::start(&server);
    // All hosts are known before the floods begin, and one falls silent in the middle of them.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let floods = floods::start(&server);
    tokio::time::sleep(duration / 3).await;
    let silent_since = fleet.silence();
    tokio::time::sleep(duration / 6).await;
    // Nobody reads what the server prints for a while.
    server.read_output(false);
    tokio::time::sleep(duration / 6).await;
    server.read_output(true);
    tokio::time::sleep(duration / 3).await;
    drop(floods);

    let counts = fleet.counts();
    let [sent, answered] =
        [counts.sent, counts.answered].map(|n| f64::from(u32::try_from(n).unwrap()));
    let share = answered / sent;
    let memory = server.memory_mb();
    let missing = server.missing();
    println!(
        "{sent} beats, {:.3} % answered within {SOON:?}, the slowest after {:?}",
        share * 100.0,
        counts.slowest
    );
    println!(
        "refused requests: {}, connections of strangers: {}",
        floods::refused(),
        floods::connections()
    );
    println!(
        "memory at most {memory} MB, {:.0} s of CPU time",
        server.cpu()
    );
    let mut good = true;
    let mut check = |holds: bool, what: &str| {
        println!("{} {what}", if holds { "ok  " } else { "FAIL" });
        good &= holds;
    };
    check(
        share >= ANSWERED,
        "99.9 % of the beats are answered within 2 s",
    );
    check(memory < MEMORY_MB, "memory stays under 256 MB");
    let alive: Vec<_> = missing
        .iter()
        .filter(|(host, ..)| host != fleet::SILENT)
        .collect();
    check(
        alive.is_empty(),
        &format!("no live host is announced as missing: {alive:?}"),
    );
    let announced = missing.iter().find(|(host, ..)| host == fleet::SILENT);
    let after = announced.map(|(_, at)| at.duration_since(silent_since));
    let in_time = after.is_some_and(|after| after.unsigned_abs() <= INTERVAL + PAUSE + DETECTION);
    check(
        in_time,
        &format!("the silent host is announced in time: after {after:?}"),
    );
    check(server.stop(), "the server stops cleanly");
    ExitCode::from(u8::from(!good))
}
