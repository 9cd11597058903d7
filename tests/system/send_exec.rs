//! `hb send --exec`: a command runs unchanged, and its result is sent.
#![cfg(unix)]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Answer, Done, SOME_KEY, Sandbox, Scripted, Server, have, skipped};

const OK: &[Answer] = &[(200, &[])];

/// The beats that were sent, but for what says that the command begins.
fn results(service: &Scripted) -> Vec<Value> {
    let mut beats = service.beats();
    beats.retain(|beat| beat["status"] != "start");
    beats
}

/// Runs `sh -c SCRIPT` under `hb send --exec`; returns its result and the only beat with one.
async fn run(script: &str) -> (Done, Value) {
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let done = Done::from(
        with(&sandbox, &service.url, &["sh", "-c", script])
            .output()
            .unwrap(),
    );
    let beats = results(&service);
    assert_eq!(beats.len(), 1, "{beats:?}");
    (done, beats[0].clone())
}

fn with(sandbox: &Sandbox, url: &str, command: &[&str]) -> Command {
    let mut hb = sandbox.send(
        url,
        &[&["--retries", "0", "--exec", "--"], command].concat(),
    );
    hb.env("PATH", std::env::var("PATH").unwrap());
    hb
}

/// The same command with default signal handlers, in case the tests run with ignored signals, as after `&` in a script.
fn with_default_signals(hb: &Command) -> Command {
    let mut command = Command::new("env");
    let set = |(name, value): (&OsStr, Option<&OsStr>)| Some((name.to_owned(), value?.to_owned()));
    command
        .env_clear()
        .envs(hb.get_envs().filter_map(set))
        .stdin(Stdio::null());
    if cfg!(target_os = "linux") {
        command.arg("--default-signal=TERM,INT,HUP");
    }
    command.arg(hb.get_program()).args(hb.get_args());
    command
}

