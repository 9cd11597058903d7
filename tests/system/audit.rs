//! What admins did is recorded by the real binary, with who it was; and what happens when it cannot be recorded.

use serde_json::{Value, json};

use crate::support::{Done, Sandbox, Server, TO_VERSION_5, have};

/// The acts of the last hour.
fn acts(sandbox: &Sandbox) -> Vec<Value> {
    let acts = sandbox.json(&["audit", "list", "--since", "1h"]);
    acts.as_array().unwrap().clone()
}

/// Those of one kind.
fn of_kind(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    let mut acts = acts(sandbox);
    acts.retain(|act| act["act"] == kind);
    acts
}

fn done(sandbox: &Sandbox, args: &[&str]) -> Done {
    let done = sandbox.run(args);
    assert_eq!(done.code, 0, "hb {args:?}: {}", done.stderr);
    done
}

/// What a program prints, without the line break.
fn printed(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn an_act_has_the_user_of_the_process_and_not_that_of_the_environment() {
    if !have(&["id", "uname"]) {
        return;
    }
    let sandbox = Sandbox::with_database();
    let user = format!("{}@{}", printed("id", &["-un"]), printed("uname", &["-n"]));
    for (sudo, who) in [
        ("", user.clone()),
        ("alice", format!("{user} (SUDO_USER alice)")),
        (
            "a\u{1b}[2J\u{202e}\nb",
            format!("{user} (SUDO_USER a [2J b)"),
        ),
    ] {
        let mut hb = sandbox.hb(&["key", "create", "web"]);
        let hb = hb
            .env("USER", "mallory")
            .env("LOGNAME", "mallory")
            .env("SUDO_USER", sudo);
        assert!(hb.status().unwrap().success());
        assert_eq!(acts(&sandbox).last().unwrap()["who"], who);
    }
    let table = done(&sandbox, &["audit", "list"]).stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("TIME "), "{table}");
    assert_eq!(lines.len(), 5, "one made the database: {table}");
    assert!(lines[1].contains(" migrate "), "{table}");
    assert!(
        lines[4].ends_with("fleet main, name web, scope ingest"),
        "{table}"
    );
    assert!(!table.contains('\u{1b}') && !table.contains('\u{202e}'));
}

#[tokio::test]
async fn a_server_records_the_keys_that_it_makes_and_the_database() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    server.stop().await;
    let acts = acts(&sandbox);
    let told = acts
        .iter()
        .map(|act| (act["act"].as_str().unwrap(), &act["new"]["name"]));
    let mut told: Vec<_> = told.collect();
    told.truncate(2);
    assert_eq!(
        told,
        [("migrate", &Value::Null), ("key create", &json!("first"))]
    );
    assert!(acts.iter().all(|act| act["who"] == acts[0]["who"]));
}

#[test]
fn a_restore_is_recorded_in_the_restored_database() {
    let sandbox = Sandbox::with_database();
    let file = sandbox.path().join("backup.db");
    let file = file.to_str().unwrap();
    done(&sandbox, &["key", "create", "before"]);
    done(&sandbox, &["backup", file]);
    done(&sandbox, &["key", "create", "after"]);
    done(&sandbox, &["restore", file]);
    let names: Vec<_> = of_kind(&sandbox, "key create")
        .iter()
        .map(|act| act["new"]["name"].clone())
        .collect();
    assert_eq!(names, ["before"]);
    let restores = of_kind(&sandbox, "restore");
    let [restore] = &restores[..] else {
        panic!("{restores:?}");
    };
    assert!(
        restore["target"]
            .as_str()
            .unwrap()
            .ends_with("heartbeat.db")
    );
    let replaced = restore["old"]["database"].as_str().unwrap();
    assert!(replaced.ends_with("heartbeat-replaced.db"));
    assert_eq!(restore["new"]["file"], file);
    assert_eq!(restore["new"]["rows"]["keys"], 1);
}

#[test]
fn a_confirmation_is_recorded_by_the_id_of_the_subscription_and_without_its_token() {
    let sandbox = Sandbox::with_database();
    let added = done(&sandbox, &["subscription", "add", "email", "a@example.com"]);
    let sql = "SELECT token FROM subscriptions";
    let token: String = sandbox
        .database()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    done(&sandbox, &["subscription", "confirm", "--token", &token]);
    let again = sandbox.run(&["subscription", "confirm", "--token", &token]);
    assert_eq!(again.code, 1, "nothing was done, and nothing is recorded");
    let confirmed = of_kind(&sandbox, "subscription confirm");
    let [confirmed] = &confirmed[..] else {
        panic!("{confirmed:?}");
    };
    assert_eq!(confirmed["target"], added.stdout.trim());
    assert_eq!(confirmed["old"], json!({"state": "pending"}));
    assert_eq!(confirmed["new"], json!({"state": "confirmed"}));
    assert!(!format!("{:?}", acts(&sandbox)).contains(&token));
}

#[test]
fn an_old_database_has_its_migration_as_its_first_act() {
    let sandbox = Sandbox::with_database();
    sandbox.database().execute_batch(TO_VERSION_5).unwrap();
    done(&sandbox, &["migrate"]);
    let acts = acts(&sandbox);
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0]["old"], json!({"version": 5}));
    assert!(acts[0]["new"]["version"].as_i64().unwrap() > 5);
    done(&sandbox, &["migrate"]);
    assert_eq!(of_kind(&sandbox, "migrate").len(), 1, "nothing was done");
}

