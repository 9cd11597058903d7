//! How a server ends, and several that begin at once.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Place, Server, eventually};

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_ends() {
    let place = Place::new();
    let server = Server::start(&place, &[]).await;
    let (key, address) = (server.first_key(), server.url.strip_prefix("http://").unwrap().to_owned());
    let body = r#"{"hostId": "web-01"}"#;
    let head = format!(
        "POST /v1/heartbeat HTTP/1.1\r\nhost: hb\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut slow = TcpStream::connect(&address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body.as_bytes()[..5]).await.unwrap();
    // An idle connection keeps nobody waiting.
    let _idle = TcpStream::connect(&address).await.unwrap();
    eventually("the slow request to be seen", async || (server.status().await.status() == 200).then_some(()))
        .await;
    assert!(Command::new("kill").arg(server.pid().to_string()).status().unwrap().success());
    eventually("the end of listening", async || TcpStream::connect(&address).await.is_err().then_some(()))
        .await;
    slow.write_all(&body.as_bytes()[5..]).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(server.ended().await, 0);
    assert_eq!(place.json(&["host", "show", "web-01"])["state"], "up");
}

#[tokio::test]
async fn servers_that_start_at_once_on_an_empty_folder_make_one_key() {
    let place = Place::new();
    let start = || Server::start(&place, &["--sweep-every", "1s"]);
    let (a, b, c) = tokio::join!(start(), start(), start());
    assert_eq!(place.keys().len(), 1);
    let printed =
        [&a, &b, &c].map(|server| server.stdout().iter().any(|line| line.trim().starts_with("hbk_")));
    assert_eq!(printed.iter().filter(|printed| **printed).count(), 1);
    // Any of them takes a beat, and between them they tell it once.
    let first = [&a, &b, &c].into_iter().zip(printed).find(|(_, printed)| *printed).unwrap().0;
    assert_eq!(b.beat(&first.first_key(), r#"{"hostId": "web-01"}"#).await.unwrap(), 200);
    let told = || {
        let lines = [&a, &b, &c].map(Server::stdout).concat();
        lines.iter().filter(|line| line.contains("web-01 is registered")).count()
    };
    eventually("the notice", async || (told() > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(told(), 1);
}
