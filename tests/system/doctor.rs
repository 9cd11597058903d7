//! `hb doctor`, on a folder with and without a server; and the config file, which it shows.

use serde_json::{Value, json};

use crate::support::{Done, Sandbox, Server, eventually};

/// The verdict and cause of each finding about `thing`.
fn about(diagnosis: &Value, thing: &str) -> Vec<(String, String)> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = diagnosis["findings"].as_array().unwrap().iter();
    let of_thing = findings.filter(|finding| finding["thing"] == thing);
    of_thing
        .map(|finding| (text(finding, "verdict"), text(finding, "cause")))
        .collect()
}

fn diagnose(sandbox: &Sandbox, args: &[&str]) -> (i32, Value) {
    let done = sandbox.run(&[&["doctor", "--output", "json"], args].concat());
    assert_eq!(done.stderr, "");
    (done.code, serde_json::from_str(&done.stdout).unwrap())
}

#[test]
fn a_missing_folder_is_a_problem_and_is_not_created() {
    let sandbox = Sandbox::new();
    let (code, diagnosis) = diagnose(&sandbox, &[]);
    assert_eq!((code, &diagnosis["verdict"]), (1, &json!("problem")));
    assert_eq!(about(&diagnosis, "database")[0].0, "problem");
    assert!(!sandbox.path().join("data").exists());
}

#[tokio::test]
async fn a_running_service_has_no_finding_but_missing_subscriptions() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let args = ["--url", &server.url];
    let diagnosis = eventually("a sweep and a canary", async || {
        let (code, diagnosis) = diagnose(&sandbox, &args);
        (code == 0).then_some(diagnosis)
    })
    .await;
    let bare = |mut finding: Value| {
        let cause = finding["cause"].as_str().unwrap();
        let plain: String = cause.chars().filter(|c| !c.is_ascii_digit()).collect();
        finding["cause"] = plain.replace(sandbox.path().to_str().unwrap(), "").into();
        finding
    };
    let findings = diagnosis["findings"]
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(bare);
    let ok = |thing: &str, cause: &str| json!({"verdict": "ok", "thing": thing, "cause": cause, "nextStep": null});
    // The free space of the temporary folder varies.
    let findings: Vec<_> = findings
        .filter(|finding| finding["thing"] != "data folder")
        .collect();
    let program: String = hb_version::PROGRAM
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .collect();
    let server = format!("http://...: answers, with {program}, from this database");
    let expected = [
        ok("config file", "none"),
        ok("database", "SQLite finds no damage"),
        ok("sweep", "the last one ended  s ago and scanned  hosts"),
        ok("canaries", "the last one was received  s ago"),
        ok("notices", " pending, none stuck"),
        json!({
            "verdict": "warning", "thing": "subscriptions", "cause": "there are none: notices are not sent to anyone",
            "nextStep": "run `hb subscription add email ADDRESS`, or `https` with the URL of a webhook",
        }),
        ok("keys", " can send beats, none expires within  d"),
        ok("server", &server),
        ok("clock", "agrees with the service's"),
    ];
    assert_eq!(findings, expected);
    let table = sandbox.run(&[&["doctor"], &args[..]].concat());
    let warning = "warning  subscriptions  there are none: notices are not sent to anyone\n                        -> run `hb";
    assert!(
        table.code == 0 && table.stdout.contains(warning),
        "{}",
        table.stdout
    );
    assert!(!table.stdout.contains('\u{1b}'), "no colour in a pipe");
}

#[tokio::test]
async fn a_killed_service_is_found_by_its_sweeps_and_canaries() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    eventually("a sweep", async || {
        (diagnose(&sandbox, &["--url", &server.url]).0 == 0).then_some(())
    })
    .await;
    server.kill();
    // Simulates that hours have passed.
    let database = sandbox.database();
    database
        .execute_batch(
            "UPDATE system SET value = json_set(value, '$.ended', 86400000) WHERE name LIKE 'sweep/%';
             UPDATE receivers SET record = json_set(record, '$.heard', 86400000);",
        )
        .unwrap();
    drop(database);
    let (code, diagnosis) = diagnose(&sandbox, &["--url", &server.url]);
    assert_eq!(code, 1);
    for thing in ["sweep", "canaries", "server"] {
        assert_eq!(about(&diagnosis, thing)[0].0, "problem", "{diagnosis}");
    }
    // Without --url it is unknown whether a server should run there.
    assert_ne!(about(&diagnose(&sandbox, &[]).1, "server")[0].0, "problem");
}

