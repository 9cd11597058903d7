//! The whole system: the real binary, an empty environment, real sockets.
//!
//! Tests run in parallel, each with its own folder, ports and processes, and clean up after themselves. What the service
//! does in the background is polled for, with a generous limit.
#![expect(
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod admin;
mod arrows;
mod audit;
mod backup;
mod bad_input;
mod beat_to_notice;
mod chaos;
mod commands;
mod crash;
mod data_folder;
mod docs;
mod doctor;
mod feel;
mod fleets;
mod listener;
mod power_cut;
mod secrets;
mod send;
mod send_exec;
mod shared_requests;
mod signed_webhooks;
mod stop_and_start;
mod stuck_output;
mod support;
mod tls;
mod trouble;
#[cfg(target_os = "linux")]
mod watchers;