fn message(beat: &Value) -> &str {
    beat["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_comes_first_and_has_the_id_of_the_result() {
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let limits = ["--schedule", "@daily", "--max-run", "2h", "--retries", "0"];
    let command = ["--exec", "--", "sh", "-c", "exit 3"];
    for _ in 0..2 {
        let mut hb = sandbox.send(&service.url, &[&limits[..], &command].concat());
        hb.env("PATH", std::env::var("PATH").unwrap());
        assert_eq!(Done::from(hb.output().unwrap()).code, 3);
    }
    let beats = service.beats();
    let [one, end, other, _] = &beats[..] else {
        panic!("{beats:?}")
    };
    assert_eq!(
        (&one["status"], &end["status"]),
        (&"start".into(), &"fail".into())
    );
    assert_eq!(
        (&one["schedule"], &one["maxRunMs"]),
        (&"@daily".into(), &7_200_000.into())
    );
    assert!(one["rid"].is_string() && one["rid"] == end["rid"] && one["rid"] != other["rid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_delays_no_command_for_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sandbox = Sandbox::new();
    let mut hb = sandbox.send(
        &url,
        &["--timeout", "1s", "--retries", "0", "--exec", "--", "true"],
    );
    hb.env("PATH", std::env::var("PATH").unwrap());
    let done = Done::from(hb.output().unwrap());
    assert_eq!(done.code, 0, "whatever becomes of the beats");
    assert!(done.stderr.contains("not delivered"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successful_job_sends_ok() {
    let (done, beat) = run("echo out; echo err >&2").await;
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "out\n", "err\n")
    );
    assert_eq!(
        (&beat["hostId"], &beat["status"], &beat["message"]),
        (&"web-01".into(), &"ok".into(), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_sends_its_exit_code_and_output() {
    let (done, beat) = run("echo out; echo 'disk \u{1b}[31mfull\u{1b}[0m' >&2; exit 3").await;
    assert_eq!((done.code, done.stdout.as_str()), (3, "out\n"));
    assert_eq!(
        done.stderr, "disk \u{1b}[31mfull\u{1b}[0m\n",
        "passed on as it is"
    );
    assert_eq!(beat["status"], "fail");
    let message = message(&beat);
    assert!(
        message.starts_with("exit 3 after ") && message.contains(" s: "),
        "{message}"
    );
    assert!(
        message.contains("out") && message.contains("disk full"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_and_stderr_to_one_file_keep_their_order() {
    if !have(&["sh"]) {
        return;
    }
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done; exit 1";
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut hb = with(&sandbox, &service.url, &["sh", "-c", script]);
    let mut running = hb
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .spawn()
        .unwrap();
    // It holds the writing ends.
    drop(hb);
    let mut both = String::new();
    reader.read_to_string(&mut both).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(1));
    let expected: Vec<_> = (1..=9)
        .flat_map(|i| [format!("out {i}"), format!("err {i}")])
        .collect();
    assert_eq!(both.lines().collect::<Vec<_>>(), expected);
    let (last, earlier) = expected.split_last().unwrap();
    let said = format!("s: {last}\n{}", earlier.join("\n"));
    assert!(message(&results(&service)[0]).ends_with(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_output_passes_unchanged_and_the_message_is_bounded() {
    let script = r#"i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; printf '\377\000\033[2J"\\ende'; exit 1"#;
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let output = with(&sandbox, &service.url, &["sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(1), 208_890 + 12)
    );
    assert!(output.stdout.ends_with(b"\xff\x00\x1b[2J\"\\ende"));
    let beat = &results(&service)[0];
    let message = message(beat);
    assert!(
        message.len() <= 1024
            && message.contains("\"\\ende\n...")
            && message.ends_with("line 19998\nline 19999"),
        "{message}"
    );
    assert!(beat.to_string().len() < 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn hb_serve_stores_the_result_of_a_job() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let mut hb = with(
        &sandbox,
        &server.url,
        &["sh", "-c", "echo no space left; exit 7"],
    );
    hb.env("HB_API_KEY", server.first_key());
    assert_eq!(hb.output().unwrap().status.code(), Some(7));
    let shown = crate::support::eventually("the transition", async || {
        let shown = sandbox.json(&["host", "show", "web-01"]);
        shown["transitions"]
            .as_array()
            .unwrap()
            .last()
            .filter(|last| last["kind"] == "failing")
            .cloned()
    })
    .await;
    let message = message(&shown);
    assert!(
        message.starts_with("exit 7 after ") && message.ends_with(": no space left"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_run_sends_fail() {
    let sandbox = Sandbox::new();
    for (program, code, cause) in [
        ("no-such-program", 127, "No such file"),
        ("/etc/passwd", 126, "Permission denied"),
    ] {
        let service = Scripted::answering(OK).await;
        let done = Done::from(
            with(&sandbox, &service.url, &[program, "s3cr3t argument"])
                .output()
                .unwrap(),
        );
        assert_eq!(done.code, code, "{}", done.stderr);
        assert!(
            done.stderr
                .starts_with(&format!("hb: {program} cannot be run: {cause}")),
            "{}",
            done.stderr
        );
        let beat = &results(&service)[0];
        assert!(
            beat["status"] == "fail"
                && message(beat).contains(cause)
                && !message(beat).contains("s3cr3t")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelivered_beat_does_not_change_the_exit_code() {
    let sandbox = Sandbox::new();
    let refusing = Scripted::answering(&[(401, &[])]).await;
    for (url, key, cause) in [
        (
            refusing.url.as_str(),
            Some(SOME_KEY),
            "hb: the server refused the beat with 401",
        ),
        (refusing.url.as_str(), None, "hb: there is no API key"),
        (
            refusing.url.as_str(),
            Some("hbk_typo"),
            "hb: HB_API_KEY or the key file",
        ),
        ("no url", Some(SOME_KEY), "hb: --url"),
        (
            "http://127.0.0.1:9",
            Some(SOME_KEY),
            "hb: the beat was not delivered",
        ),
    ] {
        for code in [0, 5] {
            let mut hb = with(
                &sandbox,
                url,
                &["sh", "-c", &format!("echo out; exit {code}")],
            );
            hb.env_remove("HB_API_KEY")
                .envs(key.map(|key| ("HB_API_KEY", key)));
            let done = Done::from(hb.output().unwrap());
            assert_eq!(
                (done.code, done.stdout.as_str()),
                (code, "out\n"),
                "{}",
                done.stderr
            );
            assert!(done.stderr.contains(cause), "{}", done.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_forwarded_to_the_command() {
    let script =
        "trap 'echo got it; exit 42' TERM INT HUP; echo ready; while :; do sleep 0.05; done";
    for signal in ["TERM", "INT", "HUP"] {
        let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
        let mut hb = with_default_signals(&with(&sandbox, &service.url, &["sh", "-c", script]));
        // A process group of its own, so that no terminal signals the command as well.
        let mut hb = hb.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(hb.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let killed = Command::new("kill")
            .args(["-s", signal, &hb.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        out.read_to_string(&mut line).unwrap();
        assert_eq!(
            (hb.wait().unwrap().code(), line.as_str()),
            (Some(42), "ready\ngot it\n"),
            "{signal}"
        );
        assert!(message(&results(&service)[0]).starts_with("exit 42 after "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_command_exits_with_128_plus_the_signal() {
    let (done, beat) = run("kill -9 $$").await;
    assert_eq!(done.code, 137);
    assert!(
        message(&beat).starts_with("killed by signal 9 (SIGKILL) after "),
        "{beat}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_left_behind_are_not_waited_for() {
    // Both hold the pipe; one of them keeps writing.
    for left in ["sleep 5 &", "(while echo busy; do sleep 0.01; done) &"] {
        let (done, beat) = run(&format!("{left} echo done; exit 9")).await;
        assert_eq!(done.code, 9);
        assert!(
            done.stdout.contains("done\n") && beat["status"] == "fail",
            "{done:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_ends_the_command_with_sigpipe() {
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let mut hb = with(
        &sandbox,
        &service.url,
        &["sh", "-c", "while echo line; do :; done"],
    );
    let mut hb = hb
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(hb.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "line\n");
    assert!(hb.wait().unwrap().code().is_some_and(|code| code != 0));
    assert_eq!(results(&service)[0]["status"], "fail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_end_the_job() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
        skipped("there is no /dev/full");
        return;
    };
    let (sandbox, service) = (Sandbox::new(), Scripted::answering(OK).await);
    let script = "for i in 1 2 3; do echo line $i; sleep 0.1; done; exit 3";
    let mut hb = with(&sandbox, &service.url, &["sh", "-c", script]);
    let done = hb
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(done.status.code(), Some(3));
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert!(
        stderr.starts_with("hb: the command's output is lost") && stderr.lines().count() == 1,
        "{stderr}"
    );
    assert!(message(&results(&service)[0]).ends_with("s: line 3\nline 1\nline 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_neither_the_process_title_nor_the_command_s_environment_nor_a_message() {
    let script = format!(
        "tr '\\0' ' ' </proc/$PPID/cmdline; echo; echo \"key $HB_API_KEY\" {SOME_KEY}; exit 1"
    );
    let (done, beat) = run(&script).await;
    let title = done.stdout.lines().next().unwrap();
    assert!(
        title.contains(" send web-01 ") || !std::path::Path::new("/proc/self/cmdline").exists(),
        "{title}"
    );
    let options = title.split(" -- ").next().unwrap();
    assert!(!options.contains("hbk_"), "{title}");
    assert!(
        message(&beat).contains("s: key  ***\n") && !beat.to_string().contains("hbk_"),
        "{beat}"
    );
}

#[test]
fn exec_needs_a_command_and_conflicts_with_status_and_message() {
    let sandbox = Sandbox::new();
    for args in [
        &["--exec"][..],
        &["--", "true"],
        &["--exec", "--status", "ok", "--", "true"],
    ] {
        let done = Done::from(sandbox.send("http://127.0.0.1:9", args).output().unwrap());
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
    }
}
