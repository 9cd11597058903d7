//! Every `sh` block of the pages is run, in its order: of usage and operations against a server, of the admin's pages
//! against its database, as `tests/aws` does against a stage.

use std::process::Command;

#[path = "../shared/pages.rs"]
mod pages;

use pages::{ADMIN, blocks};

use crate::support::{Done, Sandbox, Server, have};

#[tokio::test]
async fn the_commands_of_the_usage_page_work() {
    run_page("usage", 10).await;
}

#[tokio::test]
async fn the_commands_of_the_operations_page_work() {
    run_page("operations", 5).await;
}

async fn run_page(page: &str, at_least: usize) {
    if !have(&["sh", "curl", "wget"]) {
        return;
    }
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]).await;
    let blocks = blocks(page);
    assert!(
        blocks.len() >= at_least,
        "the page has its commands in `sh` blocks"
    );
    let header = format!("x-api-key: {}", server.first_key());
    std::fs::write(sandbox.path().join(".heartbeat.key"), header).unwrap();
    for block in blocks {
        let mut command = shell(&sandbox, &block);
        command.env("HOME", sandbox.path()).envs([
            ("HB_URL", server.url.as_str()),
            ("HB_API_KEY", &server.first_key()),
            ("HOSTNAME", "web-01"),
        ]);
        let done = Done::from(command.output().unwrap());
        assert_eq!(done.code, 0, "{block}\n{}{}", done.stdout, done.stderr);
        assert!(
            !block.contains("curl") || !done.stdout.contains("HTTP/1.1 4"),
            "{block}\n{}",
            done.stdout
        );
    }
}

#[tokio::test]
async fn the_commands_of_the_admin_pages_work() {
    if !have(&["sh"]) {
        return;
    }
    for page in ADMIN {
        let sandbox = Sandbox::new();
        let server = Server::start(&sandbox, &[]).await;
        let body = r#"{"hostId": "web-01"}"#;
        assert_eq!(server.beat(&server.first_key(), body).await.unwrap(), 200);
        for block in blocks(page) {
            let done = Done::from(shell(&sandbox, &block).output().unwrap());
            assert_eq!(
                done.code, 0,
                "{page}: {block}\n{}{}",
                done.stdout, done.stderr
            );
        }
    }
}

/// `sh` in the folder of a place, with `hb` on its path.
fn shell(sandbox: &Sandbox, block: &str) -> Command {
    let hb = std::path::Path::new(env!("CARGO_BIN_EXE_hb"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", hb.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command
        .args(["-ec", block])
        .current_dir(sandbox.path())
        .env_clear();
    command
        .env("PATH", path)
        .env("HB_DATA_DIR", sandbox.path().join("data"));
    command
}
