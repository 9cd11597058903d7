//! How the functions start and answer, measured between a Lambda Runtime API and a DynamoDB that answer at once.
//!
//! ```text
//! cargo build --release -p hb-lambda
//! cargo run --release -p hb-lambda --example measure target/release
//! ```
//!
//! Every start is a process of its own with nothing in its environment but what Lambda sets. What AWS adds, the network
//! above all, is not in it.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers"
)]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use hb_domain::{KeyId, Secret, Token};
use serde_json::json;

/// Processes started of each function.
const STARTS: usize = 20;
/// Events after the first one in each process.
const WARM: usize = 200;

fn main() {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/release".to_owned());
    let token = Token::new(KeyId::from_random([7; 7]), Secret::from_random([9; 32]));
    let beat = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/v1/heartbeat/web-01", "rawQueryString": "",
        "headers": {"x-api-key": token.reveal()}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": "POST", "path": "/v1/heartbeat/web-01"}, "stage": "$default"},
    });
    let dynamodb = dynamodb(&token);
    measure(
        &Path::new(&dir).join("ingest"),
        &beat.to_string(),
        &dynamodb,
        r#""statusCode":200"#,
    );
    measure(
        &Path::new(&dir).join("sweep"),
        "{}",
        &dynamodb,
        r#""failed":0"#,
    );
}

/// Starts `program` again and again, gives each process the `event` often, and prints what that took.
fn measure(program: &Path, event: &str, dynamodb: &str, expected: &str) {
    let (mut starts, mut firsts, mut warm, mut peaks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let began = Instant::now();
        let mut process = start(
            program,
            &listener.local_addr().unwrap().to_string(),
            dynamodb,
        );
        let mut api = BufReader::new(listener.accept().unwrap().0);
        request(&mut api).unwrap();
        starts.push(began.elapsed());
        firsts.push(invoke(&mut api, event, expected));
        warm.extend((0..WARM).map(|_| invoke(&mut api, event, expected)));
        peaks.push(peak_kib(&process));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    println!(
        "{}, {} bytes",
        program.display(),
        program.metadata().unwrap().len()
    );
    println!("  start to first invocation/next  {}", spread(starts));
    println!("  first invoke                    {}", spread(firsts));
    println!("  warm invoke                     {}", spread(warm));
    println!(
        "  peak memory                     {} KiB",
        peaks.into_iter().max().unwrap()
    );
}

fn start(program: &Path, api: &str, dynamodb: &str) -> Child {
    let mut command = Command::new(program);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", api),
            ("AWS_LAMBDA_FUNCTION_NAME", "measure"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_ENDPOINT_URL", dynamodb),
            ("HB_STAGE", "measure"),
            // One pass an invocation.
            ("HB_SWEEP_EVERY_S", "60"),
        ]);
    // AWS has its certificates in one file, Debian in hundreds; `SSL_CERT_FILE` names the one.
    command.envs(std::env::var_os("SSL_CERT_FILE").map(|file| ("SSL_CERT_FILE", file)));
    command.spawn().unwrap()
}

/// Answers the function's waiting request for an event, and takes its answer and its next request.
fn invoke(api: &mut BufReader<TcpStream>, event: &str, expected: &str) -> Duration {
    let began = Instant::now();
    let head = "lambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: 4102444800000\r\n\
                lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:123456789012:function:measure\r\n";
    respond(api.get_mut(), head, event);
    let (_, answer) = request(api).unwrap();
    let took = began.elapsed();
    assert!(answer.contains(expected), "{answer}");
    respond(api.get_mut(), "", "{}");
    request(api).unwrap();
    took
}

/// A DynamoDB with one key, no hosts, and no delay; gives its URL.
fn dynamodb(token: &Token) -> String {
    let key = json!({"Item": {
        "id": {"S": token.id().as_str()}, "name": {"S": "measure"}, "fleet": {"S": "main"}, "scope": {"S": "ingest"},
        "hash": {"B": BASE64.encode(token.secret().hash().as_bytes())}, "prefixes": {"L": []}, "created": {"N": "0"},
    }})
    .to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let key = key.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some((head, body)) = request(&mut stream) {
                    let of_keys = head.contains(".GetItem") && body.contains("-keys");
                    let answer = if of_keys {
                        &key
                    } else {
                        r#"{"Items": [], "Count": 0, "ScannedCount": 0}"#
                    };
                    respond(stream.get_mut(), "", answer);
                }
            });
        }
    });
    url
}

/// The next request on a connection: its head in small letters, but for values, and its body.
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
    // Whoever has gone does not want it.
    let _ = stream.write_all(whole.as_bytes());
}

/// The most memory that the process ever held (`VmHWM`, proc(5)).
fn peak_kib(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Median, and from least to most.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let millis = |place: usize| times[place].as_secs_f64() * 1_000.0;
    format!(
        "{:.2} ms ({:.2} to {:.2})",
        millis(times.len() / 2),
        millis(0),
        millis(times.len() - 1)
    )
}
