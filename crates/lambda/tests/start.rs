//! How the programs report that they cannot start. `tests/aws/functions` tests what they do.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

use std::process::{Command, Stdio};

use serde_json::Value;

const PROGRAMS: [&str; 2] = [env!("CARGO_BIN_EXE_ingest"), env!("CARGO_BIN_EXE_sweep")];

/// The message of the only line that `program` logs when this `variable` is changed in a complete environment.
fn message(program: &str, variable: &str, value: Option<&str>) -> String {
    let mut command = Command::new(program);
    // Port 9 refuses connections.
    command.env_clear().stdin(Stdio::null()).envs([
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9"),
        ("AWS_LAMBDA_FUNCTION_NAME", "test"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
        ("HB_STAGE", "test"),
    ]);
    match value {
        Some(value) => command.env(variable, value),
        None => command.env_remove(variable),
    };
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{program} without {variable}"
    );
    assert!(output.stdout.is_empty());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains("hunter2hunter2"), "{log}");
    let line: Value =
        serde_json::from_str(&log).unwrap_or_else(|_| panic!("not one line of JSON: {log}"));
    assert_eq!(line["level"], "ERROR");
    line["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_function_that_cannot_start_logs_the_reason_in_one_line() {
    for program in PROGRAMS {
        for variable in [
            "HB_STAGE",
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_LAMBDA_RUNTIME_API",
        ] {
            let message = message(program, variable, None);
            assert!(
                message.starts_with("this function cannot start: "),
                "{message}"
            );
            assert!(message.contains(variable), "{message}");
        }
        let message = message(program, "HB_LOG", Some("loud"));
        assert!(
            message.contains(r#"HB_LOG is "loud"; expected one of off, error"#),
            "{message}"
        );
    }
    let message = message(PROGRAMS[1], "HB_SWEEP_EVERY_S", Some("5"));
    assert!(
        message.contains(r#"HB_SWEEP_EVERY_S is "5"; expected a whole number in 10..=60"#),
        "{message}"
    );
}
