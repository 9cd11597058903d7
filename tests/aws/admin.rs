//! The binary `hb` on a deployed stage: the same commands as on an embedded database, a region that does not answer, and
//! what goes wrong before anything is asked.

mod audit;
#[path = "../shared/admin.rs"]
mod commands;
#[path = "../shared/pages.rs"]
mod pages;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use commands::{Ended, Service};
use hb_aws::{Clients, DynamoHeartbeats, Stage, create_stage, https};
use hb_domain::{Beat, Heartbeat, HostKey, Interval, Region};
use hb_service::ports::{Clock, Heard, Heartbeats};
use hb_service::system::SystemClock;
use serde_json::Value;

use crate::functions::program;

/// A stage on moto.
struct Deployed {
    url: String,
    stage: Stage,
    clients: Clients,
    runtime: tokio::runtime::Runtime,
}

impl Deployed {
    fn new(name: &str) -> Option<Self> {
        let url = crate::moto::server()?;
        let made = Self::found(url, &format!("{name}-{}", std::process::id()));
        let creation = create_stage(&made.clients, &made.stage);
        made.runtime.block_on(creation).unwrap();
        Some(made)
    }

    /// A stage that is there.
    fn found(url: &str, name: &str) -> Self {
        let config = crate::dynoxide::config(url).http_client(https()).build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            url: url.to_owned(),
            stage: Stage::parse(name).unwrap(),
            clients: Clients::new(&config),
            runtime,
        }
    }

    /// `hb ARGS` on this stage, with nothing else in its environment.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("hb", "hb-cli"));
        command
            .args(args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs(self.variables());
        command
    }

    fn variables(&self) -> [(&str, &str); 6] {
        [
            ("HB_STAGE", self.stage.as_str()),
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }
}

fn run(mut command: Command, stdin: &str) -> Ended {
    let mut hb = command.spawn().unwrap();
    // Not every command reads it.
    let _ = hb.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = hb.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

impl Service for Deployed {
    fn hb(&self, args: &[&str], stdin: &str) -> Ended {
        let ended = run(self.command(args), stdin);
        assert!(
            !ended.stderr.contains("hunter2") && !ended.stdout.contains("hunter2"),
            "{ended:?}"
        );
        ended
    }

    fn beat(&self, fleet: &str, host: &str) {
        let at = SystemClock.now();
        let interval = Interval::try_from(Duration::from_mins(10)).unwrap();
        let heartbeat = Heartbeat::new(Beat {
            interval,
            ..Beat::ok(at)
        });
        let key = HostKey::new(fleet.parse().unwrap(), host.parse().unwrap());
        let region = "eu-west-1".parse::<Region>().unwrap();
        let heartbeats = DynamoHeartbeats::new(&self.clients, &self.stage);
        self.runtime
            .block_on(heartbeats.record(&Heard {
                key,
                region,
                heartbeat,
            }))
            .unwrap();
    }
}

#[test]
fn the_commands_of_an_admin_end_as_they_do_on_one_machine() {
    let Some(stage) = Deployed::new("admin") else {
        return;
    };
    commands::run(&stage);
}

/// A stage on a server that waits until a webhook confirms, as AWS does; moto does not.
struct Unconfirmed(Deployed);

impl Service for Unconfirmed {
    fn hb(&self, args: &[&str], stdin: &str) -> Ended {
        let mut ended = self.0.hb(args, stdin);
        ended.stdout = ended.stdout.replace(r#""pending""#, r#""confirmed""#);
        ended
    }

    fn beat(&self, fleet: &str, host: &str) {
        self.0.beat(fleet, host);
    }
}

#[test]
#[ignore = "needs a new stage dev on the server HB_DEPLOYED: tests/deploy makes one"]
fn the_commands_of_an_admin_end_so_on_a_deployed_stage() {
    let url = std::env::var("HB_DEPLOYED").expect("HB_DEPLOYED is the URL of a server");
    commands::run(&Unconfirmed(Deployed::found(&url, "dev")));
}

/// AWS behind a line that may be cut for one region. Moto tells regions apart by what a request was signed for.
struct Line {
    url: String,
    cut: Arc<AtomicBool>,
}

impl Line {
    fn new(behind: &str, region: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cut, behind) = (
            Arc::new(AtomicBool::new(false)),
            behind.strip_prefix("http://").unwrap().to_owned(),
        );
        let is_cut = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (is_cut, behind) = (is_cut.clone(), behind.clone());
                // A client that hangs up is no matter.
                std::thread::spawn(move || {
                    let cut = |head: &str| {
                        is_cut.load(Ordering::SeqCst) && head.contains(&format!("/{region}/"))
                    };
                    pass(&client, &behind, cut)
                });
            }
        });
        Self { url, cut }
    }
}

