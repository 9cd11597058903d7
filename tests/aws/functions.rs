//! The functions as they are deployed: the real binaries, a Lambda Runtime API and emulated AWS over sockets.

mod bill;
mod events;
mod fleet_of_100_000;
mod front;
mod function;
mod gateways;
mod ingest;
#[path = "../shared/requests.rs"]
mod requests;
mod runtime_api;
mod sweep;
mod troubles;
mod unknown;
mod whole;

pub(crate) use function::program;
