//! The adapters for AWS on emulators: the contract suite, what a sweep costs, and what it survives.
//!
//! `dynoxide` runs in this process and is always there. `moto` is a second opinion, and delivers from SNS to SQS: set
//! `HB_MOTO` to a Python with `moto[server]`, or `HB_MOTO_URL` to a server that runs.

mod contract;
mod cost;
mod dynoxide;
mod faults;
mod fleet;
mod merge;
mod moto;
mod sns;
