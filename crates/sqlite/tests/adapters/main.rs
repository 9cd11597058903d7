//! The adapters from outside: the contracts, deliveries, damaged databases, and what reaches the log.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod audit;
mod common;
mod contract;
mod deliveries;
mod digests;
mod spans;
mod trouble;
