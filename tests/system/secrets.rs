//! No secret reaches a log or another user, and no foreign text commands a terminal.

use std::process::Command;

use crate::support::{Done, Sandbox, Scripted, Server, Webhook, eventually, have};

#[tokio::test]
async fn no_secret_is_logged_or_stored() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let mut command = sandbox.hb(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--sweep-every",
        "1s",
        "--smtp-from",
        "hb@example.com",
    ]);
    // Port 9 is closed: the failure of the mail is logged, without the password.
    command
        .env("HB_LOG", "trace")
        .env("HB_SMTP_URL", "smtp://user:hunter2hunter2@127.0.0.1:9");
    let server = Server::start_by(command).await;
    sandbox.send_at_once();
    let (first, wrong) = (server.first_key(), sandbox.key(&["--scope", "read"]));
    let secret_path = "T0SECRETPATH";
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &format!("{}/{secret_path}", webhook.url()),
    ]);
    sandbox.json(&["subscription", "add", "email", "on-call@example.com"]);
    webhook.answer_with(500);
    for key in [&first, &wrong, &format!("{first}x")] {
        let _ = server
            .beat(key, r#"{"hostId": "web-01", "intervalMs": 1000}"#)
            .await
            .unwrap();
    }
    let subscriptions = eventually("failed deliveries", async || {
        let list = sandbox.json(&["subscription", "list"]);
        list.as_array()
            .unwrap()
            .iter()
            .all(|s| s["deliveries"]["last_error"].is_string())
            .then_some(list)
    })
    .await;
    let errors: Vec<_> = subscriptions
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["deliveries"]["last_error"].to_string())
        .collect();
    let database = std::fs::read(sandbox.path().join("data/heartbeat.db")).unwrap();
    let wal = std::fs::read(sandbox.path().join("data/heartbeat.db-wal")).unwrap_or_default();
    let stored = String::from_utf8_lossy(&[database, wal].concat()).into_owned();
    let (_, log) = server.stop().await;
    for (what, text) in [("log", log.join("\n")), ("last errors", errors.join("\n"))] {
        for secret in [&first[16..], &wrong[16..], "hunter2hunter2", secret_path] {
            assert!(!text.contains(secret), "{secret} is in the {what}:\n{text}");
        }
    }
    for secret in [&first[16..], &wrong[16..]] {
        assert!(!stored.contains(secret), "the secret of a key is stored");
    }
    assert_commands_print_no_secret(&sandbox, &first);
}

/// Neither an export nor an error about a mistyped or misplaced token prints a secret.
fn assert_commands_print_no_secret(sandbox: &Sandbox, key: &str) {
    let (typo, token) = (format!("{key}x"), "t0psecret".repeat(200));
    let cases: [&[&str]; 9] = [
        &["key", "list"],
        &["key", "export"],
        &["key", "export", "--output", "json"],
        &["key", "inspect", key],
        &["key", "inspect", &typo],
        &["key", "revoke", &typo],
        &["key", "rotate", &typo],
        &["key", "revoke", key],
        &["subscription", "confirm", "--token", &token[..1_000]],
    ];
    for args in cases {
        let done = sandbox.run(args);
        let output = format!("{}{}", done.stdout, done.stderr);
        for secret in [&key[16..], "t0psecret"] {
            assert!(!output.contains(secret), "{args:?}: {output}");
        }
    }
    for url in ["ftp://:t0psecret@host/", "t0psecret"] {
        let other = Sandbox::new();
        let done = other.run(&["serve", "--ping-url", url]);
        assert_eq!((done.code, other.path().join("data").exists()), (2, false));
        assert!(!done.stderr.contains("t0psecret"), "{}", done.stderr);
    }
    let help = sandbox.run(&["key", "create", "--help"]).stdout;
    assert!(!help.contains(&key[16..]), "{help}");
}

