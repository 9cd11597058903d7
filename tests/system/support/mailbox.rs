//! A mail server that keeps all mails: as much of RFC 5321 as a client needs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Head and body of each mail.
type Mails = Arc<Mutex<Vec<String>>>;

pub(crate) struct Mailbox {
    address: SocketAddr,
    mails: Mails,
    task: JoinHandle<()>,
}

impl Mailbox {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, mails) = (listener.local_addr().unwrap(), Mails::default());
        let sink = mails.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = sink.clone();
                tokio::spawn(async move { session(stream, sink).await });
            }
        });
        Self {
            address,
            mails,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub(crate) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    /// The subjects of all mails that hold `word`.
    pub(crate) fn subjects(&self, word: &str) -> Vec<String> {
        let subject = |mail: &String| {
            mail.lines()
                .find_map(|line| line.strip_prefix("Subject: "))
                .map(ToOwned::to_owned)
        };
        self.mails()
            .iter()
            .filter_map(subject)
            .filter(|subject| subject.contains(&word.to_uppercase()))
            .collect()
    }
}

impl Mailbox {
    /// The token of the confirmation request.
    pub(crate) fn token(&self) -> Option<String> {
        let mails = self.mails();
        let behind = mails
            .iter()
            .find_map(|mail| mail.split_once("hb subscription confirm --token "))?
            .1;
        Some(behind.split_whitespace().next()?.to_owned())
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn session(stream: TcpStream, mails: Mails) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.example.com\r\n").await.ok()?;
    while let Some(line) = lines.next_line().await.ok()? {
        let answer: &[u8] = match line.get(..4).unwrap_or(&line).to_uppercase().as_str() {
            "EHLO" | "HELO" => b"250 mail.example.com\r\n",
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut mail = String::new();
                loop {
                    match lines.next_line().await.ok()?? {
                        end if end == "." => break,
                        line => {
                            mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                            mail.push('\n');
                        }
                    }
                }
                mails.lock().unwrap().push(mail);
                b"250 accepted\r\n"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await.ok()?;
                return Some(());
            }
            _ => b"250 ok\r\n",
        };
        write.write_all(answer).await.ok()?;
    }
    Some(())
}
