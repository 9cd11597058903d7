//! The data folder: who makes and migrates its database, who may write it, and which server serves it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{Sandbox, Server, TO_VERSION_5, eventually};

const BEAT: &str = r#"{"hostId": "web-01"}"#;

/// The names in the data folder; empty when there is none.
fn files(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path().join("data"));
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Makes the database one of version 4, as an earlier build left it.
fn age(sandbox: &Sandbox) {
    sandbox
        .database()
        .execute_batch(&format!(
            "{TO_VERSION_5} DROP TABLE incarnations; PRAGMA user_version = 4"
        ))
        .unwrap();
}

#[test]
fn a_wrong_folder_is_an_error_and_nothing_is_made_in_it() {
    let sandbox = Sandbox::new();
    let commands: [&[&str]; 10] = [
        &["key", "create", "x"],
        &["key", "list"],
        &["key", "export"],
        &["subscription", "add", "email", "on-call@example.com"],
        &["subscription", "list"],
        &["subscription", "test"],
        &["host", "list"],
        &["host", "show", "web-01"],
        &["host", "pause", "web-01"],
        &["host", "forget", "web-01"],
    ];
    for folder_is_there in [false, true] {
        if folder_is_there {
            fs::create_dir(sandbox.path().join("data")).unwrap();
        }
        for args in commands {
            let done = sandbox.run(args);
            let said = format!(
                "hb: no heartbeat database in {} (is this the right folder?)\n    `hb serve` makes one, and so does `hb migrate`;",
                sandbox.path().join("data").display()
            );
            assert_eq!((done.code, done.stdout.as_str()), (3, ""), "{args:?}");
            assert!(done.stderr.starts_with(&said), "{}", done.stderr);
            assert_eq!(sandbox.path().join("data").exists(), folder_is_there);
            assert!(files(&sandbox).is_empty(), "{args:?}");
        }
    }
}

#[test]
fn migrate_makes_a_database_once_and_works_on_no_stage() {
    let sandbox = Sandbox::new();
    let made = sandbox.json(&["migrate"]);
    let path = made["database"].as_str().unwrap();
    assert!(path.ends_with("/data/heartbeat.db"), "{made}");
    assert_eq!(
        (&made["fromVersion"], &made["copy"]),
        (&json!(null), &json!(null))
    );
    let again = sandbox.run(&["migrate"]);
    assert!(
        again.stdout.ends_with(": nothing to do\n"),
        "{}",
        again.stdout
    );
    assert_eq!(sandbox.json(&["migrate"])["fromVersion"], made["version"]);
    assert_eq!(files(&sandbox), ["heartbeat.db"]);
    let on_stage = sandbox.hb(&["migrate", "--stage", "dev"]).output().unwrap();
    assert_eq!(on_stage.status.code(), Some(2));
}

#[tokio::test]
async fn an_older_database_is_migrated_only_after_its_server_has_stopped() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, &[]).await;
    let key = server.first_key();
    assert_eq!(server.beat(&key, BEAT).await.unwrap(), 200);
    // The tables of now, which the server uses.
    let database = sandbox.database();
    database.execute_batch("PRAGMA user_version = 4").unwrap();
    drop(database);
    let listed = sandbox.run(&["host", "list"]);
    assert_eq!(listed.code, 3);
    assert!(
        listed
            .stderr
            .contains("has schema version 4 and this hb needs ")
            && listed.stderr.contains("`hb migrate`"),
        "{}",
        listed.stderr
    );
    for command in [&["migrate"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let refused = sandbox.run(command);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(
            refused.stderr.contains(
                "is open in another process, so it cannot be migrated\n    stop every `hb serve`"
            ),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(server.beat(&key, BEAT).await.unwrap(), 200);
    server.kill();
    age(&sandbox);
    let server = Server::start(&sandbox, &[]).await;
    let log = server.stderr().join("\n");
    assert!(log.contains("migrated database"), "{log}");
    assert_eq!(server.beat(&key, BEAT).await.unwrap(), 200);
    assert_eq!(sandbox.json(&["host", "show", "web-01"])["state"], "up");
    server.stop().await;
    age(&sandbox);
    let migrated = sandbox.json(&["migrate"]);
    assert_eq!(migrated["fromVersion"], 4);
    let copy = PathBuf::from(migrated["copy"].as_str().unwrap());
    assert_eq!(
        files(&sandbox),
        [
            "canary.key",
            "first.key",
            "heartbeat-v4-2.db",
            "heartbeat-v4.db",
            "heartbeat.db"
        ]
    );
    let hosts = "SELECT count(*) FROM heartbeats WHERE host = 'web-01'";
    let copy = rusqlite::Connection::open(copy).unwrap();
    assert_eq!(copy.query_row(hosts, [], |row| row.get(0)), Ok(1));
}

#[tokio::test]
async fn a_database_that_is_swapped_under_the_server_is_an_error_until_it_is_restarted() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::with_database());
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    assert_eq!(server.beat(&key, BEAT).await.unwrap(), 200);
    let (own, kept) = (
        sandbox.path().join("data/heartbeat.db"),
        sandbox.path().join("kept.db"),
    );
    fs::rename(&own, &kept).unwrap();
    fs::copy(other.path().join("data/heartbeat.db"), &own).unwrap();
    let before = fs::read(&own).unwrap();
    eventually("a refusal", async || {
        (server.beat(&key, BEAT).await.unwrap() == 503).then_some(())
    })
    .await;
    eventually("a bad status", async || {
        (server.status().await.status() == 503).then_some(())
    })
    .await;
    let log = server.stderr().join("\n");
    assert!(
        log.contains("heartbeat.db was deleted or replaced while"),
        "{log}"
    );
    assert_eq!(server.stop().await.0, 0);
    assert_eq!(
        fs::read(&own).unwrap(),
        before,
        "the other one is untouched"
    );
}

