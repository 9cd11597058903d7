//! The use cases of Heartbeat (record a beat, sweep, deliver, administer) and the ports they need.
//!
//! Nothing here names a technology: the binaries choose the adapters behind the ports.

pub mod admin;
mod auth;
mod canary;
pub mod codec;
pub mod doctor;
mod health;
mod incarnation;
pub mod ports;
mod rate;
mod record;
mod refusals;
mod swap;
mod sweep;
#[cfg(feature = "system")]
pub mod system;
#[cfg(feature = "testing")]
pub mod testing;
mod trouble;

pub use auth::{AuthError, Authenticator, CachePolicy, Refusal};
pub use canary::{Caller, Canaries, CanaryError};
pub use health::{Health, Unhealthy};
pub use incarnation::incarnation;
pub use rate::RateLimit;
pub use record::{RecordError, Recorder};
pub use refusals::Refusals;
pub use sweep::{HostCounts, KindCounts, Stop, Sweep, SweepError, SweepReport, SweepSettings};
pub use trouble::Troubles;
