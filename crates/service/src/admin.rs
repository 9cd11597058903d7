//! Administration of keys, subscriptions and hosts.

mod hosts;
mod keys;
mod listing;
mod subscriptions;
mod view;

pub use hosts::{HostAdmin, HostError};
pub use keys::{Created, KeyAdmin, KeyError, KeyRequest, Rotated};
pub use listing::Listing;
pub use subscriptions::{
    Added, InRegion, RegionalTopic, SubscribeError, Subscribed, SubscriptionAdmin, SubscriptionView,
};
pub use view::HostView;
