//! Floods a real `hb serve` from many addresses while a fleet beats, and checks that nobody is kept out, nobody is
//! announced who beats, and a silent host is announced in time.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p hb-cli --example soak -- target/release/hb 120
//! cargo run --release -p hb-cli --example soak -- target/release/hb 1800 /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
//! cargo run --release -p hb-cli --example soak -- target/release/hb load
//! ```
//!
//! The first one leaves the output of the server unread for a while. The second one also sets its clock, by
//! libfaketime, takes its descriptors, and fills its disk; it needs root for a file system of its own. The third one
//! measures beats a second of 32 connections, for 5 s, three times. Linux only: it uses the addresses 127.0.0.0/8 and
//! reads `/proc`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers, which measures"
)]

mod faults;
mod fleet;
mod floods;
mod load;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use faults::Fault;
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
    let (hb, what, faketime) = match &arguments[..] {
        [hb, what] => (hb, what, None),
        [hb, what, faketime] => (hb, what, Some(faketime.as_str())),
        _ => {
            println!("usage: soak HB SECONDS [LIBFAKETIME] | soak HB load");
            return ExitCode::from(2);
        }
    };
    let server = Server::start(hb, faketime).await;
    let Ok(seconds) = what.parse() else {
        load::run(&server).await;
        return ExitCode::SUCCESS;
    };
    let faults: &[Fault] = if faketime.is_some() {
        &Fault::ALL
    } else {
        &[Fault::Pipe]
    };
    soak(server, Duration::from_secs(seconds), faults).await
}

async fn soak(mut server: Server, duration: Duration, faults: &[Fault]) -> ExitCode {
    let fleet = Fleet::start(&server);
    // All hosts are known before the floods begin.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let floods = floods::start(&server);
    let part = duration / u32::try_from(faults.len()).unwrap();
    let mut silences = Vec::new();
    for (n, fault) in faults.iter().enumerate() {
        tokio::time::sleep(part / 4).await;
        println!("broken: {fault:?}");
        fleet.count_beats(fault.lets_beats_in());
        fault.strike(&server, &fleet, part / 6).await;
        tokio::time::sleep(part / 12).await;
        fleet.count_beats(true);
        // One falls silent when the fault is mended.
        silences.push((*fault, fleet::silent(n), fleet.silence(n)));
        tokio::time::sleep(part / 2).await;
    }
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
    let silent = |host: &str| silences.iter().any(|(_, name, _)| name == host);
    let alive: Vec<_> = missing.iter().filter(|(host, ..)| !silent(host)).collect();
    check(
        alive.is_empty(),
        &format!("no live host is announced as missing: {alive:?}"),
    );
    for (fault, name, since) in &silences {
        let announced = missing.iter().find(|(host, ..)| host == name);
        let after = announced.map(|(_, at)| at.duration_since(*since));
        let in_time =
            after.is_some_and(|after| after.unsigned_abs() <= INTERVAL + PAUSE + DETECTION);
        check(
            in_time,
            &format!("a host silent after {fault:?} is announced in time: after {after:?}"),
        );
    }
    check(server.stop(), "the server stops cleanly");
    ExitCode::from(u8::from(!good))
}
