//! Receivers of webhooks can tell ours from a stranger's, and an admin sees which of them fail.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Received, Sandbox, Server, Webhook, eventually, have};

/// Whether the function that the page for users gives accepts a request.
fn is_accepted(secret: &str, received: &Received, body: &str) -> bool {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/subscription-management.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    let (_, function) = page.split_once("```python\n").unwrap();
    let (function, _) = function.split_once("\n```").unwrap();
    let call = "import json, sys\nasked = json.load(sys.stdin)\n\
                print(is_from_heartbeat(asked[0], asked[1], asked[2].encode()))";
    let mut python = Command::new("python3")
        .args(["-c", &format!("{function}\n{call}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = serde_json::json!([secret, received.headers, body]).to_string();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(asked.as_bytes()).unwrap();
    drop(stdin);
    let said = python.wait_with_output().unwrap();
    assert!(said.status.success());
    match String::from_utf8_lossy(&said.stdout).trim() {
        "True" => true,
        "False" => false,
        other => panic!("{other}"),
    }
}

/// Which of the secrets the receiver accepts the next test notice with.
async fn accepted(sandbox: &Sandbox, webhook: &Webhook, secrets: &[String]) -> Vec<bool> {
    let before = webhook.received().len();
    assert_eq!(sandbox.run(&["subscription", "test"]).code, 0);
    let received = eventually("the test notice", async || {
        webhook.received().get(before).cloned()
    })
    .await;
    assert_eq!(received.headers["webhook-id"], received.idempotency_key);
    let with = |secret: &String| is_accepted(secret, &received, &received.body);
    assert!(
        !secrets
            .iter()
            .any(|secret| is_accepted(secret, &received, "{}")),
        "another body was accepted"
    );
    secrets.iter().map(with).collect()
}

#[tokio::test]
async fn a_receiver_verifies_notices_with_the_secret_and_during_a_rotation_with_both() {
    if !have(&["python3"]) {
        return;
    }
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &[]).await;
    let url = webhook.url();
    let added = sandbox.json(&["subscription", "add", "http", &url]);
    let mut secrets = vec![added["secret"].as_str().unwrap().to_owned()];
    let again = sandbox.json(&["subscription", "add", "http", &url]);
    assert!(again.get("secret").is_none(), "it is shown once");
    assert_eq!(accepted(&sandbox, &webhook, &secrets).await, [true]);

    let rotated = sandbox.run(&["subscription", "rotate-secret", &url]);
    assert!(rotated.stderr.contains("the old one signs as well until "));
    secrets.push(rotated.stdout.trim().to_owned());
    assert_eq!(accepted(&sandbox, &webhook, &secrets).await, [true, true]);

    let id = added["id"].as_str().unwrap();
    let short = ["subscription", "rotate-secret", id, "--overlap", "1ms"];
    secrets.push(sandbox.json(&short)["secret"].as_str().unwrap().to_owned());
    let accepted = accepted(&sandbox, &webhook, &secrets).await;
    assert_eq!(accepted, [false, false, true]);

    let list = sandbox.run(&["subscription", "list", "--output", "json"]);
    let (_, log) = server.stop().await;
    for text in [list.stdout, log.join("\n")] {
        assert!(!text.contains("whsec_"), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(&secret[6..])));
    }
}

#[tokio::test]
async fn a_webhook_of_an_earlier_version_is_unsigned_until_it_gets_a_secret() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let _server = Server::start(&sandbox, &[]).await;
    let url = webhook.url();
    let id = sandbox.json(&["subscription", "add", "http", &url])["id"].clone();
    let earlier = "UPDATE subscriptions SET webhook = NULL";
    assert_eq!(sandbox.database().execute(earlier, []).unwrap(), 1);
    assert_eq!(sandbox.run(&["subscription", "test"]).code, 0);
    let received = eventually("a notice", async || webhook.received().pop()).await;
    assert!(!received.headers.contains_key("webhook-signature"));
    let list = sandbox.run(&["subscription", "list"]).stdout;
    assert!(list.contains("confirmed, unsigned"), "{list}");
    let doctor = sandbox.run(&["doctor"]).stdout;
    let next = format!("`hb subscription rotate-secret {}`", id.as_str().unwrap());
    assert!(doctor.contains(&next), "{doctor}");
    let rotated = sandbox.run(&["subscription", "rotate-secret", &url]);
    assert!(rotated.stderr.contains("not signed before"), "{rotated:?}");
    assert!(
        !sandbox
            .run(&["subscription", "list"])
            .stdout
            .contains("unsigned")
    );
}

#[tokio::test]
async fn a_subscription_that_fails_is_in_the_log_and_in_doctor_until_it_works() {
    let (sandbox, webhook) = (Sandbox::new(), Webhook::start().await);
    let server = Server::start(&sandbox, &[]).await;
    let id = sandbox.json(&["subscription", "add", "http", &webhook.url()])["id"].clone();
    let id = id.as_str().unwrap();
    webhook.answer_with(503);
    assert_eq!(sandbox.run(&["subscription", "test"]).code, 0);
    let line = async |part: String| {
        eventually(&part, async || {
            server
                .stderr()
                .into_iter()
                .find(|line| line.contains(&part))
        })
        .await
    };
    let fails = line(format!("WARN delivery to {id} fails: ")).await;
    assert!(fails.contains("503") && !fails.contains("/hook"), "{fails}");
    let doctor = sandbox.json(&["doctor", "--url", &server.url]);
    let cause = doctor["findings"].to_string();
    assert!(
        cause.contains(&format!("delivery to {id} (http) has failed for "))
            && cause.contains("notices that wait: 1, next try ")
            && cause.contains("503"),
        "{doctor}"
    );
    webhook.answer_with(200);
    line(format!("INFO delivery to {id} works again after ")).await;
    let doctor = sandbox.json(&["doctor", "--url", &server.url]).to_string();
    assert!(doctor.contains("1, without problems"), "{doctor}");
    let fails = server.stderr();
    let fails = fails.iter().filter(|line| line.contains(" fails: "));
    assert_eq!(fails.count(), 1, "once, not once a try");
}

#[tokio::test]
async fn a_webhook_that_leads_off_limits_is_refused_when_it_is_added_and_when_it_is_sent_to() {
    let sandbox = Sandbox::new();
    let _server = Server::start(&sandbox, &[]).await;
    let add = |url, options: &[&str]| {
        let args = [&["subscription", "add", "http", url], options].concat();
        sandbox.run(&args)
    };
    let refused = add("http://169.254.169.254/s3cret", &[]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("add --allow-private") && !refused.stderr.contains("s3cret"),
        "{}",
        refused.stderr
    );
    // As an earlier version would have stored it.
    assert_eq!(add("http://0.0.0.0:9/", &["--allow-private"]).code, 0);
    let earlier = "UPDATE subscriptions SET webhook = NULL";
    assert_eq!(sandbox.database().execute(earlier, []).unwrap(), 1);
    assert_eq!(sandbox.run(&["subscription", "test"]).code, 0);
    let error = eventually("a failed delivery", async || {
        let list = sandbox.json(&["subscription", "list"]);
        let error = list[0]["deliveries"]["last_error"].as_str();
        error.map(ToOwned::to_owned)
    })
    .await;
    assert!(
        error.starts_with("0.0.0.0 is an unspecified address, "),
        "{error}"
    );
}
