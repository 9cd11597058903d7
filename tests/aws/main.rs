//! The adapters for AWS on emulators: the contract suite, what a sweep costs, and what it survives.
//!
//! `dynoxide` runs in this process and is always there. `moto` is a second opinion, and delivers from SNS to SQS: set
//! `HB_MOTO` to a Python with `moto[server]`, or `HB_MOTO_URL` to a server that runs.
//!
//! The functions are run as they are deployed: build them before, `cargo build -p hb-lambda`.

mod admin;
mod contract;
mod cost;
mod doctor;
mod dynoxide;
mod faults;
mod fleet;
mod functions;
mod merge;
mod moto;
mod sns;