/// Passes one request on, and its answer back, unless the line is cut for it.
fn pass(client: &TcpStream, behind: &str, cut: impl Fn(&str) -> bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    if cut(&head) {
        return Ok(());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut server = TcpStream::connect(behind)?;
    server.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut &*client)?;
    Ok(())
}

#[test]
fn doctor_looks_at_a_stage_region_by_region() {
    let Some(stage) = Deployed::new("doctor") else {
        return;
    };
    let verdicts = |args: &[&str]| {
        let ended = run(
            stage.command(&[&["doctor", "--output", "json"], args].concat()),
            "",
        );
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        let findings = said["findings"].as_array().unwrap().clone();
        let name = |finding: &Value| {
            ["thing", "verdict"].map(|part| finding[part].as_str().unwrap().to_owned())
        };
        (
            ended.code,
            findings
                .iter()
                .map(name)
                .map(|[thing, verdict]| (thing, verdict))
                .collect::<BTreeMap<_, _>>(),
        )
    };
    // All is there, but nothing has run yet.
    let (code, found) = verdicts(&[]);
    let is = |thing: &str, verdict: &str| found.get(thing).is_some_and(|found| found == verdict);
    assert!(
        code == 1 && is("sweep", "problem") && is("canaries", "problem"),
        "{found:?}"
    );
    assert!(
        is("keys", "problem") && is("subscriptions", "warning") && is("notices", "ok"),
        "{found:?}"
    );
    assert!(
        is(&format!("topic hb-{}-notices", stage.stage.as_str()), "ok"),
        "{found:?}"
    );
    assert!(!found.contains_key("server"), "{found:?}");
    // The other region has nothing of it.
    let (code, found) = verdicts(&REGIONS);
    let ledger = |region: &str| {
        found
            .get(&format!(
                "{region} table hb-{}-ledger",
                stage.stage.as_str()
            ))
            .cloned()
    };
    assert_eq!(
        (
            code,
            ledger("eu-west-1").as_deref(),
            ledger("us-east-1").as_deref()
        ),
        (1, Some("ok"), Some("problem"))
    );
}

const REGIONS: [&str; 4] = ["--region", "eu-west-1", "--region", "us-east-1"];

