//! The contract of the ports on AWS's adapters, over two emulators that know nothing of each other.
#![expect(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]

mod cost;
mod dynoxide;
mod moto;
mod world;
