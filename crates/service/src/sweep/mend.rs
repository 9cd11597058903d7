//! Brings to now the instants that a wrong clock wrote.

use hb_domain::{Entry, Timestamp};

use super::Pass;
use super::open::OpenHosts;
use super::report::Step;
use crate::ports::{Heard, PortResult, Stored, Version};
use crate::swap::swap_many;

impl Pass<'_> {
    /// Brings to `now` the pauses that a wrong clock began.
    pub(super) async fn mend_pauses(
        &self,
        mut items: Vec<Stored>,
        now: Timestamp,
    ) -> PortResult<Vec<Stored>> {
        let (mut places, mut mended) = (Vec::new(), Vec::new());
        for (place, stored) in items.iter().enumerate() {
            if let Some(entry) = stored.record.with_mended_pause(now) {
                places.push(place);
                mended.push((entry, Some(stored.version)));
            }
        }
        let swapped = swap_many(&self.sweep.ports, mended).await;
        for (place, swapped) in places.into_iter().zip(swapped) {
            if let Ok(mended) = swapped? {
                items[place] = mended;
            }
        }
        Ok(items)
    }

    /// Brings the instants to now that a wrong clock wrote: all hosts of a page at once, since after a step of the clock
    /// most hosts of a fleet can have some. Those whose entry matters for that are left to
    /// [`confirm`](Pass::confirm).
    pub(super) async fn mend_quiet(
        &self,
        page: &[Heard],
        open: &OpenHosts,
        now: Timestamp,
    ) -> PortResult<()> {
        let quiet = |heard: &&Heard| {
            let beats = &heard.heartbeat;
            beats.is_ahead(now) && !open.is_mended_with_entry(&heard.key, beats, now)
        };
        let ahead: Vec<_> = page.iter().filter(quiet).cloned().collect();
        if ahead.is_empty() {
            return Ok(());
        }
        self.sweep.ports.heartbeats.mend(&ahead, now).await
    }

    /// Brings to `now` what a wrong clock wrote of hosts: of each the entry, if that is to be mended, the version that
    /// replaces, and the beats. The entries go first, while the order of their instants and those of the beats still
    /// shows what is accounted for. The next sweep decides.
    pub(super) async fn mend_hosts(
        &self,
        hosts: Vec<(Option<Entry>, Option<Version>, Vec<Heard>)>,
        now: Timestamp,
    ) -> Vec<Step> {
        if hosts.is_empty() {
            return Vec::new();
        }
        let (mut steps, mut ahead) = (Vec::new(), Vec::new());
        let (mut entries, mut beats) = (Vec::new(), Vec::new());
        for (entry, expected, heard) in hosts {
            match entry {
                Some(entry) => {
                    entries.push((entry, expected));
                    beats.push(heard);
                }
                None => ahead.extend(heard),
            }
        }
        let swapped = swap_many(&self.sweep.ports, entries).await;
        for (swapped, heard) in swapped.into_iter().zip(beats) {
            match swapped {
                Ok(Ok(_)) => ahead.extend(heard),
                Ok(Err(_)) => steps.push(Step::LostRace),
                Err(error) => steps.push(Step::Failed(error)),
            }
        }
        let mended = self.sweep.ports.heartbeats.mend(&ahead, now).await;
        steps.extend(mended.err().map(Step::Failed));
        steps
    }
}
