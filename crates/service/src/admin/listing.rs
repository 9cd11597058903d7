//! All hosts, page by page: the fleet is never in memory.

use std::collections::BTreeMap;

use hb_domain::{Heartbeat, HostKey, Timestamp};

use super::hosts::HostAdmin;
use super::view::{Covered, HostView, ListedState};
use crate::ports::{Cursor, Heard, PortError, PortResult, Segment, Unreadable, each_page};

/// A listing under way. Hosts come in the order of the store: by name in SQLite, in an order that stays the same on
/// AWS.
pub struct Listing<'a> {
    hosts: &'a HostAdmin,
    now: Timestamp,
    covered: Covered,
    open: BTreeMap<HostKey, ListedState>,
    unreadable: Vec<Unreadable>,
    /// Where the next page begins, unless that was the last.
    next: Option<Cursor>,
    ended: bool,
    /// The last host of the page before: more of its regions may follow.
    held: Option<(HostKey, Heartbeat)>,
}

impl HostAdmin {
    /// Begins a listing, after the host `after` if given.
    pub async fn listing(&self, after: Option<&HostKey>) -> PortResult<Listing<'_>> {
        let now = self.ports.clock.now();
        let covered = self.coverage(now).await?;
        let mut open = BTreeMap::new();
        let mut unreadable = Vec::new();
        each_page::<_, PortError, _>(
            |cursor| self.ports.ledger.open(Segment::WHOLE, cursor),
            |page| {
                open.extend(page.items.into_iter().map(|stored| {
                    let listed = ListedState::of(&stored.record, now);
                    (stored.record.key, listed)
                }));
                unreadable.extend(page.unreadable);
            },
        )
        .await?;
        let next = after.map(|host| self.ports.heartbeats.behind(host));
        Ok(Listing {
            hosts: self,
            now,
            covered,
            open,
            unreadable,
            next,
            ended: false,
            held: None,
        })
    }
}

impl Listing<'_> {
    /// Receivers whose record cannot be read: deadlines and blackouts leave them out.
    #[must_use]
    pub fn unreadable_receivers(&self) -> &[Unreadable] {
        &self.covered.unreadable
    }

    /// The next hosts, and what could not be read; `None` after the last.
    pub async fn next_page(&mut self) -> PortResult<Option<(Vec<HostView>, Vec<Unreadable>)>> {
        if self.ended {
            return Ok(None);
        }
        let page = self
            .hosts
            .ports
            .heartbeats
            .scan(Segment::WHOLE, self.next.take())
            .await?;
        let mut views = Vec::new();
        for Heard { key, heartbeat, .. } in page.items {
            if key.host.is_reserved() {
                continue;
            }
            self.held = match self.held.take() {
                Some((held, kept)) if held == key => Some((key, kept.merge(heartbeat))),
                Some(complete) => {
                    views.push(self.view(complete));
                    Some((key, heartbeat))
                }
                None => Some((key, heartbeat)),
            };
        }
        self.next = page.next;
        self.ended = self.next.is_none();
        if self.ended {
            let last = self.held.take();
            views.extend(last.map(|last| self.view(last)));
        }
        let mut unreadable = std::mem::take(&mut self.unreadable);
        unreadable.extend(page.unreadable);
        Ok(Some((views, unreadable)))
    }

    fn view(&mut self, (key, heartbeat): (HostKey, Heartbeat)) -> HostView {
        let listed = self.open.remove(&key);
        HostView::new(key, Some(heartbeat), listed, &self.covered, self.now)
    }
}
