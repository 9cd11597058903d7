//! `hb send`.

use std::time::Duration;

use crate::support::{Done, Place, Server};

#[tokio::test]
async fn a_beat_is_sent_and_a_failing_one_says_why() {
    let place = Place::new();
    let server = Server::start(&place, &[]).await;
    let send = |args: &[&str]| {
        let mut command = place.hb(&[&["send", "web-01", "--url", &server.url], args].concat());
        Done::from(command.env("HB_API_KEY", server.first_key()).output().unwrap())
    };
    let done = send(&["--interval", "5m"]);
    assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (0, "web-01 beats\n", ""));
    assert_eq!(place.json(&["host", "show", "web-01"])["intervalMs"], 300_000);
    let done = send(&["--status", "fail", "--message", "disk full", "--output", "json"]);
    assert_eq!(done.stdout, "{\"hostId\":\"web-01\",\"tries\":1}\n");
    assert!(place.json(&["host", "show", "web-01"])["lastFailure"].is_string());
}

#[tokio::test]
async fn a_refusal_is_final_and_says_what_to_do() {
    let place = Place::new();
    let server = Server::start(&place, &[]).await;
    let key_file = place.path().join("key");
    std::fs::write(&key_file, place.key(&["--scope", "read"]) + "\n").unwrap();
    let args = ["send", "web-01", "--url", &server.url, "--key-file", key_file.to_str().unwrap()];
    let done = place.run(&args);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(done.stderr.starts_with("hb: the server refused the beat with 403: "), "{}", done.stderr);
    std::fs::write(&key_file, "hbk_typo").unwrap();
    assert_eq!(place.run(&args).code, 2);
    assert_eq!(place.run(&args[..4]).code, 2, "no key at all");
}

#[tokio::test]
async fn a_server_that_is_away_is_tried_again_until_it_is_back() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]).await;
    let (key, address) = (server.first_key(), server.url.strip_prefix("http://").unwrap().to_owned());
    server.kill();
    let nowhere = place
        .hb(&["send", "web-01", "--url", &server.url, "--retries", "0"])
        .env("HB_API_KEY", &key)
        .output();
    assert_eq!(Done::from(nowhere.unwrap()).code, 5);
    let mut patient = place.hb(&["send", "web-01", "--url", &server.url]);
    let patient = patient.env("HB_API_KEY", &key).stderr(std::process::Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _again = Server::start_by(place.hb(&["serve", "--listen", &address])).await;
    let done = Done::from(patient.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("trying again in"), "{}", done.stderr);
    assert_eq!(place.json(&["host", "show", "web-01"])["state"], "up");
}