#[test]
fn an_act_that_cannot_be_recorded_is_done_shown_and_no_success() {
    let sandbox = Sandbox::with_database();
    let sql =
        "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END";
    sandbox.database().execute_batch(sql).unwrap();
    let created = sandbox.run(&["key", "create", "web"]);
    assert_eq!(created.code, 8, "{}", created.stderr);
    assert!(
        created.stdout.starts_with("hbk_"),
        "the key is shown all the same"
    );
    let said = |text: &str| created.stderr.contains(text);
    assert!(
        said("hb: done, but not recorded in the audit: key create ") && said("no room"),
        "{}",
        created.stderr
    );
    assert!(said("do not run it again"), "{}", created.stderr);
    let key = sandbox.keys().remove(0);
    assert_eq!(key["name"], "web");
    // A command that fails by itself keeps its code; one that does nothing is not affected.
    let hosts = sandbox.run(&["host", "pause", "web-01"]);
    assert_eq!(hosts.code, 1);
    assert!(!hosts.stderr.contains("audit"), "{}", hosts.stderr);
    done(&sandbox, &["key", "list"]);
    assert_eq!(of_kind(&sandbox, "key create"), [] as [Value; 0]);
}

#[test]
fn acts_that_are_too_old_or_unreadable_are_not_listed() {
    let sandbox = Sandbox::with_database();
    done(&sandbox, &["key", "create", "new"]);
    let day = 86_400_000;
    let database = sandbox.database();
    for (name, days) in [("a", 399), ("b", 401)] {
        let at = format!("CAST(unixepoch() * 1000 - {days} * {day} AS INTEGER)");
        let sql = format!(
            "INSERT INTO audit SELECT printf('%015d-0000000000-0000000000000000', {at}), json_set(act,
                '$.id', printf('%015d-0000000000-0000000000000000', {at}), '$.at', {at}, '$.target', '{name}')
                FROM audit WHERE act LIKE '%key create%' LIMIT 1"
        );
        database.execute_batch(&sql).unwrap();
    }
    database
        .execute_batch("INSERT INTO audit VALUES ('9', 'garbage\u{1b}')")
        .unwrap();
    let list = |since: &str| {
        let done = done(
            &sandbox,
            &["audit", "list", "--since", since, "--output", "json"],
        );
        let warned = done.stderr.contains("warning: act 9 is left out");
        assert!(warned, "{}", done.stderr);
        let acts: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
        acts.len()
    };
    assert_eq!((list("398d"), list("400d"), list("9y")), (2, 3, 3));
}

#[test]
fn an_import_is_one_act_also_when_it_stops() {
    let sandbox = Sandbox::with_database();
    let rows = (0..2_000).map(|n| format!("key {n},main\n"));
    let file = sandbox.path().join("keys.csv");
    std::fs::write(&file, format!("name,fleet\n{}", rows.collect::<String>())).unwrap();
    let sql = "CREATE TRIGGER full BEFORE INSERT ON keys WHEN NEW.name = 'key 700'
        BEGIN SELECT RAISE(ABORT, 'no room'); END";
    sandbox.database().execute_batch(sql).unwrap();
    let import = sandbox.run(&["key", "import", file.to_str().unwrap()]);
    assert_eq!(import.code, 3, "{}", import.stderr);
    // Those that were under way were finished.
    let stored = sandbox.keys().len();
    assert!((700..=731).contains(&stored), "{stored}");
    let said = format!("keys: {stored} created, 0 existing");
    assert!(import.stderr.contains(&said), "{}", import.stderr);
    assert_eq!(import.stdout.lines().count(), stored + 1, "all are shown");
    let imports = of_kind(&sandbox, "key import");
    let [import] = &imports[..] else {
        panic!("{imports:?}");
    };
    assert_eq!(import["target"], file.to_str().unwrap());
    assert_eq!(import["new"]["created"], stored);
    assert_eq!(import["new"]["names"].as_array().unwrap().len(), 20);
}

#[cfg(target_os = "linux")]
#[test]
fn an_import_that_is_interrupted_is_recorded_with_what_it_stored() {
    if !have(&["kill"]) {
        return;
    }
    let sandbox = Sandbox::with_database();
    let rows = (0..50_000).map(|n| format!("key {n},main\n"));
    let file = sandbox.path().join("keys.csv");
    std::fs::write(&file, format!("name,fleet\n{}", rows.collect::<String>())).unwrap();
    let mut hb = sandbox.hb(&["key", "import", file.to_str().unwrap()]);
    let mut hb = hb.stdout(std::process::Stdio::piped()).spawn().unwrap();
    // The titles come with the first key. What is not read yet holds up the rest.
    let mut first = [0];
    let mut out = hb.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    printed("kill", &["-INT", &hb.id().to_string()]);
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let code = hb.wait().unwrap().code();
    let stored = sandbox.keys().len();
    assert!(stored < 50_000, "it went on");
    assert_eq!(code, Some(7));
    assert_eq!(of_kind(&sandbox, "key import")[0]["new"]["created"], stored);
}
