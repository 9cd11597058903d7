//! The rules of Heartbeat, as functions of values and an instant.
//!
//! What a beat, a deadline, a transition and a notice are, and when one follows from another. Nothing here
//! does I/O, waits, or asks for the time or a random number: callers pass those in.

#![warn(missing_docs)]

mod access;
mod acknowledgement;
mod act;
mod backoff;
mod beat;
mod breaker;
mod clock;
mod coverage;
mod decide;
mod delivery;
mod details;
mod digest;
mod endpoint;
mod entry;
mod filter;
mod flapping;
mod group;
mod host;
mod incarnation;
mod inquiry;
mod key;
pub mod limits;
mod maintenance;
mod message;
mod notice;
mod pending;
mod run;
mod schedule;
mod subscription;
mod text;
mod time;
mod timing;
mod transition;
mod webhook;
mod words;

pub use access::{
    Denied, HostPrefix, HostPrefixError, Key, KeyLimits, KeyName, KeyNameError, Scope,
};
pub use acknowledgement::{Acknowledgement, Note, NoteError};
pub use act::{Act, ActId, ActKind, Who};
pub use backoff::{Tries, jittered, pause, splay};
#[cfg(any(test, feature = "testing"))]
pub use beat::strategy;
pub use beat::{Beat, Failure, Heartbeat, Interval, IntervalError, Signal};
pub use breaker::{Breaker, Network, SilentHosts};
pub use clock::{ClockEvent, ClockStep, ProcessTime, Reading};
pub use coverage::{Blackout, CanaryPolicy, Coverage, Receiver, ReceiverHealth};
pub use decide::{Due, Rules, deadline, decide};
pub use details::{Details, Tag, TagError, TagName};
pub use digest::{Digest, DigestStage, Member, Reminder, digest_parts};
pub use endpoint::{Endpoint, EndpointError, Protocol, off_limits};
pub use entry::{Entry, HostSettings, Pause, PauseError};
pub use filter::{Filter, FilterError};
pub use flapping::Flapping;
pub use group::{FleetRecord, FleetSettings, GroupTime, GroupTimeError};
pub use host::{Fleet, FleetError, HostId, HostIdError, HostKey, Region, RegionError};
pub use incarnation::Incarnation;
pub use inquiry::{Inquiry, Regions, decide_among};
pub use key::{
    KeyId, KeyIdError, OpaqueError, Secret, SecretHash, Token, TokenError, credential, opaque,
};
pub use maintenance::{Maintenance, Times, Window, WindowError, WindowId, WindowIdError};
pub use message::{Message, printed};
pub use notice::{About, Notice, NoticeHost, NoticeId, NoticeIdError, Reader, Sent, Subject};
pub use pending::{Acceptance, DeliveryPolicy, Echoed, Pending, Phase, Publication};
pub use run::{Log, Run, RunId, RunIdError};
pub use schedule::{Schedule, ScheduleError, Zone, ZoneError};
pub use subscription::{
    ConfirmationToken, ConfirmationTokenError, Subscription, SubscriptionId, SubscriptionIdError,
    SubscriptionState,
};
pub use text::{human_duration, human_time, is_invisible, visible};
pub use time::{Timestamp, TimestampError};
pub use timing::{Grace, GraceError, Timing};
pub use transition::{Caveat, Kind, Severity, State, Transition};
pub use webhook::{Webhook, WebhookSecret, WebhookSecretError};
pub use words::UnknownWord;
