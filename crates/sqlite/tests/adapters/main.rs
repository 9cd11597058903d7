//! The adapters from outside: the contract suite, the courier, mail, and databases that are not as they should be.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;
mod contract;
mod courier;
mod digests;
mod smtp;
mod trouble;
