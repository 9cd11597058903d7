//! `hb send`.

use std::time::Duration;

use crate::support::{Answer, Done, HTML, Sandbox, Scripted, Server};

#[tokio::test]
async fn send_delivers_a_beat_with_status_and_message() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let send = |args: &[&str]| {
        let mut command = sandbox.hb(&[&["send", "web-01", "--url", &server.url], args].concat());
        Done::from(
            command
                .env("HB_API_KEY", server.first_key())
                .output()
                .unwrap(),
        )
    };
    let done = send(&["--interval", "5m"]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (0, "web-01 beats\n", "")
    );
    assert_eq!(
        sandbox.json(&["host", "show", "web-01"])["intervalMs"],
        300_000
    );
    let done = send(&[
        "--status",
        "fail",
        "--message",
        "disk full",
        "--output",
        "json",
    ]);
    assert_eq!(done.stdout, "{\"hostId\":\"web-01\",\"tries\":1}\n");
    assert!(sandbox.json(&["host", "show", "web-01"])["lastFailure"].is_string());
}

#[tokio::test]
async fn a_refused_beat_is_not_retried_and_has_a_next_step() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let key_file = sandbox.path().join("key");
    std::fs::write(&key_file, sandbox.key(&["--scope", "read"]) + "\n").unwrap();
    let args = [
        "send",
        "web-01",
        "--url",
        &server.url,
        "--key-file",
        key_file.to_str().unwrap(),
    ];
    let done = sandbox.run(&args);
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(
        done.stderr
            .starts_with("hb: the server refused the beat with 403: "),
        "{}",
        done.stderr
    );
    std::fs::write(&key_file, "hbk_typo").unwrap();
    assert_eq!(sandbox.run(&args).code, 2);
    assert_eq!(sandbox.run(&args[..4]).code, 2, "no key at all");
}

#[tokio::test]
async fn send_retries_until_the_server_is_back() {
    let sandbox = Sandbox::new();
    let mut server = Server::start(&sandbox, &[]).await;
    let (key, address) = (
        server.first_key(),
        server.url.strip_prefix("http://").unwrap().to_owned(),
    );
    server.kill();
    let nowhere = sandbox
        .hb(&["send", "web-01", "--url", &server.url, "--retries", "0"])
        .env("HB_API_KEY", &key)
        .output();
    assert_eq!(Done::from(nowhere.unwrap()).code, 5);
    let mut patient = sandbox.hb(&["send", "web-01", "--url", &server.url]);
    let patient = patient
        .env("HB_API_KEY", &key)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let _again = Server::start_by(sandbox.hb(&["serve", "--listen", &address])).await;
    let done = Done::from(patient.wait_with_output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("trying again in"), "{}", done.stderr);
    assert_eq!(sandbox.json(&["host", "show", "web-01"])["state"], "up");
}

const OK: Answer = (200, &[]);

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_retried_with_the_same_beat() {
    let sandbox = Sandbox::new();
    let service = Scripted::answering(&[
        (408, &[]),
        (429, &[("retry-after", "1")]),
        (500, &[]),
        (521, &[]),
        OK,
    ])
    .await;
    let done = Done::from(sandbox.send(&service.url, &[]).output().unwrap());
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "web-01 beats\n"),
        "{}",
        done.stderr
    );
    let beats = service.beats();
    assert!(
        beats.len() == 5 && beats.iter().all(|beat| *beat == beats[0]),
        "{beats:?}"
    );
    let pauses: Vec<_> = done
        .stderr
        .lines()
        .map(|line| line.rsplit_once("again in ").unwrap().1)
        .collect();
    let second: f32 = pauses[1].strip_suffix(" s").unwrap().parse().unwrap();
    assert!(
        pauses.len() == 4 && second >= 1.0,
        "Retry-After is kept: {pauses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_errors_are_not_retried() {
    let answers: [&'static [Answer]; 4] = [
        &[(400, &[]), OK],
        &[(401, &[("retry-after", "1")]), OK],
        &[(413, &[]), OK],
        &[(308, &[("location", "https://elsewhere.example.com/")]), OK],
    ];
    for answers in answers {
        let (sandbox, service) = (Sandbox::new(), Scripted::answering(answers).await);
        let done = Done::from(sandbox.send(&service.url, &[]).output().unwrap());
        assert_eq!(
            (done.code, service.beats().len()),
            (4, 1),
            "{}",
            done.stderr
        );
        assert!(
            answers[0].0 != 308 || done.stderr.contains("it redirects to https://elsewhere"),
            "{}",
            done.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_answer_of_the_service_counts() {
    let sandbox = Sandbox::new();
    let portal = Scripted::answering(&[
        (200, &[HTML]),
        (204, &[HTML]),
        (302, &[HTML, ("location", "http://login.example.com/")]),
        (403, &[HTML]),
        (511, &[HTML]),
        OK,
    ])
    .await;
    let done = Done::from(sandbox.send(&portal.url, &[]).output().unwrap());
    assert_eq!((done.code, portal.beats().len()), (0, 6), "{}", done.stderr);
    assert!(
        done.stderr
            .starts_with("hb: 200 OK is answered, not as the heartbeat service does"),
        "{}",
        done.stderr
    );
    let for_ever = Scripted::answering(&[(200, &[HTML])]).await;
    let done = Done::from(
        sandbox
            .send(&for_ever.url, &["--retries", "1"])
            .output()
            .unwrap(),
    );
    assert_eq!(
        (done.code, for_ever.beats().len()),
        (5, 2),
        "{}",
        done.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn send_gives_up_after_its_timeout() {
    let sandbox = Sandbox::new();
    // One server asks for a pause of an hour, the other never answers.
    let busy = Scripted::answering(&[(503, &[("retry-after", "3600")])]).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (url, tries) in [
        (&busy.url, "(tries: 1): the server answers 503"),
        (&silent, "(tries: "),
    ] {
        let done = Done::from(sandbox.send(url, &["--timeout", "2s"]).output().unwrap());
        assert_eq!(done.code, 5, "{}", done.stderr);
        assert!(done.stderr.contains(tries), "{}", done.stderr);
    }
}
