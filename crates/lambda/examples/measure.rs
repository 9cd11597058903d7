//! How fast the functions start and answer, between a Lambda Runtime API and an AWS that answer at once.
//!
//! ```text
//! cargo build --profile lambda -p hb-lambda
//! cargo run --release -p hb-lambda --example measure target/lambda [STARTS] [EVENTS]
//! ```
//!
//! Starts each program STARTS times (20) and sends it EVENTS warm events (200). Every start is a new process with only
//! the variables that Lambda sets. The figures leave out what AWS adds, above all the network.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers"
)]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the test of permissions reads the calls")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Aws, Function, http_event};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or("target/lambda".to_owned());
    let mut number = |default| arguments.next().map_or(default, |n| n.parse().unwrap());
    let (starts, events) = (number(20), number(200));
    let aws = Aws::start(false);
    let beat = http_event("POST", "/v1/heartbeat/web-01").to_string();
    for (program, event, expected) in [
        ("ingest", beat.as_str(), r#""statusCode":200"#),
        ("sweep", "{}", r#""failed":0"#),
    ] {
        let program = Path::new(&dir).join(program);
        let mut figures = Figures::default();
        for _ in 0..starts {
            figures.measure(&program, &aws, event, expected, events);
        }
        figures.print(&program);
    }
}

#[derive(Default)]
struct Figures {
    starts: Vec<Duration>,
    firsts: Vec<Duration>,
    warm: Vec<Duration>,
    peak_kib: u64,
}

impl Figures {
    /// Starts a process, and sends it `events` events after the first one.
    fn measure(&mut self, program: &Path, aws: &Aws, event: &str, expected: &str, events: usize) {
        let began = Instant::now();
        let mut function = Function::start(program, aws, &[]);
        self.starts.push(began.elapsed());
        let mut invoke = || {
            let began = Instant::now();
            let answer = function.invoke(event);
            assert!(answer.contains(expected), "{answer}");
            began.elapsed()
        };
        self.firsts.push(invoke());
        self.warm.extend((0..events).map(|_| invoke()));
        self.peak_kib = self.peak_kib.max(peak_kib(function.process.id()));
    }

    fn print(self, program: &Path) {
        let size = program.metadata().unwrap().len();
        println!("{}, {size} bytes", program.display());
        println!("  start to first invocation/next  {}", spread(self.starts));
        println!("  first invoke                    {}", spread(self.firsts));
        println!("  warm invoke                     {}", spread(self.warm));
        println!("  peak memory                     {} KiB", self.peak_kib);
    }
}

/// The most memory that the process ever held (`VmHWM`, proc(5)).
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Median and, in brackets, minimum and maximum.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let millis = |place: usize| times[place].as_secs_f64() * 1_000.0;
    format!(
        "{:.2} ms ({:.2} to {:.2})",
        millis(times.len() / 2),
        millis(0),
        millis(times.len() - 1)
    )
}
