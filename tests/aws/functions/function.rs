//! A running function: one execution environment.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::front::Front;
use super::runtime_api::{Reply, RuntimeApi};

/// Secrets of the functions, which no log may show.
const SECRETS: [&str; 2] = ["hunter2hunter2", "session0token0"];

/// As long as an answer may take that nobody holds up.
const TIME: Duration = Duration::from_secs(30);

/// A process, and the API that feeds it.
pub(crate) struct Function {
    process: Mutex<Child>,
    api: RuntimeApi,
    out: Lines,
    err: Lines,
    secrets: Mutex<Vec<String>>,
}

/// What was printed so far.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        Self {
            lines,
            reader: Some(reader),
        }
    }

    fn get(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until the other end is closed.
    fn finish(&mut self) -> Vec<String> {
        let _ = self.reader.take().map(JoinHandle::join);
        self.get()
    }
}

/// The program of `package`: in `HB_BIN_DIR`, or where `cargo build` puts it, and then not older than its sources.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let build = format!("run cargo build -p {package}");
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|value| !value.as_os_str().is_empty())
    };
    let given = set("HB_BIN_DIR");
    // Of a shared target folder this test is in `debug/deps`; its variable may be relative to another folder.
    let shared = || {
        set("CARGO_TARGET_DIR")
            .and_then(|_| Some(std::env::current_exe().ok()?.ancestors().nth(2)?.into()))
    };
    let dir = given
        .clone()
        .or_else(shared)
        .unwrap_or_else(|| "../../target/debug".into());
    let program = dir.join(name);
    assert!(
        program.is_file(),
        "there is no {}: {build}",
        program.display()
    );
    if given.is_none() {
        let changed = |path: &Path| path.metadata().and_then(|about| about.modified()).ok();
        // Its sources, as cargo writes them beside it.
        let sources = std::fs::read_to_string(program.with_extension("d")).unwrap_or_default();
        for source in sources.split_whitespace().skip(1).map(Path::new) {
            let fresh = changed(source) <= changed(&program);
            assert!(
                fresh,
                "{} is older than {}: {build}",
                program.display(),
                source.display()
            );
        }
    }
    program
}

/// The function `name` on the API at `address`, its DynamoDB and SNS at these URLs. Nothing else is in its environment.
fn command(name: &str, address: &str, dynamodb: &str, sns: &str) -> Command {
    let mut command = Command::new(program(name, "hb-lambda"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", address),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", SECRETS[0]),
            ("AWS_SESSION_TOKEN", SECRETS[1]),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_ENDPOINT_URL_SNS", sns),
            ("AWS_ENDPOINT_URL_SQS", dynamodb),
            ("HB_STAGE", "test"),
        ]);
    command
}

/// Some members of a report or of a line of metrics.
pub(crate) fn told<const N: usize>(of: &Value, members: [&str; N]) -> Value {
    members.map(|member| of[member].clone()).to_vec().into()
}

impl Function {
    /// Starts it before the account behind `front`.
    pub(crate) async fn start(name: &str, front: &Front, variables: &[(&str, &str)]) -> Self {
        Self::start_at(name, &front.url, &front.url, variables).await
    }

    /// Starts it with DynamoDB and SNS at these URLs.
    pub(crate) async fn start_at(
        name: &str,
        dynamodb: &str,
        sns: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let api = RuntimeApi::start().await;
        let mut command = command(name, &api.address, dynamodb, sns);
        let mut process = command.envs(variables.iter().copied()).spawn().unwrap();
        let (out, err) = (
            Lines::of(process.stdout.take().unwrap()),
            Lines::of(process.stderr.take().unwrap()),
        );
        let secrets = Mutex::new(SECRETS.map(ToOwned::to_owned).to_vec());
        Self {
            process: Mutex::new(process),
            api,
            out,
            err,
            secrets,
        }
    }

    /// Nothing that the function prints may show this either.
    pub(crate) fn hides(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// What becomes of an event when there is plenty of time.
    pub(crate) async fn invoke(&self, event: &Value) -> Reply {
        self.invoke_for(event, TIME).await
    }

    /// What becomes of an event in an invocation that may take this long.
    pub(crate) async fn invoke_for(&self, event: &Value, time: Duration) -> Reply {
        self.invoke_bytes(serde_json::to_vec(event).unwrap(), time)
            .await
    }

    /// What becomes of an event that need not be JSON.
    pub(crate) async fn invoke_bytes(&self, event: Vec<u8>, time: Duration) -> Reply {
        let death = async {
            while self.process.lock().unwrap().try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            outcome = self.api.invoke(event, time) => outcome,
            () = death => panic!("the function died"),
            () = tokio::time::sleep(TIME * 4) => panic!("the function hangs"),
        }
    }

    /// The metrics printed so far, once there are as many lines as this; each keeps to the format.
    pub(crate) async fn metrics(&self, count: usize) -> Vec<Value> {
        let read = |line: &String| {
            let line = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
            keeps_to_the_format(&line);
            line
        };
        printed(&self.out, count).await.iter().map(read).collect()
    }

    /// The log so far, once there are as many lines as this; each is JSON.
    pub(crate) async fn log(&self, count: usize) -> Vec<Value> {
        let read = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
        };
        printed(&self.err, count).await.iter().map(read).collect()
    }

    /// The time that processors spent on it (fields `utime` and `stime`, in hundredths of a second, proc(5)).
    pub(crate) fn processor(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.lock().unwrap().id());
        let stat = std::fs::read_to_string(path).unwrap();
        let ticks = stat.split(' ').skip(13).take(2);
        Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    }

    /// The most memory it ever held, in KiB (`VmHWM`, proc(5)).
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!(
            "/proc/{}/status",
            self.process.lock().unwrap().id()
        ))
        .unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

/// Waits for lines: the answer to an event may overtake what was printed before.
async fn printed(lines: &Lines, count: usize) -> Vec<String> {
    for _ in 0..200 {
        let lines = lines.get();
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no {count} lines: {:?}", lines.get());
}

/// Each metric and each dimension is a member, metrics are numbers, dimensions text (CloudWatch user guide,
/// "Specification: Embedded metric format").
fn keeps_to_the_format(line: &Value) {
    assert!(line["_aws"]["Timestamp"].is_u64(), "{line}");
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    assert!(!directives.is_empty(), "{line}");
    for directive in directives {
        assert_eq!(directive["Namespace"], "Heartbeat");
        for name in directive["Dimensions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|set| set.as_array().unwrap())
        {
            assert!(line[name.as_str().unwrap()].is_string(), "{name} of {line}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(
                line[metric["Name"].as_str().unwrap()].is_number(),
                "{metric} of {line}"
            );
        }
    }
}

impl Drop for Function {
    /// Ends the process. Then it holds all that it ever printed against the secrets.
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        let _ = process.kill();
        let _ = process.wait();
        let (out, err) = (self.out.finish(), self.err.finish());
        if std::thread::panicking() {
            eprintln!("what the function said:\n{}", err.join("\n"));
            return;
        }
        for line in out.iter().chain(&err) {
            for secret in self.secrets.get_mut().unwrap() {
                assert!(!line.contains(secret.as_str()), "{secret} is in {line}");
            }
        }
    }
}
