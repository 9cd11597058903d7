//! What admins do: keys, subscriptions, hosts.

mod hosts;
mod keys;
mod listing;
mod subscriptions;

pub use hosts::{HostError, HostView, Hosts};
pub use keys::{Created, KeyError, KeyRequest, Manager, Rotated};
pub use listing::Listing;
pub use subscriptions::{
    Added, InRegion, RegionalTopic, SubscribeError, Subscribed, Subscribers, SubscriptionView,
};

use crate::ports::{Cursor, Page, PortResult, Unreadable};

/// All pages of a listing, one after the other.
pub async fn every_page<T, F>(
    mut turn: impl FnMut(Option<Cursor>) -> F,
) -> PortResult<(Vec<T>, Vec<Unreadable>)>
where
    F: Future<Output = PortResult<Page<T>>>,
{
    let (mut items, mut unreadable, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = turn(after).await?;
        items.extend(page.items);
        unreadable.extend(page.unreadable);
        after = page.next;
        if after.is_none() {
            return Ok((items, unreadable));
        }
    }
}