#[tokio::test]
async fn doctor_tells_that_a_server_serves_another_database() {
    let (sandbox, other) = (Sandbox::with_database(), Sandbox::new());
    let server = Server::start(&other, &[]).await;
    let of_server = |sandbox: &Sandbox| {
        let done = sandbox.run(&["doctor", "--output", "json", "--url", &server.url]);
        let diagnosis: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
        let findings = diagnosis["findings"].as_array().unwrap().clone();
        findings
            .into_iter()
            .find(|finding| finding["thing"] == "server")
            .unwrap()
    };
    let found = of_server(&sandbox);
    assert_eq!(found["verdict"], "problem");
    let cause = found["cause"].as_str().unwrap();
    assert!(cause.contains("serves another database ("), "{cause}");
    assert!(found["nextStep"].as_str().unwrap().contains("--data-dir"));
    assert_eq!(of_server(&other)["verdict"], "ok");
    let status: serde_json::Value =
        serde_json::from_str(&server.status().await.text().await.unwrap()).unwrap();
    assert!(cause.contains(status["database"].as_str().unwrap()));
    assert_eq!(status["message"], "OK");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_others_may_write_is_refused_and_root_is_warned() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::with_database();
    let data = sandbox.path().join("data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    for command in [&["key", "list"][..], &["migrate"], &["serve"]] {
        let refused = sandbox.run(command);
        assert_eq!(refused.code, 3);
        assert!(
            refused
                .stderr
                .contains("/data is not safe: others may write it (mode 777)\n")
                && refused.stderr.contains("`chmod go-w`"),
            "{}",
            refused.stderr
        );
    }
    let doctor = sandbox.run(&["doctor"]);
    assert!(
        doctor.code == 1 && doctor.stdout.contains("is not safe"),
        "{}",
        doctor.stdout
    );
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let server = Server::start(&sandbox, &[]).await;
    let warned = server
        .stderr()
        .join("\n")
        .contains("warning: hb runs as root");
    assert_eq!(warned, rustix::process::geteuid().is_root());
}

/// Only root can make a folder of somebody else; others have nothing to hand over.
#[cfg(unix)]
#[tokio::test]
async fn what_root_makes_belongs_to_the_owner_of_the_folder() {
    use std::os::unix::fs::{MetadataExt, chown};
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let data = sandbox.path().join("data");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let server = Server::start(&sandbox, &[]).await;
    server.first_key();
    let files: Vec<_> = fs::read_dir(&data).unwrap().map(Result::unwrap).collect();
    let names: Vec<_> = files.iter().map(fs::DirEntry::file_name).collect();
    for name in ["heartbeat.db", "first.key", "canary.key"] {
        assert!(names.iter().any(|file| file == name), "{names:?}");
    }
    for file in files {
        let metadata = file.metadata().unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (NOBODY, NOBODY),
            "{file:?}"
        );
    }
}
