//! What is sent to AWS, call by call, and what is made of the answers: over an HTTP client in this process that
//! records requests and answers from a script.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod answers;
mod costs;
mod publish;
mod retries;
mod script;
mod subscribe;
