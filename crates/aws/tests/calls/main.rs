//! The requests to AWS, call by call, and how answers are interpreted, over a scripted HTTP client in this process.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod answers;
mod costs;
mod publish;
mod retries;
mod script;
mod spans;
mod subscribe;
