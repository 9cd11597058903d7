//! Administration of keys, subscriptions, fleets and hosts.

mod audit;
mod fleets;
mod hosts;
mod keys;
mod listing;
mod maintenance;
mod subscriptions;
mod view;

pub use audit::{Auditor, Unrecorded};
pub use fleets::FleetAdmin;
pub use hosts::{Expectation, HostAdmin, HostError};
pub use keys::{Created, Imported, KeyAdmin, KeyError, KeyRequest, Rotated};
pub use listing::Listing;
pub use maintenance::MaintenanceError;
pub use subscriptions::{
    Added, InRegion, RegionalTopic, RotateError, RotatedSecret, SubscribeError, Subscribed,
    SubscriptionAdmin, SubscriptionView,
};
pub use view::HostView;
