//! The rules of Heartbeat, as functions of values and an instant.
//!
//! What a beat, a deadline, a transition and a notice are, and when one follows from another. Nothing here
//! does I/O, waits, asks for the time or for a random number: whoever calls passes those in.

mod access;
mod backoff;
mod beat;
mod decide;
mod entry;
mod host;
mod key;
pub mod limits;
mod notice;
mod pending;
mod subscription;
mod text;
mod time;

pub use access::{Denied, HostPrefix, HostPrefixError, Key, KeyName, KeyNameError, Scope};
pub use backoff::{pause, splay};
pub use beat::{Beat, Failure, Heartbeat, Interval, IntervalError, Message, Signal};
pub use decide::{Rules, deadline, decide, is_silent};
pub use entry::{Entry, Kind, Pause, PauseError, Settings, State, Transition};
pub use host::{Fleet, FleetError, HostId, HostIdError, HostKey, Region, RegionError};
pub use key::{KeyId, KeyIdError, Secret, SecretHash, Token, TokenError};
pub use notice::{Notice, NoticeHost, NoticeId, Severity};
pub use pending::{DeliveryPolicy, Pending, Phase, Publication};
pub use subscription::{
    Endpoint, EndpointError, Filter, Protocol, Subscription, SubscriptionId, SubscriptionIdError,
};
pub use text::{human_duration, human_time};
pub use time::{Timestamp, TimestampError};
