//! A running `hb serve`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Sandbox, eventually, say};

pub(crate) struct Server {
    process: Child,
    out: Lines,
    err: Lines,
    unread: Arc<AtomicBool>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
}

/// What was printed so far.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Reads on in a thread of its own until the other end is closed.
    fn of(stream: impl Read + Send + 'static, unread: &Arc<AtomicBool>) -> Self {
        let unread = unread.clone();
        let lines = Self::default();
        let sink = lines.0.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
                while unread.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        lines
    }

    fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A client without a pool: a connection to a server that was killed must not be used again.
pub(crate) fn client() -> reqwest::Client {
    // All tests share the process; the first one installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

impl Server {
    /// Starts on a free port and waits until it is ready. One that sweeps more often than usual is of a test that waits for
    /// notices: those of fleet `main` leave at once.
    pub(crate) async fn start(sandbox: &Sandbox, options: &[&str]) -> Self {
        let serve = sandbox.hb(&[&["serve", "--listen", "127.0.0.1:0"], options].concat());
        let server = Self::start_by(serve).await;
        if options.contains(&"--sweep-every") {
            sandbox.send_at_once();
        }
        server
    }

    /// Starts with a command of one's own.
    pub(crate) async fn start_by(command: Command) -> Self {
        let mut server = Self::spawn(command);
        server.listening().await;
        server
    }

    /// Starts and waits for nothing.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let unread = Arc::default();
        let (out, err) = (
            Lines::of(process.stdout.take().unwrap(), &unread),
            Lines::of(process.stderr.take().unwrap(), &unread),
        );
        Self {
            process,
            out,
            err,
            unread,
            url: String::new(),
            client: client(),
        }
    }

    /// Waits until it is ready, and knows its address.
    pub(crate) async fn listening(&mut self) {
        self.url = eventually("listening", async || {
            let ended = self.process.try_wait().unwrap();
            assert_eq!(
                ended,
                None,
                "the server ended: {}",
                self.err.get().join("\n")
            );
            self.err
                .get()
                .iter()
                .find_map(|line| line.strip_prefix("listening on ").map(ToOwned::to_owned))
        })
        .await;
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.out.get()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.err.get()
    }

    /// Whether its outputs are read from now on.
    pub(crate) fn read(&self, read: bool) {
        self.unread.store(!read, Ordering::Relaxed);
    }

    /// The file with the first key, if this start made it.
    pub(crate) fn first_key_file(&self) -> Option<PathBuf> {
        let lines = self.out.get();
        let path = lines.iter().map(|line| PathBuf::from(line.trim()));
        path.into_iter().find(|path| path.ends_with("first.key"))
    }

    /// The first key. Its file was printed on the other stream than that it listens, and so is perhaps read later.
    pub(crate) fn first_key(&self) -> String {
        for _ in 0..1_000 {
            if let Some(file) = self.first_key_file() {
                let header = std::fs::read_to_string(file).unwrap();
                return header
                    .trim()
                    .strip_prefix("x-api-key: ")
                    .unwrap()
                    .to_owned();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no key was made: {:?}", self.out.get());
    }

    /// Sends a JSON beat; gives the status.
    pub(crate) async fn beat(&self, key: &str, body: &str) -> reqwest::Result<u16> {
        let request = self.client.post(format!("{}/v1/heartbeat", self.url));
        Ok(request
            .header("x-api-key", key)
            .body(body.to_owned())
            .send()
            .await?
            .status()
            .as_u16())
    }

    /// The status of `/v1/status`.
    pub(crate) async fn status(&self) -> reqwest::Response {
        self.client
            .get(format!("{}/v1/status", self.url))
            .send()
            .await
            .unwrap()
    }

    /// SIGKILL: no warning, no last words.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The exit code, once the process has ended.
    pub(crate) async fn ended(mut self) -> i32 {
        let status = eventually("the end of the server", async || {
            self.process.try_wait().unwrap()
        })
        .await;
        status.code().unwrap_or(-1)
    }

    /// SIGTERM, the exit code, and what was logged.
    pub(crate) async fn stop(self) -> (i32, Vec<String>) {
        let killed = Command::new("kill")
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        let log = self.err.clone();
        (self.ended().await, log.get())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            say(&format!(
                "what the server said:\n{}",
                self.err.get().join("\n")
            ));
        }
    }
}
