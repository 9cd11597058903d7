//! Each function makes exactly the AWS calls that it has permission for.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use hb_aws::Stage;
use hb_lambda::facts::Function;
use support::{Aws, STAGE, http_event, token};

/// What `function` may call on the stage of the test.
fn allowed(function: Function) -> BTreeSet<(String, String)> {
    let stage = Stage::parse(STAGE).unwrap();
    let permissions = function.permissions().iter();
    permissions
        .map(|may| (may.operation.action().to_owned(), (may.resource)(&stage)))
        .collect()
}

#[test]
fn ingest_calls_what_it_has_permission_for_and_nothing_else() {
    let aws = Aws::start(false);
    let program = Path::new(env!("CARGO_BIN_EXE_ingest"));
    let mut ingest = support::Function::start(program, &aws, &[]);
    for (method, path) in [("POST", "/v1/heartbeat/web-01"), ("GET", "/v1/status")] {
        let answer = ingest.invoke(&http_event(method, path).to_string());
        assert!(answer.contains(r#""statusCode":200"#), "{answer}");
    }
    assert_eq!(*aws.calls.lock().unwrap(), allowed(Function::Ingest));
}

#[test]
fn sweep_calls_what_it_has_permission_for_and_nothing_else() {
    let aws = Aws::start(true);
    let program = Path::new(env!("CARGO_BIN_EXE_sweep"));
    let mut sweep = support::Function::start(program, &aws, &[]);
    let answer = sweep.invoke(r#"{"task": "sweep"}"#);
    assert!(answer.contains(r#""failed":0"#), "{answer}");
    assert_eq!(*aws.calls.lock().unwrap(), allowed(Function::Sweep));
}

/// `examples/measure.rs` panicked here: "queue hb-measure-echo is unavailable".
#[test]
fn a_sweep_of_no_hosts_finds_the_echo_queue_of_the_measurement() {
    let aws = Aws::start(false);
    let program = Path::new(env!("CARGO_BIN_EXE_sweep"));
    let mut sweep = support::Function::start(program, &aws, &[]);
    let answer = sweep.invoke("{}");
    assert!(answer.contains(r#""failed":0"#), "{answer}");
}

#[test]
fn canary_calls_what_it_has_permission_for_and_nothing_else() {
    let aws = Aws::start(false);
    let program = Path::new(env!("CARGO_BIN_EXE_sweep"));
    let gateway = support::gateway();
    let key = token().reveal();
    let variables = [
        ("HB_CANARY_URL", gateway.as_str()),
        ("HB_CANARY_KEY", key.as_str()),
    ];
    let mut canary = support::Function::start(program, &aws, &variables);
    let answer = canary.invoke(r#"{"task": "canary"}"#);
    assert!(answer.contains("blackoutSeconds"), "{answer}");
    assert_eq!(*aws.calls.lock().unwrap(), allowed(Function::Canary));
}
