//! A function as a process between a Lambda Runtime API and an AWS that answers at once and stores nothing.
//!
//! Shared by the tests and by `examples/measure.rs`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use hb_domain::{KeyId, Secret, Token};
use serde_json::{Value, json};

pub(crate) const STAGE: &str = "measure";
const ACCOUNT: &str = "arn:aws:dynamodb:eu-west-1:123456789012";

/// A key that [`Aws`] knows.
pub(crate) fn token() -> Token {
    Token::new(KeyId::from_random([7; 7]), Secret::from_random([9; 32]))
}

/// An HTTP event as an HTTP API sends it.
pub(crate) fn http_event(method: &str, path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {"x-api-key": token().reveal()}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
    })
}

/// DynamoDB, SNS and SQS with one API key, one echo of a host that does not exist, and optionally ten hosts of that key:
/// a silent one, and others whose last beat lies in the future.
pub(crate) struct Aws {
    pub(crate) url: String,
    /// Action and resource of each call, as IAM names them.
    pub(crate) calls: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl Aws {
    pub(crate) fn start(silent_host: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(BTreeSet::new()));
        let aws = Self {
            url: url.clone(),
            calls: calls.clone(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (url, calls) = (url.clone(), calls.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while let Some((head, body)) = request(&mut stream) {
                        let call = call(&head, &body);
                        let first = calls.lock().unwrap().insert(call.clone());
                        let answer = answer(&call, &body, &url, silent_host, first);
                        respond(stream.get_mut(), "", &answer);
                    }
                });
            }
        });
        aws
    }
}

/// The URL of a server that answers every request with success.
#[allow(dead_code, reason = "not every user of this module needs it")]
pub(crate) fn gateway() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            while request(&mut stream).is_some() {
                respond(stream.get_mut(), "", "{}");
            }
        }
    });
    url
}

/// Action and resource of a request.
fn call(head: &str, body: &str) -> (String, String) {
    let header = |name: &str| {
        let line = |line: &'_ str| {
            let (found, value) = line.split_once(": ")?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        };
        head.lines().find_map(line)
    };
    let last =
        |text: &str, separator: char| text.rsplit(separator).next().unwrap_or_default().to_owned();
    let Some(target) = header("x-amz-target") else {
        // SNS takes forms.
        let form: std::collections::BTreeMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes())
                .into_owned()
                .collect();
        return (
            format!("sns:{}", form["Action"]),
            last(&form["TopicArn"], ':'),
        );
    };
    let body: Value = serde_json::from_str(body).unwrap();
    let operation = last(&target, '.');
    if target.starts_with("AmazonSQS") {
        let queue = body["QueueName"].as_str().or(body["QueueUrl"].as_str());
        let action = operation.trim_end_matches("Batch");
        return (format!("sqs:{action}"), last(queue.unwrap(), '/'));
    }
    // A batch names its tables as the keys of its items.
    let batch = body["RequestItems"].as_object();
    let batch = batch.and_then(|tables| tables.keys().next().map(String::as_str));
    let mut resource = body["TableName"].as_str().or(batch).unwrap().to_owned();
    if let Some(index) = body["IndexName"].as_str() {
        resource = format!("{resource}/index/{index}");
    }
    (format!("dynamodb:{operation}"), resource)
}

