//! E-mail against a mail server of a few lines.

use std::sync::{Arc, Mutex};

use hb_domain::{Endpoint, Protocol};
use hb_sqlite::{Content, Delivery, Sender, SmtpSender};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::notice_id;

/// A mail server and the lines it was told.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers `RCPT` with `recipient`; offers a login.
    async fn listen(recipient: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://user:p%40ss@{}", listener.local_addr().unwrap());
        let server = Self {
            url,
            heard: Arc::default(),
        };
        let heard = server.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                heard.lock().unwrap().push("CONNECTED".to_owned());
                tokio::spawn(converse(stream, recipient, heard.clone()));
            }
        });
        server
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join("\n")
    }
}

async fn converse(stream: TcpStream, recipient: &str, heard: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 test\r\n").await.unwrap();
    let (mut line, mut in_body) = (String::new(), false);
    while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
        heard.lock().unwrap().push(line.trim_end().to_owned());
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
        content: Content::Notice(Box::new(crate::common::notice(
            "web",
            1,
            hb_domain::Kind::Missing,
        ))),
        subscription: "on-call".parse().unwrap(),
        endpoint: Endpoint::parse(Protocol::Email, "on-call@example.org").unwrap(),
    }
}

#[tokio::test]
async fn a_notice_is_a_mail_that_can_be_recognised() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "Heartbeat <hb@example.com>").unwrap();
    sender.send(&delivery()).await.unwrap();
    let heard = server.heard();
    let id = notice_id("web", 1);
    for line in [
        // user and p@ss
        "AUTH PLAIN AHVzZXIAcEBzcw==",
        "MAIL FROM:<hb@example.com>",
        "RCPT TO:<on-call@example.org>",
        "From: Heartbeat <hb@example.com>",
        "To: on-call@example.org",
        &format!("Subject: [hb] web missing since 22:13 UTC ({id})"),
        "Date: Tue, 14 Nov 2023 22:13:20 +0000",
        &format!("Message-ID: <{id}.on-call@example.com>"),
        "Auto-Submitted: auto-generated",
        &format!("Idempotency-Key: {id}"),
        "Content-Type: text/plain; charset=utf-8",
        "look:      hb host show web",
    ] {
        assert!(heard.contains(line), "{line} in {heard}");
    }
}

#[tokio::test]
async fn a_connection_serves_several_mails() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "hb@example.com").unwrap();
    for _ in 0..3 {
        sender.send(&delivery()).await.unwrap();
        // The pool takes the connection back in a task of its own.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.heard().matches("CONNECTED").count(), 1);
    assert_eq!(server.heard().matches("Message-ID: <").count(), 3);
}

#[tokio::test]
async fn a_refusal_says_what_the_server_said() {
    let server = Server::listen("550 no such\u{7} mailbox").await;
    let sender = SmtpSender::new(&server.url, "hb@example.com").unwrap();
    let error = sender.send(&delivery()).await.unwrap_err().to_string();
    assert!(
        error.contains("550") && error.contains("no such mailbox") && !error.contains("p@ss"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error() {
    let sender = SmtpSender::new("smtp://127.0.0.1:1", "hb@example.com").unwrap();
    let error = sender.send(&delivery()).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_question_is_a_mail_with_the_command_that_answers_it() {
    let server = Server::listen("250 fine").await;
    let sender = SmtpSender::new(&server.url, "Heartbeat <hb@example.com>").unwrap();
    let token = crate::common::token();
    sender
        .send(&Delivery {
            content: Content::Question(token.clone()),
            ..delivery()
        })
        .await
        .unwrap();
    let heard = server.heard();
    for line in [
        "To: on-call@example.org",
        "Subject: [hb] Do you want to be told?",
        "Message-ID: <question.on-call@example.com>",
        &format!("hb subscription confirm --token {}", token.reveal()),
    ] {
        assert!(heard.contains(line), "{line} in {heard}");
    }
}
