//! The use cases of Heartbeat (record a beat, sweep, deliver, manage) and the ports they need.
//!
//! Everything here works on ports; which adapters stand behind them is chosen by the binaries.

pub mod codec;
pub mod ports;
