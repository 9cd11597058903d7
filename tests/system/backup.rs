//! `hb backup` and `hb restore`: a drill with a server under load, and what they refuse.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::support::{Done, Sandbox, Server, Webhook, beat_all, client, eventually, pulse};

type Address = Arc<Mutex<Option<String>>>;

/// Sends the beats of new hosts until it is aborted, and notes those that are acknowledged.
async fn load(key: String, url: String, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    let client = client();
    for number in 0.. {
        let host = format!("load-{number}");
        let beat = client
            .post(format!("{url}/v1/heartbeat"))
            .header("x-api-key", &key)
            .body(format!(r#"{{"hostId": "{host}", "intervalMs": 3600000}}"#));
        if beat.send().await.is_ok_and(|answer| answer.status() == 200) {
            acknowledged.lock().unwrap().insert(host);
        }
    }
}

/// The id of the database that this server serves.
async fn database(server: &Server) -> String {
    let status = server.status().await.text().await.unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["database"].as_str().unwrap().to_owned()
}

/// Lets a host recover, and gives the ids of all notices about that so far, once there are `count`.
async fn recover(server: &Server, key: &str, webhook: &Webhook, count: usize) -> BTreeSet<String> {
    let body = r#"{"hostId": "gone-0", "intervalMs": 3600000}"#;
    assert_eq!(server.beat(key, body).await.unwrap(), 200);
    eventually("a recovery", async || {
        let ids: BTreeSet<_> = webhook
            .notices("recovered")
            .remove("gone-0")?
            .into_keys()
            .collect();
        (ids.len() >= count).then_some(ids)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_after_all_else_is_lost() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let mut server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let key = server.first_key();
    sandbox.json(&["subscription", "add", "http", &webhook.url()]);
    let address: Address = Arc::new(Mutex::new(Some(server.url.clone())));
    let of_pulse = address.clone();
    tokio::spawn(pulse(key.clone(), move || of_pulse.lock().unwrap().clone()));
    let gone: Vec<_> = (0..20).map(|number| format!("gone-{number}")).collect();
    let url = || Some(server.url.clone());
    beat_all(&key, url, gone.iter().map(|host| (host.as_str(), 1_000))).await;
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let loading = tokio::spawn(load(key.clone(), server.url.clone(), acknowledged.clone()));
    let announced =
        |kind: &str| -> BTreeSet<String> { webhook.notices(kind).into_keys().collect() };
    eventually("load and silent hosts", async || {
        let missing = announced("missing");
        let all = gone.iter().all(|host| missing.contains(host));
        let registered = announced("registered").len() > 100;
        (all && registered).then_some(())
    })
    .await;

    let before = acknowledged.lock().unwrap().clone();
    let (missing, registered) = (announced("missing"), announced("registered"));
    let file = sandbox.path().join("backup.db");
    let done = sandbox.run(&["backup", file.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    // After the backup: the restored database has not seen it.
    let old = recover(&server, &key, &webhook, 1).await;
    let old_database = database(&server).await;
    assert!(
        acknowledged.lock().unwrap().len() > before.len(),
        "the load went on"
    );
    loading.abort();
    address.lock().unwrap().take();
    server.kill();
    fs::remove_dir_all(sandbox.path().join("data")).unwrap();

    let verified = sandbox.json(&["restore", "--verify", file.to_str().unwrap()]);
    let restored = sandbox.json(&["restore", file.to_str().unwrap()]);
    assert_eq!(verified["rows"], restored["rows"]);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    *address.lock().unwrap() = Some(server.url.clone());
    assert_ne!(database(&server).await, old_database);
    let stored = sandbox.hosts();
    let lost: Vec<_> = before.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "acknowledged before the backup and lost: {lost:?}"
    );

    // The same transition, of the same epoch, is another notice than the one that receivers know.
    let both = recover(&server, &key, &webhook, 2).await;
    assert!(
        both.len() == 2 && both.is_superset(&old),
        "{both:?} {old:?}"
    );
    // And whatever else the sweep before this beat had to say was accepted before its notice.
    assert_eq!(
        server.beat(&key, r#"{"hostId": "marker"}"#).await.unwrap(),
        200
    );
    eventually("two more sweeps", async || {
        announced("registered").contains("marker").then_some(())
    })
    .await;
    for (kind, hosts) in [("missing", missing), ("registered", registered)] {
        let notices = webhook.notices(kind);
        let twice = |host: &&String| notices[*host].len() != 1;
        let twice: Vec<_> = hosts.iter().filter(twice).collect();
        assert!(twice.is_empty(), "announced twice as {kind}: {twice:?}");
    }
}

#[tokio::test]
async fn a_backup_is_piped_whole_or_fails_and_overwrites_nothing() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&[]);
    let file = sandbox.path().join("backup.db");
    let piped = sandbox.hb(&["backup", "-"]).output().unwrap();
    assert_eq!(piped.status.code(), Some(0));
    assert!(
        String::from_utf8(piped.stderr)
            .unwrap()
            .starts_with("backed up audit 2, incarnations 1, keys 1, ")
    );
    fs::write(&file, &piped.stdout).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        sandbox.json(&["restore", "--verify", path])["rows"]["keys"],
        1
    );

    let exists = sandbox.run(&["backup", path]);
    assert_eq!(exists.code, 2, "{}", exists.stderr);
    assert_eq!(fs::read(&file).unwrap(), piped.stdout);
    let mut closed = sandbox
        .hb(&["backup", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(closed.stdout.take());
    let closed = Done::from(closed.wait_with_output().unwrap());
    assert_eq!(closed.code, 3, "what was not written is no backup");
    let left: Vec<_> = fs::read_dir(sandbox.path().join("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_restore_waits_for_the_server_to_stop_and_keeps_what_was_there() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let file = sandbox.path().join("backup.db");
    let path = file.to_str().unwrap();
    assert_eq!(sandbox.run(&["backup", path]).code, 0);
    let key = server.first_key();
    assert_eq!(
        server.beat(&key, r#"{"hostId": "later"}"#).await.unwrap(),
        200
    );
    let refused = sandbox.run(&["restore", path]);
    assert_eq!(refused.code, 3);
    assert!(
        refused
            .stderr
            .contains("cannot be replaced\n    stop every `hb serve`"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        server.beat(&key, r#"{"hostId": "later"}"#).await.unwrap(),
        200
    );
    assert_eq!(server.stop().await.0, 0);
    for wrong in ["none.db", "data"] {
        let wrong = sandbox.path().join(wrong);
        let refused = sandbox.run(&["restore", wrong.to_str().unwrap()]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
    }
    assert_eq!(sandbox.json(&["host", "show", "later"])["state"], "up");
    let restored = sandbox.json(&["restore", path]);
    assert_eq!(sandbox.run(&["host", "show", "later"]).code, 1);
    let replaced = restored["replaced"].as_str().unwrap();
    let kept = sandbox.json(&["restore", "--verify", replaced]);
    assert!(kept["rows"]["heartbeats"].as_u64() > restored["rows"]["heartbeats"].as_u64());
}
