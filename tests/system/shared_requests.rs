//! The requests that all front ends answer alike, against the local server.

#[path = "../shared/requests.rs"]
mod requests;

use data_encoding::BASE64;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use self::requests::{Case, Stored};
use crate::support::{Sandbox, Server};

async fn send(server: &Server, case: &Case, key: &str) {
    let (method, target) = case.line();
    let method: Method = method.parse().unwrap();
    let mut request = server
        .client
        .request(method, format!("{}{target}", server.url));
    for (name, value) in case.headers(key) {
        request = request.header(name, value);
    }
    let bytes = case
        .body_base64
        .as_ref()
        .map(|body| BASE64.decode(body.as_bytes()).unwrap());
    let body = bytes.or(case.text().map(String::into_bytes)).unwrap();
    let answer = request.body(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    let headers = answer.headers().iter().map(text).collect();
    case.check(false, status, &headers, &answer.text().await.unwrap());
}

/// What is stored of all hosts, in order.
fn stored(sandbox: &Sandbox) -> Vec<Stored> {
    let database = sandbox.database();
    let mut query = database
        .prepare(
            "SELECT host, signal, interval, message FROM heartbeats WHERE host NOT LIKE 'hb:%' ORDER BY host",
        )
        .unwrap();
    let row = |row: &rusqlite::Row| {
        let signal = if row.get::<_, i64>(1)? == 0 {
            "ok"
        } else {
            "fail"
        };
        let (host, interval_ms, message) = (row.get(0)?, row.get(2)?, row.get(3)?);
        Ok(Stored {
            host,
            signal: signal.to_owned(),
            interval_ms,
            message,
        })
    };
    query
        .query_map([], row)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn the_local_server_answers_the_shared_requests() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let (ingest, prefixed, read) = (
        server.first_key(),
        sandbox.key(&["--host-prefix", "web"]),
        sandbox.key(&["--scope", "read"]),
    );
    let typo = format!("{ingest}x");
    let cases = requests::cases();
    for case in cases.iter().filter(|case| case.arrives(false, false)) {
        let key = match case.key.as_str() {
            "prefixed" => &prefixed,
            "read" => &read,
            "typo" => &typo,
            _ => &ingest,
        };
        send(&server, case, key).await;
    }
    let mut expected: Vec<_> = cases.iter().filter_map(|case| case.stored(false)).collect();
    expected.sort();
    assert_eq!(stored(&sandbox), expected);
}