#[test]
fn of_two_regions_one_may_be_down_and_all_can_be_done_again() {
    let Some(stage) = Deployed::new("two") else {
        return;
    };
    let config =
        crate::dynoxide::config(&stage.url).region(aws_types::region::Region::new("us-east-1"));
    let other = Clients::new(&config.http_client(https()).build());
    stage
        .runtime
        .block_on(create_stage(&other, &stage.stage))
        .unwrap();
    let line = Line::new(&stage.url, "us-east-1");
    let hb = |args: &[&str]| {
        let mut command = stage.command(&[args, &REGIONS].concat());
        command.env("AWS_ENDPOINT_URL", &line.url);
        run(command, "")
    };
    let add = ["subscription", "add", "https", "https://example.com/hook"];
    line.cut.store(true, Ordering::SeqCst);
    let half = hb(&add);
    let id = half.stdout.trim().to_owned();
    let said: Vec<_> = half.stderr.lines().collect();
    assert_eq!((half.code, said[0]), (7, "eu-west-1: added"), "{half:?}");
    assert!(
        said[1].starts_with("us-east-1: FAILED: table hb-two-"),
        "{half:?}"
    );
    assert_eq!(said[2], "hb: partly done: 1 of 2 regions failed");
    let listed = hb(&["subscription", "list", "--output", "json"]);
    assert!(
        listed.code == 7
            && listed
                .stdout
                .contains(r#""regions":{"eu-west-1":"confirmed"}"#),
        "{listed:?}"
    );

    line.cut.store(false, Ordering::SeqCst);
    let whole = hb(&add);
    assert_eq!(
        (whole.code, whole.stdout.trim()),
        (0, id.as_str()),
        "{whole:?}"
    );
    assert_eq!(
        whole.stderr,
        "eu-west-1: already subscribed\nus-east-1: added\n"
    );
    let listed = hb(&["subscription", "list", "--output", "json"]);
    let both = r#""regions":{"eu-west-1":"confirmed","us-east-1":"confirmed"}"#;
    assert!(
        listed.code == 0 && listed.stdout.contains(both),
        "{listed:?}"
    );

    line.cut.store(true, Ordering::SeqCst);
    let half = hb(&["subscription", "remove", &id]);
    assert!(
        half.code == 7
            && half
                .stderr
                .starts_with("eu-west-1: removed\nus-east-1: FAILED: "),
        "{half:?}"
    );
    line.cut.store(false, Ordering::SeqCst);
    let whole = hb(&["subscription", "remove", &id]);
    assert_eq!(
        (whole.code, whole.stderr.as_str()),
        (0, "eu-west-1: was not there\nus-east-1: removed\n")
    );
    assert_eq!(hb(&["subscription", "remove", &id]).code, 1);
}

#[test]
fn what_is_wrong_with_the_way_to_a_stage_is_one_line_with_its_cause() {
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a str);
    let Some(stage) = Deployed::new("wrong") else {
        return;
    };
    let key = ["key", "list"];
    let add = [
        "subscription",
        "add",
        "https",
        "https://example.com/hook",
        "--region",
        "eu-west-1",
        "--region",
        "us-west-2",
    ];
    let cases: [Case; 8] = [
        (
            &key,
            &[("HB_STAGE", "Dev")],
            2,
            r#""Dev" is not a stage: write 1 to 24 characters of a-z, 0-9 and -, such as dev"#,
        ),
        (
            &key,
            &[("AWS_REGION", "")],
            2,
            "the region is not known: set AWS_REGION, or name one in the profile",
        ),
        (
            &key,
            &[("HB_DATA_DIR", "/tmp")],
            2,
            "HB_DATA_DIR and HB_STAGE are both set, and name two services",
        ),
        (
            &["serve"],
            &[],
            2,
            "hb serve works on one machine, not on a stage",
        ),
        (
            &key,
            &[("HB_STAGE", "nowhere")],
            3,
            "table hb-nowhere-keys does not exist in this account and region: deploy the stage",
        ),
        (
            &key,
            &[("AWS_ACCESS_KEY_ID", ""), ("HOME", "/nonexistent")],
            3,
            "the credentials could not be loaded",
        ),
        (
            &key,
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")],
            3,
            "no answer to Scan",
        ),
        // A region without a topic; what the other one has is said.
        (&add, &[], 7, "us-west-2: FAILED: table hb-wrong-"),
    ];
    for (args, variables, code, cause) in cases {
        let mut command = stage.command(args);
        command.envs(variables.iter().copied());
        let ended = run(command, "");
        assert_eq!(ended.code, code, "{args:?} {variables:?}: {ended:?}");
        assert!(
            ended.stderr.contains(cause),
            "{args:?} {variables:?}: {ended:?}"
        );
        assert!(
            ended.stderr.lines().count() <= 4 && !ended.stderr.contains("panicked"),
            "{ended:?}"
        );
    }
    let list = ["key", "list", "--output", "json"];
    assert_eq!(
        run(stage.command(&list), "").stdout,
        "[]\n",
        "nothing was changed"
    );
}

#[test]
fn the_commands_of_the_admins_pages_work_on_a_stage() {
    for (i, page) in pages::ADMIN.into_iter().enumerate() {
        let Some(stage) = Deployed::new(&format!("page{i}")) else {
            return;
        };
        stage.beat("main", "web-01");
        let folder = std::env::temp_dir().join(format!("hb-{}-{page}", stage.stage));
        std::fs::create_dir_all(&folder).unwrap();
        let hb = program("hb", "hb-cli");
        let path = format!(
            "{}:{}",
            hb.canonicalize().unwrap().parent().unwrap().display(),
            env!("PATH")
        );
        for block in pages::blocks(page) {
            let mut shell = Command::new("sh");
            shell.args(["-ec", &block]).current_dir(&folder).env_clear();
            shell
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            shell.env("PATH", &path).envs(stage.variables());
            let ended = run(shell, "");
            assert_eq!(ended.code, 0, "{page}: {block}\n{ended:?}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
