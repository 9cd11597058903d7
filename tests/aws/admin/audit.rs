//! Acts on a stage: by the principal of IAM, and what happens when nobody knows who that is.

use serde_json::Value;

use super::commands::{Ended, Service};
use super::{Deployed, run};

fn acts(stage: &Deployed) -> Vec<Value> {
    let list = ["audit", "list", "--output", "json"];
    let Ended {
        code,
        stdout,
        stderr,
    } = stage.hb(&list, "");
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn an_act_on_a_stage_has_the_arn_of_the_caller_and_needs_sts() {
    let Some(stage) = Deployed::new("audit") else {
        return;
    };
    let create = ["key", "create", "web"];
    assert_eq!(stage.hb(&create, "").code, 0);
    let listed = acts(&stage);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["act"], "key create");
    let who = listed[0]["who"].as_str().unwrap();
    assert!(who.starts_with("arn:aws:sts::123456789012:"), "{who}");

    // STS does not answer: the key is made and shown, and the command says that it is not recorded.
    let mut command = stage.command(&create);
    command.env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    let Ended {
        code,
        stdout,
        stderr,
    } = run(command, "");
    assert_eq!(code, 8, "{stderr}");
    assert!(stdout.starts_with("hbk_"));
    let said = "hb: done, but not recorded in the audit: key create ";
    assert!(stderr.contains(said), "{stderr}");
    assert!(
        stderr.contains("who did it is not known: the name of the caller is unavailable"),
        "{stderr}"
    );
    // What only reads needs no name.
    let mut command = stage.command(&["key", "list"]);
    command.env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    assert_eq!(run(command, "").code, 0);
    assert_eq!(acts(&stage), listed);
}
