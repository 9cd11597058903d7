//! The admin's commands: their output and their exit codes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::support::{Done, Sandbox, Server, eventually};

#[test]
fn keys_are_shown_once_listed_and_revoked() {
    let sandbox = Sandbox::with_database();
    let done = sandbox.run(&[
        "key",
        "create",
        "web fleet",
        "--host-prefix",
        "web-",
        "--expires",
        "90d",
    ]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let key = done.stdout.trim();
    assert!(
        key.starts_with("hbk_") && key.len() == 74 && done.stdout.lines().count() == 1,
        "{}",
        done.stdout
    );
    assert!(done.stderr.contains("not shown again") && !done.stderr.contains(key));
    let list = sandbox.run(&["key", "list"]);
    assert!(
        list.stdout.contains("web fleet")
            && list.stdout.contains("live")
            && !list.stdout.contains(&key[15..])
    );
    let id = &key[4..14];
    let listed = sandbox.json(&["key", "list"]);
    assert_eq!(
        (
            &listed[0]["id"],
            &listed[0]["hostPrefixes"],
            &listed[0]["live"]
        ),
        (&json!(id), &json!(["web-"]), &json!(true))
    );
    let done = sandbox.run(&["key", "revoke", id]);
    assert_eq!(
        (done.code, done.stdout),
        (0, format!("revoked {id} (web fleet)\n"))
    );
    assert_eq!(sandbox.json(&["key", "list"])[0]["live"], false);
    let unknown = sandbox.run(&["key", "revoke", "aaaaaaaaaa"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert_eq!(
        unknown.stderr,
        "hb: there is no key aaaaaaaaaa\n    `hb key list` shows all keys\n"
    );
}

#[test]
fn the_total_cost_is_the_sum_of_its_items() {
    let sandbox = Sandbox::new();
    let bill = sandbox.json(&[
        "cost",
        "--hosts",
        "1000",
        "--interval",
        "10m",
        "--regions",
        "2",
    ]);
    let dollars = |row: &serde_json::Value| row["dollarsAMonth"].as_f64().unwrap();
    let (total, items) = bill.as_array().unwrap().split_last().unwrap();
    assert_eq!(total["item"], "total");
    let sum: f64 = items.iter().map(dollars).sum();
    assert!(sum > 30.0 && (sum - dollars(total)).abs() < 0.05, "{bill}");
    for wrong in [
        "--hosts many",
        "--hosts 1000000001",
        "--hosts 1 --interval 0s",
        "--hosts 1 --interval 401d",
        "--hosts 1 --regions 3",
        "--hosts 1 --sweep-every 9s",
        "--hosts 1 --keys 0",
    ] {
        let words: Vec<_> = std::iter::once("cost").chain(wrong.split(' ')).collect();
        let done = sandbox.run(&words);
        assert_eq!(done.code, 2, "{wrong}: {}", done.stderr);
    }
    let most = "cost --hosts 1000000000 --interval 1s --regions 2 --edge --sms-a-month 1000000000";
    let bill = sandbox.json(&most.split(' ').collect::<Vec<_>>());
    assert!(
        bill.as_array()
            .unwrap()
            .iter()
            .all(|row| dollars(row).is_finite())
    );
}

#[test]
fn subscriptions_are_added_listed_and_removed() {
    let sandbox = Sandbox::with_database();
    let added = sandbox.json(&[
        "subscription",
        "add",
        "https",
        "https://example.com/hook",
        "--fleet",
        "lab",
        "--kind",
        "missing",
    ]);
    let list = sandbox.json(&["subscription", "list"]);
    let fields = ["protocol", "endpoint", "fleet", "kinds"].map(|field| &list[0][field]);
    assert_eq!(
        fields,
        [
            &json!("https"),
            &json!("https://example.com/hook"),
            &json!("lab"),
            &json!(["missing"])
        ]
    );
    let id = added["id"].as_str().unwrap();
    assert_eq!(
        sandbox.run(&["subscription", "remove", id]).stdout,
        format!("removed {id}\n")
    );
    assert_eq!(sandbox.run(&["subscription", "remove", id]).code, 1);
    assert_eq!(sandbox.json(&["subscription", "list"]), json!([]));
}

#[test]
fn an_unsupported_protocol_is_refused_with_alternatives() {
    let sandbox = Sandbox::with_database();
    let sms = sandbox.run(&["subscription", "add", "sms", "+15550100123"]);
    assert_eq!(sms.code, 2);
    for part in ["deployed stage", "email", "webhook"] {
        assert!(sms.stderr.contains(part), "{}", sms.stderr);
    }
    assert_eq!(sandbox.json(&["subscription", "list"]), json!([]));
}

#[test]
fn wrong_usage_exits_with_2_and_changes_nothing() {
    let sandbox = Sandbox::with_database();
    for (args, cause) in [
        (
            &["subscription", "add", "email", "on-call"][..],
            "not an e-mail address",
        ),
        (
            &["subscription", "add", "http", "https://example.com"],
            "the scheme is https",
        ),
        (
            &[
                "subscription",
                "add",
                "email",
                "a@example.com",
                "--kind",
                "late",
            ],
            "the kind must be",
        ),
        (&["key", "create", "x", "--fleet", "Main"], "a fleet is"),
        (&["key", "create", "x", "--expires", "soon"], "90d"),
        (&["key", "create", " "], "a key's name is"),
        (&["host", "show", "web 01"], "hostId has ' ' at position 4"),
        (
            &["host", "set", "web-01", "--interval", "10ms"],
            "1000 to 34560000000 ms",
        ),
        (&["serve", "--sweep-every", "0s"], "longer than zero"),
        (
            &[
                "serve",
                "--smtp-url",
                "nonsense",
                "--smtp-from",
                "a@example.com",
            ],
            "mail",
        ),
        (&["frobnicate"], "frobnicate"),
    ] {
        let done = sandbox.run(args);
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(cause), "{args:?}: {}", done.stderr);
    }
    assert_eq!(
        (
            sandbox.json(&["subscription", "list"]),
            sandbox.json(&["key", "list"])
        ),
        (json!([]), json!([]))
    );
}

#[test]
fn an_unknown_host_exits_with_1_and_a_next_step() {
    let sandbox = Sandbox::with_database();
    for verb in ["show", "pause", "resume", "forget"] {
        let done = sandbox.run(&["host", verb, "typo", "--fleet", "lab"]);
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert!(
            done.stderr
                .starts_with("hb: there is no host lab/typo\n    `hb host list`"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let sandbox = Sandbox::with_database();
    let mut list = sandbox
        .hb(&["key", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    let done = list.wait_with_output().unwrap();
    assert_eq!(
        (
            done.status.code(),
            String::from_utf8(done.stderr).unwrap().as_str()
        ),
        (Some(0), "")
    );
}

#[test]
fn an_unusable_folder_exits_with_3() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path().join("file"), "").unwrap();
    let done = sandbox.run(&[
        "key",
        "list",
        "--data-dir",
        sandbox.path().join("file/data").to_str().unwrap(),
    ]);
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("--data-dir"), "{}", done.stderr);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&[]);
    sandbox
        .database()
        .pragma_update(None, "user_version", 1_000)
        .unwrap();
    let done = sandbox.run(&["key", "create", "x"]);
    assert_eq!(done.code, 3);
    assert!(
        done.stderr.contains("1000") && done.stderr.contains("newer"),
        "{}",
        done.stderr
    );
}

#[tokio::test]
async fn hosts_are_listed_by_name_and_filtered() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let (main, lab) = (server.first_key(), sandbox.key(&["--fleet", "lab"]));
    for (key, name) in [(&main, "b"), (&main, "a"), (&lab, "c")] {
        assert_eq!(
            server
                .beat(key, &format!(r#"{{"hostId": "{name}"}}"#))
                .await
                .unwrap(),
            200
        );
    }
    assert_eq!(
        sandbox.json(&["host", "pause", "b", "--until", "2h"])["state"],
        "paused"
    );
    let names = |args: &[&str]| {
        let list = sandbox.json(&[&["host", "list"], args].concat());
        list.as_array()
            .unwrap()
            .iter()
            .map(|host| host["hostId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["--fleet", "main"]), ["a", "b"]);
    assert_eq!(names(&["--status", "paused"]), ["b"]);
    assert_eq!(names(&["--fleet", "lab", "--status", "up"]), ["c"]);
    assert_eq!(sandbox.json(&["host", "resume", "b"])["state"], "up");
    assert_eq!(
        sandbox.json(&["host", "set", "b", "--interval", "1h"])["intervalMs"],
        3_600_000
    );
    assert_eq!(
        sandbox.json(&["host", "set", "b", "--interval", "sent"])["intervalMs"],
        600_000
    );
    let table = sandbox.run(&["host", "list"]).stdout;
    let head: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "HOST", "FLEET", "STATE", "LAST", "BEAT", "INTERVAL", "DEADLINE"
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_list_of_100_000_hosts_is_streamed() {
    let sandbox = Sandbox::with_database();
    let sql = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
        INSERT INTO heartbeats (fleet, host, region, first, last, interval, signal)
        SELECT 'main', printf('host-%06d', n), 'local', 1, 1, 600000, 0 FROM numbers";
    sandbox.database().execute(sql, []).unwrap();
    let mut hb = sandbox
        .hb(&["host", "list"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(hb.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("HOST "));
    // The pipe is full of unread rows now: what is not printed yet is not in memory either.
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", hb.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(kilobytes < 64 * 1024, "{kilobytes} kB");
    assert_eq!(lines.map(Result::unwrap).count(), 100_000);
    assert!(hb.wait().unwrap().success());
}

#[tokio::test]
async fn only_the_first_start_creates_a_key() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let start = |line: &String| line.starts_with("*/5 * * * * curl ");
    let crontab = eventually("the line for crontabs", async || {
        server.stdout().into_iter().find(start)
    })
    .await;
    assert!(
        !crontab.contains("hbk_") && crontab.contains(&server.url),
        "{crontab}"
    );
    assert_eq!(server.status().await.status(), 200);
    assert_eq!(server.stop().await.0, 0);
    let again = Server::start(&sandbox, &["--output", "json"]).await;
    assert_eq!((again.stdout(), sandbox.keys().len()), (vec![], 1));
}

#[tokio::test]
async fn an_address_in_use_exits_with_6_and_shows_no_key() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let other = Sandbox::new();
    let done = other.run(&[
        "serve",
        "--listen",
        server.url.strip_prefix("http://").unwrap(),
    ]);
    assert_eq!((done.code, done.stdout.as_str()), (6, ""));
    assert!(done.stderr.contains("--listen"), "{}", done.stderr);
}

#[tokio::test]
async fn a_machine_without_certificates_still_serves_and_sends_over_http() {
    let sandbox = Sandbox::new();
    let bare = |args: &[&str]| {
        let mut command = sandbox.hb(args);
        command
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent");
        command
    };
    let server = Server::start_by(bare(&["serve", "--listen", "127.0.0.1:0"])).await;
    assert!(
        server.stderr().join("\n").contains("ca-certificates"),
        "the log names what does not work"
    );
    let sent = bare(&["send", "web-01", "--url", &server.url])
        .env("HB_API_KEY", server.first_key())
        .output();
    assert_eq!(sent.unwrap().status.code(), Some(0));
}

#[tokio::test]
async fn one_line_says_whether_all_is_well_and_lists_fit_a_phone() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    sandbox.send_at_once();
    let key = server.first_key();
    let beat = |host: &str, signal: &str| {
        let url = format!(
            "{}/v1/heartbeat/restaurant-17%2F{host}/{signal}",
            server.url
        );
        server.client.get(url).header("x-api-key", &key).send()
    };
    assert_eq!(beat("pos-1", "ok").await.unwrap().status(), 200);
    eventually("all well", async || {
        let status = sandbox.run(&["status"]);
        (status.code == 0 && status.stdout == "all well: 1 host\n").then_some(())
    })
    .await;
    assert_eq!(beat("pos-2", "17").await.unwrap().status(), 200);
    eventually("a failure", async || {
        let status = sandbox.run(&["status"]);
        let said = "1 failing (restaurant-17/pos-2) of 2 hosts\n";
        (status.code == 1 && status.stdout == said).then_some(())
    })
    .await;
    let narrow = |args: &[&str]| {
        let mut hb = sandbox.hb(args);
        let done = Done::from(hb.env("COLUMNS", "44").output().unwrap());
        let fits = done.stdout.lines().all(|line| line.chars().count() <= 44);
        assert!(fits && !done.stdout.contains("T2"), "{}", done.stdout);
        done.stdout
    };
    let listed = narrow(&["host", "list", "--status", "failing", "--status", "missing"]);
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].starts_with("STATE    LAST BEAT"), "{listed}");
    assert!(
        lines.len() == 2 && lines[1].starts_with("failing  "),
        "{listed}"
    );
    let shown = narrow(&["host", "show", "restaurant-17/pos-2"]);
    assert!(
        shown.contains(" ago") && shown.ends_with("failing\n  exit 17\n"),
        "{shown}"
    );
}
