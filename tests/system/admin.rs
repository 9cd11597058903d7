//! The admin's commands on a local database, with the same expectations as on a deployed stage.

#[path = "../shared/admin.rs"]
mod commands;

use std::io::Write;
use std::process::Stdio;

use commands::{Ended, Service};

use crate::support::{Done, Sandbox};

impl Service for Sandbox {
    fn hb(&self, args: &[&str], stdin: &str) -> Ended {
        let mut command = self.hb(args);
        let mut hb = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Not every command reads it.
        let _ = hb.stdin.take().unwrap().write_all(stdin.as_bytes());
        let Done {
            code,
            stdout,
            stderr,
        } = hb.wait_with_output().unwrap().into();
        Ended {
            code,
            stdout,
            stderr,
        }
    }

    fn beat(&self, fleet: &str, host: &str) {
        let sql =
            "INSERT OR REPLACE INTO heartbeats (fleet, host, region, first, last, interval, signal)
            VALUES (?1, ?2, 'local', unixepoch() * 1000, unixepoch() * 1000, 600000, 0)";
        self.database().execute(sql, [fleet, host]).unwrap();
    }
}

#[test]
fn admin_commands_print_the_same_as_on_a_stage() {
    commands::run(&Sandbox::with_database());
}
