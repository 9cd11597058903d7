//! `hb fleet`, and what its settings do to what people get.

use serde_json::json;

use crate::support::{Sandbox, Server, Webhook, beat_all, eventually, keep_heard};

#[test]
fn fleets_are_listed_shown_and_set() {
    let sandbox = Sandbox::with_database();
    sandbox.key(&["--fleet", "lab"]);
    let fleet = |wait: u32, interval: u32, name: &str| {
        json!({"fleet": name, "groupWaitMs": wait, "groupIntervalMs": interval, "repeatIntervalMs": 86_400_000,
               "tz": "UTC", "sent": {}, "reminded": null})
    };
    let default = |name: &str| fleet(30_000, 300_000, name);
    let listed = sandbox.json(&["fleet", "list"]);
    assert_eq!(listed, json!([default("lab"), default("main")]));
    let set = sandbox.json(&["fleet", "set", "main", "--group-wait", "0s"]);
    assert_eq!(set, fleet(0, 300_000, "main"));
    let set = sandbox.json(&["fleet", "set", "main", "--group-interval", "24h"]);
    assert_eq!(set, fleet(0, 86_400_000, "main"));
    let shown = sandbox.run(&["fleet", "show", "main"]);
    let text = "fleet           main\ngroup wait      0 s (default 30 s)\ngroup interval  1 d (default 5 min)\nrepeat          1 d (the default)\ntime zone       UTC\n";
    assert_eq!(shown.stdout, text);
    let both = ["--group-wait", "default", "--group-interval", "default"];
    let set = sandbox.json(&[&["fleet", "set", "main"][..], &both].concat());
    assert_eq!(set, default("main"));
    let berlin = sandbox.json(&["fleet", "set", "main", "--tz", "Europe/Berlin"]);
    assert_eq!(berlin["tz"], "Europe/Berlin");
    let set = sandbox.json(&["fleet", "set", "main", "--tz", "default"]);
    assert_eq!(set, default("main"));
    for wrong in [
        &["fleet", "set", "main"][..],
        &["fleet", "set", "main", "--tz", "Berlin"],
        &["fleet", "set", "main", "--group-wait", "31d"],
        &["fleet", "set", "main", "--group-wait", "5"],
        &["fleet", "set", "main", "--group-interval=-1s"],
        &["fleet", "set", "Main", "--group-wait", "5s"],
    ] {
        let done = sandbox.run(wrong);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{wrong:?}");
    }
    assert_eq!(sandbox.json(&["fleet", "show"]), default("main"));
    let acts = sandbox.json(&["audit", "list"]);
    let acts = acts.as_array().unwrap().iter();
    let acts: Vec<_> = acts.filter(|act| act["act"] == "fleet set").collect();
    assert_eq!(acts.len(), 5);
    assert_eq!(
        acts[1]["old"],
        json!({"groupWaitMs": 0, "groupIntervalMs": null, "repeatIntervalMs": null})
    );
    assert_eq!(acts[3]["new"]["tz"], "Europe/Berlin");
    assert_eq!(
        acts[1]["new"],
        json!({"groupWaitMs": 0, "groupIntervalMs": 86_400_000, "repeatIntervalMs": null})
    );
}

/// Seven registers of one restaurant, whose line is cut: they miss their deadlines one after the other, over several sweeps.
/// So does another restaurant; who subscribed to the first one hears nothing of it.
#[tokio::test]
async fn seven_registers_over_several_sweeps_are_one_message_down_and_at_most_two_back() {
    let sandbox = Sandbox::new();
    let (webhook, of_site) = (Webhook::start().await, Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let times = ["--group-wait", "8s", "--group-interval", "4s"];
    sandbox.json(&[&["fleet", "set", "main"][..], &times].concat());
    let (key, url) = (server.first_key(), server.url.clone());
    keep_heard(&key, &url);
    let (kinds, site) = (
        ["--kind", "missing,recovered"],
        ["--host-prefix", "restaurant-17/"],
    );
    sandbox.json(&[&["subscription", "add", "http", &webhook.url()][..], &kinds].concat());
    sandbox.json(
        &[
            &["subscription", "add", "http", &of_site.url()][..],
            &kinds,
            &site,
        ]
        .concat(),
    );
    let mut names: Vec<_> = (1..=7).map(|n| format!("restaurant-17/pos-{n}")).collect();
    names.push("restaurant-18/pos-1".to_owned());
    let intervals = (0..8).map(|n| 2_000 + 500 * n);
    let hosts = names.iter().map(String::as_str).zip(intervals);
    let alive = [("restaurant-17/office", 600_000)];
    beat_all(&key, || Some(url.clone()), hosts.chain(alive)).await;
    let all = async |kind: &str| {
        eventually(kind, async || {
            let told = (webhook.hosts(kind).len(), of_site.hosts(kind).len());
            (told == (8, 7)).then_some(())
        })
        .await;
    };
    all("missing").await;
    let long = names.iter().map(|name| (name.as_str(), 600_000));
    beat_all(&key, || Some(url.clone()), long).await;
    all("recovered").await;
    for webhook in [webhook, of_site] {
        let received = webhook.received();
        let of_kind = |kind: &str| -> Vec<_> {
            let texts = received.iter().filter(|one| one.notice["kind"] == kind);
            texts.map(|one| one.notice["text"].to_string()).collect()
        };
        let (missing, recovered) = (of_kind("missing"), of_kind("recovered"));
        assert_eq!(missing.len(), 1);
        assert!(
            missing[0].contains("restaurant-17 (7 of 8)"),
            "{}",
            missing[0]
        );
        assert!(recovered.len() <= 2, "{recovered:?}");
    }
}

#[tokio::test]
async fn people_are_reminded_of_what_nobody_acknowledged() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &["--sweep-every", "1s"]).await;
    let times = [
        "--group-wait=0s",
        "--group-interval=0s",
        "--repeat-interval=2s",
    ];
    sandbox.json(&[&["fleet", "set", "main"][..], &times].concat());
    sandbox.json(&[
        "subscription",
        "add",
        "http",
        &webhook.url(),
        "--kind",
        "missing",
    ]);
    let (key, url) = (server.first_key(), server.url.clone());
    keep_heard(&key, &url);
    beat_all(&key, || Some(url.clone()), [("a", 1_000), ("b", 1_000)]).await;
    let reminders = |hosts: usize, acknowledged: usize| {
        let received = webhook.received();
        let is_it = |notice: &serde_json::Value| {
            notice["reminder"] == json!({"more": 0, "acknowledged": acknowledged})
                && notice["count"] == hosts
        };
        received.iter().filter(|one| is_it(&one.notice)).count()
    };
    eventually("two reminders of both", async || {
        (reminders(2, 0) >= 2).then_some(())
    })
    .await;
    let shown = sandbox.json(&["host", "ack", "a", "--note", "on my way"]);
    assert_eq!(shown["acknowledged"]["note"], "on my way");
    eventually("a reminder of one", async || {
        (reminders(1, 1) >= 1).then_some(())
    })
    .await;
    let listed = sandbox.run(&["host", "list", "--status", "missing"]).stdout;
    assert!(listed.contains("missing, acked"), "{listed}");
    beat_all(&key, || Some(url.clone()), [("a", 600_000)]).await;
    eventually("a recovery ends it", async || {
        let shown = sandbox.json(&["host", "show", "a"]);
        (shown["state"] == "up" && shown["noticePending"] == false).then_some(())
    })
    .await;
    let shown = sandbox.json(&["host", "show", "a"]);
    assert!(shown.get("acknowledged").is_none(), "{shown}");
}
