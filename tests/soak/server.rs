//! The server, its output and its memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

pub(crate) struct Server {
    process: Child,
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    pub(crate) key: String,
    reads: Arc<AtomicBool>,
    missing: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

impl Server {
    pub(crate) async fn start(hb: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let log = dir.path().join("log");
        let command = |arguments: &[&str]| {
            let mut command = Command::new(hb);
            command
                .args(arguments)
                .env_clear()
                .env("HOME", dir.path())
                .env("HB_DATA_DIR", &data);
            command
        };
        let mut process = command(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--output",
            "json",
            "--rate-limit",
            "none",
        ])
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
        let key = command(&["key", "create", "soak", "--output", "json"])
            .output()
            .unwrap();
        let key: Value = serde_json::from_slice(&key.stdout).unwrap();
        Self {
            process,
            dir,
            port,
            key: key["key"].as_str().unwrap().to_owned(),
            reads,
            missing,
        }
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

    /// Hosts that were announced without a caveat, and when.
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
    }
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
        let at = notice["at"].as_str().unwrap().parse().unwrap();
        let hosts = notice["hosts"].as_array().into_iter().flatten();
        let names = hosts.filter_map(|host| host["hostId"].as_str());
        for name in names {
            missing.lock().unwrap().push((name.to_owned(), at));
        }
    }
}
