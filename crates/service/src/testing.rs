//! For tests only, behind the feature `testing`: every port in memory, and the contract that all adapters keep.

pub mod contract;
pub mod memory;
