//! The courier and its senders against web and mail servers on this machine.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod blocked;
mod common;
mod courier;
mod hook;
mod log;
mod signed;
mod smtp;
