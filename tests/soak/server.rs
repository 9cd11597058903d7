//! The server, its output and its memory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// Of the file system that a server has for itself.
pub(crate) const DISK_BYTES: usize = 128 << 20;

/// The file that libfaketime reads.
const CLOCK: &str = "clock";

pub(crate) struct Server {
    hb: String,
    process: Child,
    dir: tempfile::TempDir,
    /// Holds the data, and is mounted.
    disk: Option<PathBuf>,
    pub(crate) port: u16,
    pub(crate) key: String,
    reads: Arc<AtomicBool>,
    missing: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

impl Server {
    /// With a clock and a disk of its own when libfaketime is given.
    pub(crate) async fn start(hb: &str, faketime: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let disk = faketime.map(|_| mount(&data));
        let log = dir.path().join("log");
        let mut serve = command(
            hb,
            dir.path(),
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--output",
                "json",
                "--rate-limit",
                "none",
            ],
        );
        if let Some(library) = faketime {
            std::fs::write(dir.path().join(CLOCK), "+0").unwrap();
            serve
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", dir.path().join(CLOCK))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut process = serve
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (reads, missing) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let output = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn({
            let (reads, missing) = (reads.clone(), Arc::clone(&missing));
            move || read(output, &reads, &missing)
        });
        let port = loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let text = std::fs::read_to_string(&log).unwrap();
            let address = text
                .lines()
                .find_map(|line| line.strip_prefix("listening on http://"));
            if let Some(address) = address {
                break address.rsplit(':').next().unwrap().parse().unwrap();
            }
        };
        // What is judged is when a silence is decided.
        let at_once = "fleet set main --group-wait 0s --group-interval 0s --output json";
        json(command(
            hb,
            dir.path(),
            &at_once.split(' ').collect::<Vec<_>>(),
        ));
        let created = ["key", "create", "soak", "--output", "json"];
        let key = json(command(hb, dir.path(), &created));
        Self {
            hb: hb.to_owned(),
            process,
            dir,
            disk,
            port,
            key: key["key"].as_str().unwrap().to_owned(),
            reads,
            missing,
        }
    }

    /// Makes `count` keys.
    pub(crate) fn create_keys(&self, count: usize) -> Vec<String> {
        let file = self.dir.path().join("keys.csv");
        let rows: Vec<_> = (0..count).map(|n| format!("till-{n}")).collect();
        std::fs::write(&file, format!("name\n{}", rows.join("\n"))).unwrap();
        let arguments = ["key", "import", "--output", "json", file.to_str().unwrap()];
        let created = json(command(&self.hb, self.dir.path(), &arguments));
        let keys = created.as_array().unwrap().iter();
        keys.map(|key| key["key"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// How many seconds ahead of the machine.
    pub(crate) fn set_clock(&self, seconds: u32) {
        std::fs::write(self.dir.path().join(CLOCK), format!("+{seconds}")).unwrap();
    }

    pub(crate) fn read_output(&self, reads: bool) {
        self.reads.store(reads, Ordering::Relaxed);
    }

    /// The most that it ever had.
    pub(crate) fn memory_mb(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
            .sum()
    }

    /// Hosts that were announced without a caveat, and when that was read.
    pub(crate) fn missing(&self) -> Vec<(String, Timestamp)> {
        self.missing.lock().unwrap().clone()
    }

    pub(crate) fn stop(&mut self) -> bool {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let stopped = self.process.wait().unwrap().success();
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        log.lines().for_each(|line| println!("    {line}"));
        stopped
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(disk) = &self.disk {
            let _ = Command::new("umount").arg(disk).status();
        }
    }
}

fn command(hb: &str, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(hb);
    command
        .args(arguments)
        .env_clear()
        .env("HOME", dir)
        .env("HB_DATA_DIR", dir.join("data"));
    command
}

fn json(mut command: Command) -> Value {
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

/// A small file system in memory at `data`, private as a folder of data is.
fn mount(data: &Path) -> PathBuf {
    std::fs::create_dir(data).unwrap();
    let options = format!("size={DISK_BYTES},mode=700");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "soak"])
        .arg(data)
        .status();
    assert!(mounted.unwrap().success(), "mount needs root");
    data.to_owned()
}

fn read(
    output: BufReader<std::process::ChildStdout>,
    reads: &AtomicBool,
    missing: &Mutex<Vec<(String, Timestamp)>>,
) {
    for line in output.lines().map_while(Result::ok) {
        while !reads.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let Ok(notice) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if notice["kind"] != "missing" || !notice["caveat"].is_null() {
            continue;
        }
        let hosts = notice["hosts"].as_array().into_iter().flatten();
        let names = hosts.filter_map(|host| host["hostId"].as_str());
        for name in names {
            missing
                .lock()
                .unwrap()
                .push((name.to_owned(), Timestamp::now()));
        }
    }
}
