//! For tests only, behind the feature `testing`: all ports in memory, and the contract suite of all adapters.

pub mod contract;
pub mod deliveries;
pub mod memory;
pub mod process;
