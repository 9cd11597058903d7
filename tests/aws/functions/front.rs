//! The emulated account behind a socket, where requests are counted and can be held up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::dynoxide::{self, Account};
use crate::sns;

/// A socket before an account.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    account: Account,
    calls: Mutex<Vec<String>>,
    slow: Mutex<Option<(&'static str, Duration)>>,
}

impl Front {
    pub(crate) async fn of(account: &Account) -> Self {
        let shared = Arc::new(Shared {
            account: account.clone(),
            calls: Mutex::default(),
            slow: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let (listener, url) = listen().await;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// From now on each request for `operation` waits that long.
    pub(crate) fn slow(&self, operation: &'static str, wait: Duration) {
        *self.shared.slow.lock().unwrap() = Some((operation, wait));
    }

    /// The operations that were asked for since the last look, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.calls.lock().unwrap())
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn answer(
    shared: State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let operation = headers
        .get("x-amz-target")
        .and_then(|target| dynoxide::operation(target.to_str().unwrap()));
    let name = operation
        .clone()
        .unwrap_or_else(|| sns::form(&body)["Action"].clone());
    let slow = *shared.slow.lock().unwrap();
    shared.calls.lock().unwrap().push(name.clone());
    if let Some((_, wait)) = slow.filter(|(operation, _)| *operation == name) {
        tokio::time::sleep(wait).await;
    }
    let (status, body) = shared.account.answer(operation, body).await;
    (StatusCode::from_u16(status).unwrap(), body)
}

/// The URL of an SNS that answers `answers` requests, all on one connection if they come on one, and of each further
/// one does what it asks for and hangs up.
pub(crate) async fn sns_that_hangs_up(account: &Account, answers: usize) -> String {
    let (listener, url) = listen().await;
    let (account, left) = (account.clone(), Arc::new(Mutex::new(answers)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, account.clone(), left.clone()));
        }
    });
    url
}

async fn converse(mut stream: TcpStream, account: Account, left: Arc<Mutex<usize>>) {
    while let Some(body) = request(&mut stream).await {
        let (status, body) = account.answer(None, body).await;
        let more = {
            let mut left = left.lock().unwrap();
            let more = left.checked_sub(1);
            *left = more.unwrap_or_default();
            more
        };
        if more.is_none() {
            return;
        }
        let head = format!(
            "HTTP/1.1 {status} OK\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .unwrap();
    }
}

/// The body of the next request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .to_lowercase()
            .split("content-length:")
            .nth(1)?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()?;
        if body.len() >= length {
            return Some(body.to_owned());
        }
    }
}
