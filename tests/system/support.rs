//! Shared by the tests: a sandbox to run `hb` in, a running server, and receivers of notices.

mod crowd;
mod mailbox;
mod scripted;
mod server;
mod webhook;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub(crate) use crowd::{PULSE, beat_all, keep_heard, patient, pulse};
pub(crate) use mailbox::Mailbox;
pub(crate) use scripted::{Answer, HTML, Scripted};
pub(crate) use server::{Server, client};
pub(crate) use webhook::{Received, Webhook};

/// The limit for what the service does in the background.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// An API key that is well-formed and that no service knows.
pub(crate) const SOME_KEY: &str =
    "hbk_a4dqobyha4_fivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivcukrkfivajrcfnci";

/// Takes what is newer than version 5 out of a database, as an earlier build left it.
pub(crate) const TO_VERSION_5: &str = "
    DROP TABLE fleets; DROP TABLE audit;
    ALTER TABLE subscriptions DROP COLUMN webhook;
    DROP TRIGGER hosts_new; DROP TRIGGER hosts_gone; DROP TRIGGER hosts_moved;
    ALTER TABLE heartbeats DROP COLUMN key; ALTER TABLE heartbeats DROP COLUMN first_interval;
    ALTER TABLE heartbeats DROP COLUMN address; ALTER TABLE heartbeats DROP COLUMN grace;
    ALTER TABLE heartbeats DROP COLUMN run_id; ALTER TABLE heartbeats DROP COLUMN run;
    ALTER TABLE heartbeats DROP COLUMN run_limit; ALTER TABLE heartbeats DROP COLUMN run_of; ALTER TABLE heartbeats DROP COLUMN run_took;
    ALTER TABLE heartbeats DROP COLUMN logged; ALTER TABLE heartbeats DROP COLUMN log;
    ALTER TABLE keys DROP COLUMN max_hosts; ALTER TABLE keys DROP COLUMN max_interval;
    ALTER TABLE keys DROP COLUMN hosts;
    PRAGMA user_version = 5;";

/// An own folder, and `hb` in it with an empty environment.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With an empty database, for commands that need one and no server.
    pub(crate) fn with_database() -> Self {
        let sandbox = Self::new();
        let done = sandbox.run(&["migrate"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        sandbox
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// `hb ARGS` on this place's data folder.
    pub(crate) fn hb(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hb"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("HB_DATA_DIR", self.path().join("data"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs `hb ARGS` to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        Done::from(self.hb(args).output().unwrap())
    }

    /// Runs `hb ARGS --output json`, which must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let done = self.run(&[args, &["--output", "json"]].concat());
        assert_eq!(done.code, 0, "hb {args:?}: {}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// `hb send HOST ARGS` to `url`, with a key that is well-formed.
    pub(crate) fn send(&self, url: &str, args: &[&str]) -> Command {
        let mut command = self.hb(&[&["send", "web-01", "--url", url], args].concat());
        command.env("HB_API_KEY", SOME_KEY);
        command
    }

    /// Lets notices of fleet `main` leave with the sweep that decides them.
    pub(crate) fn send_at_once(&self) {
        let done = self.run(&[
            "fleet",
            "set",
            "main",
            "--group-wait",
            "0s",
            "--group-interval",
            "0s",
        ]);
        assert_eq!(done.code, 0, "{}", done.stderr);
    }

    /// A key for the fleet `main`, with further options.
    pub(crate) fn key(&self, options: &[&str]) -> String {
        let key = self.json(&[&["key", "create", "test"], options].concat());
        key["key"].as_str().unwrap().to_owned()
    }

    /// The keys that are listed, without that of the server's own beats.
    pub(crate) fn keys(&self) -> Vec<serde_json::Value> {
        let keys = self.json(&["key", "list"]);
        keys.as_array()
            .unwrap()
            .iter()
            .filter(|key| key["scope"] != "canary")
            .cloned()
            .collect()
    }

    /// The names of the hosts that are listed.
    pub(crate) fn hosts(&self) -> BTreeSet<String> {
        let hosts = self.json(&["host", "list"]);
        let hosts = hosts.as_array().unwrap().iter();
        hosts
            .map(|host| host["hostId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The hosts of all accepted notices of `kind`, in order of acceptance; those of digests as well.
    pub(crate) fn notified(&self, kind: &str) -> Vec<String> {
        let sql = "SELECT ifnull(notice ->> 'host' ->> 'hostId', member.value ->> 0) FROM notices
            LEFT JOIN json_each(notice, '$.members') AS member WHERE notice ->> 'kind' = ?1
            ORDER BY accepted, notices.rowid";
        let database = self.database();
        let mut query = database.prepare(sql).unwrap();
        query
            .query_map([kind], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// The database, as another program sees it.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.path().join("data/heartbeat.db")).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Polls until `found` gives something, at most [`SOON`].
pub(crate) async fn eventually<T>(what: &str, found: impl AsyncFnMut() -> Option<T>) -> T {
    within(SOON, what, found).await
}

/// Polls until `found` gives something, at most for `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    mut found: impl AsyncFnMut() -> Option<T>,
) -> T {
    let poll = async {
        loop {
            match found().await {
                Some(value) => return value,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(limit, poll)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// For measurements that a test prints and does not assert.
#[expect(clippy::disallowed_methods, reason = "a stopwatch")]
pub(crate) fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

/// Whether the programs that a test needs are installed. If not, prints that the test is skipped; CI has them all.
pub(crate) fn have(programs: &[&str]) -> bool {
    let found = |program: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    };
    let missing: Vec<_> = programs.iter().filter(|program| !found(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must not skip this test: {missing:?} are not installed"
    );
    skipped(&format!("{missing:?} are not installed"));
    false
}

/// Prints that a test did not run.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current();
    say(&format!(
        "SKIPPED {}: {why}",
        test.name().unwrap_or("a test")
    ));
}

/// Prints past the test runner, which captures the output of passing tests.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