#[test]
fn expiring_keys_and_dead_deliveries_are_found() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&["--expires", "3d"]);
    sandbox.json(&["subscription", "add", "https", "https://example.com/s3cr3t"]);
    sandbox
        .database()
        .execute_batch(
            "INSERT INTO deliveries (notice, subscription, host, accepted, state, due, error, tried)
             SELECT 'n', id, 'main/web-01', 0, 'dead', 0, 'the answer was 500', unixepoch() * 1000 FROM subscriptions",
        )
        .unwrap();
    let (code, diagnosis) = diagnose(&sandbox, &[]);
    assert_eq!(code, 1);
    let [(verdict, cause)] = &about(&diagnosis, "subscriptions")[..] else {
        panic!("{diagnosis}")
    };
    assert!(
        verdict == "problem"
            && cause.contains(" given up in the last 30 d: 1, ")
            && cause.ends_with("last error: the answer was 500"),
        "{cause}"
    );
    let [(verdict, cause)] = &about(&diagnosis, "keys")[..] else {
        panic!("{diagnosis}")
    };
    assert!(
        verdict == "warning" && cause.starts_with("1 expire within 14 d: "),
        "{cause}"
    );
    assert!(!diagnosis.to_string().contains("s3cr3t"));
}

#[test]
fn the_config_file_yields_to_environment_and_options() {
    let sandbox = Sandbox::new();
    let (file, elsewhere) = (
        sandbox.path().join(".config/heartbeat/config.toml"),
        sandbox.path().join("elsewhere"),
    );
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "output = \"json\"\ndata_dir = \"../../of-file\"\n").unwrap();
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut hb = sandbox.hb(args);
        Done::from(
            hb.env_remove("HB_DATA_DIR")
                .envs(env.iter().copied())
                .output()
                .unwrap(),
        )
    };
    assert_eq!(run(&["migrate"], &[]).code, 0);
    assert_eq!(run(&["key", "list"], &[]).stdout, "[]\n");
    assert!(sandbox.path().join("of-file/heartbeat.db").exists());
    assert!(
        run(&["key", "list"], &[("HB_OUTPUT", "table")])
            .stdout
            .starts_with("ID ")
    );
    let flags = [
        "key",
        "list",
        "--output",
        "table",
        "--data-dir",
        elsewhere.to_str().unwrap(),
    ];
    let migrate = ["migrate", "--data-dir", elsewhere.to_str().unwrap()];
    assert_eq!(run(&migrate, &[]).code, 0);
    assert!(
        run(&flags, &[("HB_OUTPUT", "json")])
            .stdout
            .starts_with("ID ")
    );
    assert!(
        run(&["doctor"], &[])
            .stdout
            .contains(file.to_str().unwrap()),
        "doctor shows the file"
    );
    assert!(
        run(&["key", "list"], &[("HB_CONFIG", "")])
            .stderr
            .contains(".local/share/heartbeat (is this the right folder?)"),
        "an empty name means no file"
    );
}

#[test]
fn a_wrong_config_file_exits_with_2_and_names_the_line() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("hb.toml");
    let run =
        |args: &[&str]| Done::from(sandbox.hb(args).env("HB_CONFIG", &file).output().unwrap());
    assert_eq!(
        run(&["key", "list"]).code,
        2,
        "a file that is named must exist"
    );
    std::fs::write(&file, "output = \"json\"\n\ncolour = \"red\"\n").unwrap();
    let done = run(&["key", "list"]);
    let expected = format!(
        "hb: the config file is wrong: {}:3: unknown field `colour`",
        file.display()
    );
    assert!(
        done.code == 2 && done.stderr.starts_with(&expected),
        "{}",
        done.stderr
    );
    assert!(!sandbox.path().join("data").exists());
    for args in [&["--help"][..], &["--version"], &["key", "--help"]] {
        assert_eq!(run(args).code, 0, "help works with a wrong file");
    }
}

#[test]
fn doctor_gives_up_on_a_server_that_never_answers() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&[]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (code, diagnosis) = diagnose(&sandbox, &["--url", &url]);
    assert_eq!(code, 1);
    assert!(
        about(&diagnosis, "server")[0]
            .1
            .contains("no answer within 5 s"),
        "{diagnosis}"
    );
}
