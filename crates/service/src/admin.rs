//! What admins do: keys, subscriptions, hosts.

mod hosts;
mod keys;
mod listing;
mod subscriptions;

pub use hosts::{HostAdmin, HostError, HostView};
pub use keys::{Created, KeyAdmin, KeyError, KeyRequest, Rotated};
pub use listing::Listing;
pub use subscriptions::{
    Added, InRegion, RegionalTopic, SubscribeError, Subscribed, SubscriptionAdmin, SubscriptionView,
};
