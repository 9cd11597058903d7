//! The router as clients see it, on memory adapters.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are tests, which clippy cannot see"
)]

mod answers;
mod bad_input;
mod forms;
mod hostile;
mod keys;
mod logs;
mod trouble;
mod world;