#[tokio::test]
async fn the_first_key_is_in_a_file_for_its_owner_alone_and_serves_hb_and_curl() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let key = server.first_key();
    let file = server.first_key_file().unwrap();
    let printed = [server.stdout(), server.stderr()].concat().join("\n");
    assert!(!printed.contains(&key[16..]), "{printed}");
    let data = sandbox.path().join("data");
    assert_eq!(file, data.join("first.key"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let path = file.to_str().unwrap();
    let sent = sandbox.run(&["send", "web-01", "--url", &server.url, "--key-file", path]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    if !have(&["sh", "curl", "hostname"]) {
        return;
    }
    // As the user of the crontab, with a copy of the file.
    std::fs::copy(&file, sandbox.path().join(".heartbeat.key")).unwrap();
    let lines = server.stdout();
    let line = lines.iter().find(|line| line.starts_with("*/5")).unwrap();
    let command = line.split_once("* curl").unwrap().1;
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("curl{command}")])
        .env("HOME", sandbox.path());
    assert!(sh.status().unwrap().success(), "{line}");
    assert_eq!(sandbox.json(&["host", "list"]).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_terminal_shows_the_first_key_and_no_file_has_it() {
    if !have(&["script", "setpriv"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let hb = sandbox.hb(&["serve", "--listen", "127.0.0.1:0"]);
    let mut terminal = Command::new("script");
    // It ends with the terminal.
    let line = format!(
        "exec setpriv --pdeathsig KILL {} serve --listen 127.0.0.1:0",
        env!("CARGO_BIN_EXE_hb")
    );
    terminal
        .args(["-qefc", &line, "/dev/null"])
        .env_clear()
        .env("SHELL", "/bin/sh")
        .envs(
            hb.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let server = Server::spawn(terminal);
    eventually("the key in the terminal", async || {
        let lines = server.stdout();
        let has = |start| lines.iter().any(|line| line.trim().starts_with(start));
        (has("hbk_") && has("x-api-key: hbk_") && has("*/5")).then_some(())
    })
    .await;
    assert!(!sandbox.path().join("data/first.key").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crash_of_what_holds_keys_dumps_no_core() {
    if !have(&["prlimit"]) {
        return;
    }
    let core = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"));
        line.map(|line| line.split_whitespace().next().unwrap().to_owned())
    };
    let sandbox = Sandbox::new();
    let unlimited = |hb: &Command| {
        let mut command = Command::new("prlimit");
        command
            .arg("--core=unlimited:unlimited")
            .arg(hb.get_program())
            .args(hb.get_args());
        command.envs(
            hb.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
    };
    let server = Server::start_by(unlimited(&sandbox.hb(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
    ])))
    .await;
    assert_eq!(core(server.pid()).as_deref(), Some("0"));
    let hb = sandbox.send(&server.url, &["--splay", "1h"]);
    let mut send = unlimited(&hb).spawn().unwrap();
    eventually("no core dump of hb send", async || {
        (core(send.id())? == "0").then_some(())
    })
    .await;
    send.kill().unwrap();
    send.wait().unwrap();
    // The limit of a job is its own matter.
    let hb = sandbox.send(
        &server.url,
        &["--retries", "0", "--exec", "--", "sh", "-c", "ulimit -c"],
    );
    let done = Done::from(unlimited(&hb).output().unwrap());
    assert_eq!(done.stdout, "unlimited\n", "{}", done.stderr);
}

/// A line of foreign text could otherwise look like another one.
#[tokio::test(flavor = "multi_thread")]
async fn invisible_characters_of_foreign_text_reach_no_terminal() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let message = "a\u{202e}b\u{200b}c\u{e0041}d";
    let body = format!(r#"{{"hostId": "web-01", "status": "fail", "message": "{message}"}}"#);
    assert_eq!(server.beat(&server.first_key(), &body).await.unwrap(), 200);
    sandbox.run(&["key", "create", "na\u{2066}me"]);
    eventually("a notice", async || {
        let lines = server.stdout();
        lines.iter().find(|line| line.contains("FAILED")).cloned()
    })
    .await;
    let refusing = Scripted::answering(&[(400, &[])]).await;
    let refused = Done::from(sandbox.send(&refusing.url, &[]).output().unwrap());
    assert!(
        refused.stderr.contains("as the test has it"),
        "{}",
        refused.stderr
    );
    let shown = sandbox.run(&["host", "show", "web-01"]);
    let listed = sandbox.run(&["key", "list"]);
    let revoked = sandbox.run(&["key", "revoke", "na\u{2066}me"]);
    assert!(shown.stdout.contains("abcd") && listed.stdout.contains("name"));
    assert!(revoked.stdout.contains("(name)"), "{}", revoked.stdout);
    let printed = [server.stdout(), server.stderr()].concat().join("\n");
    for text in [&shown.stdout, &listed.stdout, &refused.stderr, &printed] {
        let bad = |c| {
            matches!(
                c,
                '\u{202e}' | '\u{200b}' | '\u{e0041}' | '\u{2066}' | '\u{1b}'
            )
        };
        assert!(!text.contains(bad), "{text:?}");
    }
    let stored = sandbox.json(&["host", "show", "web-01"]);
    assert_eq!(stored["transitions"][0]["message"], message, "as stored");
}