fn answer(
    (action, resource): &(String, String),
    body: &str,
    url: &str,
    silent_host: bool,
    first: bool,
) -> String {
    let host = json!({
        "h": {"S": "main/web-01"}, "r": {"S": "eu-west-1"}, "l": {"N": "1700000000000"}, "i": {"N": "60000"},
        "f": {"N": "1600000000000"}, "k": {"S": token().id().as_str()},
    });
    let ahead = (2..=10).map(|number| {
        let mut ahead = host.clone();
        ahead["h"]["S"] = format!("main/web-{number:02}").into();
        ahead["l"]["N"] = "32503680000000".into();
        ahead
    });
    let beats = resource.ends_with("-heartbeats");
    let listed = match action.as_str() {
        "dynamodb:Scan" => silent_host && body.contains(r#""Segment":0"#),
        _ => silent_host && beats,
    };
    let echo = json!({"id": "K7Q2M9XA4T", "attempt": 1, "fleet": "main", "digest": false,
                      "hosts": [{"hostId": "unknown", "epoch": 1}]});
    let answer = match action.as_str() {
        "dynamodb:GetItem" if resource.ends_with("-keys") => key(),
        "dynamodb:GetItem" if body.contains("#fleet/main") => fleet(),
        "dynamodb:Scan" if listed => {
            json!({"Items": std::iter::once(host.clone()).chain(ahead).collect::<Vec<_>>()})
        }
        "dynamodb:Query" if listed => json!({"Items": [host]}),
        "dynamodb:Query" | "dynamodb:Scan" => json!({"Items": []}),
        "dynamodb:DescribeTable" => {
            json!({"Table": {"TableArn": format!("{ACCOUNT}:table/{resource}")}})
        }
        "sqs:GetQueueUrl" => json!({"QueueUrl": format!("{url}/123456789012/{resource}")}),
        "sqs:ReceiveMessage" if first && silent_host => {
            json!({"Messages": [{"MessageId": "1", "ReceiptHandle": "1", "Body": echo.to_string()}]})
        }
        "sqs:DeleteMessage" => json!({"Successful": [{"Id": "0"}], "Failed": []}),
        "sns:Publish" => {
            let result = "<PublishResult><MessageId>1</MessageId></PublishResult>";
            return format!("<PublishResponse>{result}</PublishResponse>");
        }
        "sns:GetTopicAttributes" => {
            let result = "<GetTopicAttributesResult><Attributes/></GetTopicAttributesResult>";
            return format!("<GetTopicAttributesResponse>{result}</GetTopicAttributesResponse>");
        }
        _ => json!({}),
    };
    answer.to_string()
}

/// Its notices leave with the sweep that decides them.
fn fleet() -> Value {
    let record = r#"{"fleet":"main","settings":{"groupWait":0,"groupInterval":0}}"#;
    json!({"Item": {
        "h": {"S": "#fleet/main"}, "entry": {"S": record}, "version": {"N": "1"}, "open": {"N": "19"},
        "writer": {"S": "00000000-0000-0000-0000-000000000007"},
    }})
}

fn key() -> Value {
    let token = token();
    let hash = BASE64.encode(token.secret().hash().as_bytes());
    json!({"Item": {
        "id": {"S": token.id().as_str()}, "name": {"S": "measure"}, "fleet": {"S": "main"}, "scope": {"S": "ingest"},
        "hash": {"B": hash}, "prefixes": {"L": []}, "created": {"N": "0"},
    }})
}

/// A running function: one execution environment.
pub(crate) struct Function {
    pub(crate) process: Child,
    api: BufReader<TcpStream>,
}

impl Function {
    /// Starts `program` and waits until it asks for its first event.
    pub(crate) fn start(program: &Path, aws: &Aws, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut command = Command::new(program);
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", STAGE),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
                ("AWS_REGION", "eu-west-1"),
                ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_SESSION_TOKEN", "token"),
                ("AWS_ENDPOINT_URL", aws.url.as_str()),
                ("HB_STAGE", STAGE),
            ])
            .envs(variables.iter().copied())
            // AWS has its certificates in one file, Debian in hundreds; `SSL_CERT_FILE` names the one.
            .envs(std::env::var_os("SSL_CERT_FILE").map(|file| ("SSL_CERT_FILE", file)));
        let process = command.spawn().unwrap();
        let mut api = BufReader::new(listener.accept().unwrap().0);
        request(&mut api).unwrap();
        Self { process, api }
    }

    /// Answers the function's pending request with an event; returns the function's answer.
    pub(crate) fn invoke(&mut self, event: &str) -> String {
        let head = "lambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: 4102444800000\r\n\
                    lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:123456789012:function:measure\r\n";
        respond(self.api.get_mut(), head, event);
        let (_, answer) = request(&mut self.api).unwrap();
        respond(self.api.get_mut(), "", "{}");
        request(&mut self.api).unwrap();
        answer
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The head and the body of the next request on a connection.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

fn respond(stream: &mut TcpStream, head: &str, body: &str) {
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    // A client that hung up needs no answer.
    let _ = stream.write_all(whole.as_bytes());
}
