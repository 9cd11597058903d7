//! E-mail against a minimal mail server.

use std::sync::{Arc, Mutex};

use hb_delivery::{Sender, SmtpSender};
use hb_domain::{Endpoint, Kind, Notice, Protocol, Sent, Timestamp, Webhook};
use hb_service::ports::{Content, Delivery};
use hb_service::testing::contract::{notice, notice_id};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::token;

/// A mail server and the lines that it received.
struct Server {
    url: String,
    received: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers `RCPT` with `recipient`; offers a login.
    async fn listen(recipient: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://user:p%40ss@{}", listener.local_addr().unwrap());
        let server = Self {
            url,
            received: Arc::default(),
        };
        let received = server.received.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                received.lock().unwrap().push("CONNECTED".to_owned());
                tokio::spawn(converse(stream, recipient, received.clone()));
            }
        });
        server
    }

    fn received(&self) -> String {
        self.received.lock().unwrap().join("\n")
    }
}

async fn converse(stream: TcpStream, recipient: &str, received: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 test\r\n").await.unwrap();
    let (mut line, mut in_body) = (String::new(), false);
    while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
        received.lock().unwrap().push(line.trim_end().to_owned());
        let verb = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned();
        let answer = match verb.as_str() {
            "." => "250 kept",
            _ if in_body => "",
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "AUTH" => "235 welcome",
            "RCPT" => recipient,
            "DATA" => "354 go on",
            _ => "250 fine",
        };
        in_body = (in_body || verb == "DATA") && verb != ".";
        if !answer.is_empty() {
            stream
                .get_mut()
                .write_all(format!("{answer}\r\n").as_bytes())
                .await
                .unwrap();
        }
        line.clear();
    }
}

fn delivery() -> Delivery {
    Delivery {
        content: Content::Notice(Box::new(notice("web", 1, Kind::Missing))),
        subscription: "on-call".parse().unwrap(),
        endpoint: Endpoint::parse(Protocol::Email, "on-call@example.org").unwrap(),
        webhook: Webhook::default(),
    }
}

#[tokio::test]
async fn a_notice_is_an_email_with_its_id_and_headers() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "Heartbeat <hb@example.com>").unwrap();
    sender.send(&delivery(), Timestamp::MIN).await.unwrap();
    let received = server.received();
    let id = notice_id("web", 1);
    for line in [
        // user and p@ss
        "AUTH PLAIN AHVzZXIAcEBzcw==",
        "MAIL FROM:<hb@example.com>",
        "RCPT TO:<on-call@example.org>",
        "From: Heartbeat <hb@example.com>",
        "To: on-call@example.org",
        &format!("Subject: [hb] MISSING web since 22:13 UTC ({id})"),
        "Date: Tue, 14 Nov 2023 22:13:20 +0000",
        &format!("Message-ID: <{id}.1.on-call@example.com>"),
        "Auto-Submitted: auto-generated",
        &format!("Idempotency-Key: {id}"),
        "Content-Type: text/plain; charset=utf-8",
        "look closer     hb host show web",
    ] {
        assert!(received.contains(line), "{line} in {received}");
    }
}

#[tokio::test]
async fn a_recovery_is_a_reply_to_the_email_of_its_trouble() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "hb@example.com").unwrap();
    let earlier = notice_id("web", 1);
    let recovered = Notice {
        follows: Some(Sent {
            id: earlier.clone(),
            attempt: 2,
        }),
        attempt: 3,
        ..notice("web", 2, Kind::Recovered)
    };
    let delivery = Delivery {
        content: Content::Notice(Box::new(recovered)),
        ..delivery()
    };
    sender.send(&delivery, Timestamp::MIN).await.unwrap();
    let received = server.received();
    let id = notice_id("web", 2);
    for line in [
        format!("Message-ID: <{id}.3.on-call@example.com>"),
        format!("In-Reply-To: <{earlier}.2.on-call@example.com>"),
        format!("References: <{earlier}.2.on-call@example.com>"),
    ] {
        assert!(received.contains(&line), "{line} in {received}");
    }
}

#[tokio::test]
async fn a_connection_is_reused_for_several_emails() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "hb@example.com").unwrap();
    for _ in 0..3 {
        sender.send(&delivery(), Timestamp::MIN).await.unwrap();
        // The pool takes the connection back in a task of its own.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.received().matches("CONNECTED").count(), 1);
    assert_eq!(server.received().matches("Message-ID: <").count(), 3);
}

#[tokio::test]
async fn a_refusal_reports_the_servers_reply() {
    let server = Server::listen("550 no such\u{7} mailbox").await;
    let sender = SmtpSender::new(&server.url, "hb@example.com").unwrap();
    let error = sender
        .send(&delivery(), Timestamp::MIN)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("550") && error.contains("no such mailbox") && !error.contains("p@ss"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unreachable_server_is_an_error() {
    let sender = SmtpSender::new("smtp://127.0.0.1:1", "hb@example.com").unwrap();
    let error = sender
        .send(&delivery(), Timestamp::MIN)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_confirmation_email_has_the_command_that_confirms() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "Heartbeat <hb@example.com>").unwrap();
    let token = token();
    sender
        .send(
            &Delivery {
                content: Content::Confirmation(token.clone()),
                ..delivery()
            },
            Timestamp::MIN,
        )
        .await
        .unwrap();
    let received = server.received();
    for line in [
        "To: on-call@example.org",
        "Subject: Confirm your Heartbeat subscription",
        "Message-ID: <confirmation.1.on-call@example.com>",
        &format!("hb subscription confirm --token {}", token.reveal()),
    ] {
        assert!(received.contains(line), "{line} in {received}");
    }
}
