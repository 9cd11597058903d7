//! Every `sh` block of the usage page is run, in its order, against a server.

use std::process::Command;

use crate::support::{Done, Place, Server, have};

/// The `sh` blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    page.split("```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn the_commands_of_the_usage_page_work() {
    if !have(&["sh", "curl", "wget"]) {
        return;
    }
    let place = Place::new();
    let server = Server::start(&place, &[]).await;
    let hb = std::path::Path::new(env!("CARGO_BIN_EXE_hb")).parent().unwrap();
    let path = format!("{}:{}", hb.display(), std::env::var("PATH").unwrap());
    let data = place.path().join("data").into_os_string().into_string().unwrap();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/usage.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() > 10, "the page has its commands in `sh` blocks");
    for block in blocks {
        let mut command = Command::new("sh");
        command.args(["-ec", &block]).env_clear().envs([
            ("PATH", path.as_str()),
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
