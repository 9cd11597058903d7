//! Every `sh` block of the pages for users is run, in its order, against a server.

use std::process::Command;

use crate::support::{Done, Place, Server, have};

/// The `sh` blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    page.split("```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn the_commands_of_the_usage_page_work() {
    run_page("usage.md", 10).await;
}

#[tokio::test]
async fn the_commands_of_the_operations_page_work() {
    run_page("operations.md", 5).await;
}

async fn run_page(page: &str, at_least: usize) {
    if !have(&["sh", "curl", "wget"]) {
        return;
    }
    let place = Place::new();
    let server = Server::start(&place, &[]).await;
    let hb = std::path::Path::new(env!("CARGO_BIN_EXE_hb")).parent().unwrap();
    let path = format!("{}:{}", hb.display(), std::env::var("PATH").unwrap());
    let data = place.path().join("data").into_os_string().into_string().unwrap();
    let page = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let blocks = blocks(&std::fs::read_to_string(page).unwrap());
    assert!(blocks.len() >= at_least, "the page has its commands in `sh` blocks");
    for block in blocks {
        let mut command = Command::new("sh");
        command.args(["-ec", &block]).env_clear().envs([
            ("PATH", path.as_str()),
            ("HOME", place.path().to_str().unwrap()),
            ("HB_URL", &server.url),
            ("HB_API_KEY", &server.first_key()),
            ("HB_DATA_DIR", &data),
            ("HOSTNAME", "web-01"),
        ]);
        let done = Done::from(command.output().unwrap());
        assert_eq!(done.code, 0, "{block}\n{}{}", done.stdout, done.stderr);
        assert!(!block.contains("curl") || !done.stdout.contains("HTTP/1.1 4"), "{block}\n{}", done.stdout);
    }
}
