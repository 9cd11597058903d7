//! Digests: built, completed whichever sweep began them, and their hosts released.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Digest, DigestStage, Entry, HostKey, NoticeId, digest_parts};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{PortResult, Stored, Version};
use crate::swap::{Update, swap, update};

/// Notices that were given to a digest which does not list them.
pub(super) struct Orphans {
    /// What can be delivered now.
    pub(super) ready: Vec<Stored>,
    pub(super) result: Result<(), Stop>,
}

impl Pass<'_> {
    /// Builds digests of these entries, whose pending notices are all of one fleet and kind, and publishes them.
    pub(super) async fn batch(
        &self,
        group: Vec<Stored>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let versions: HashMap<_, _> = group
            .iter()
            .map(|stored| (&stored.record.key, stored.version))
            .collect();
        let entries: Vec<_> = group.iter().map(|stored| &stored.record).collect();
        let mut result = Ok(());
        for part in digest_parts(&entries) {
            if self.in_time().is_err() {
                return result.and(Err(Stop::OutOfTime));
            }
            let id = NoticeId::of_bytes(self.sweep.ports.ids.random());
            let Some(digest) = Digest::new(id, &part, self.sweep.ports.clock.now()) else {
                continue;
            };
            let stored = match swap(&self.sweep.ports, digest, None).await {
                Ok(Ok(stored)) => stored,
                // Another sweep has drawn the same id: the next sweep draws a new one.
                Ok(Err(_)) => continue,
                Err(error) => return result.and(Err(error.into())),
            };
            let join = async |entry: Entry| {
                let version = versions.get(&entry.key).copied();
                self.join(&stored.record.id, entry, version).await
            };
            let joined = self.each(part.into_iter().cloned(), report, join).await;
            let built = self.advance(stored.clone(), true, report).await;
            result = result.and(joined).and(built);
        }
        result
    }

    /// Moves the notice of `entry` into a digest.
    async fn join(
        &self,
        digest: &NoticeId,
        entry: Entry,
        version: Option<Version>,
    ) -> PortResult<Vec<Step>> {
        let Some(batched) = entry.batched(digest, self.sweep.ports.clock.now()) else {
            return Ok(vec![]);
        };
        Ok(match swap(&self.sweep.ports, batched, version).await? {
            Ok(_) => vec![Step::Batched],
            Err(_) => vec![Step::LostRace],
        })
    }

    /// Completes the digests that are not closed yet; those that may have been accepted only when all `echoes` were read.
    pub(super) async fn digests(&self, echoes: bool, report: &mut SweepReport) -> Result<(), Stop> {
        let mut result = Ok(());
        let open = self.open::<Digest>(report).await?;
        for stored in open
            .into_iter()
            .filter(|stored| echoes || !stored.record.is_in_doubt())
        {
            if self.in_time().is_err() {
                return result.and(Err(Stop::OutOfTime));
            }
            result = result.and(self.advance(stored, false, report).await);
        }
        result
    }

    /// Takes a digest through its stages, as far as possible now. `mine` when this sweep has let its hosts join.
    async fn advance(
        &self,
        mut digest: Stored<Digest>,
        mine: bool,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let ports = &self.sweep.ports;
        if digest.record.stage == DigestStage::Open {
            let policy = &self.sweep.settings.delivery;
            if !mine && !digest.record.is_abandoned(ports.clock.now(), policy) {
                return Ok(());
            }
            let entries = self.members(&digest.record, report).await?;
            let Some(frozen) = digest.record.frozen(&entries, ports.clock.now()) else {
                return Ok(());
            };
            match swap(ports, frozen, Some(digest.version)).await? {
                Ok(frozen) => digest = frozen,
                Err(_) => return report.count(Step::LostRace),
            }
        }
        if digest.record.stage == DigestStage::Ready {
            let (steps, after) = self.publish(digest).await?;
            let counted = steps.into_iter().try_for_each(|step| report.count(step));
            match after {
                Some(after) => digest = after,
                None => return counted,
            }
            counted?;
        }
        if digest.record.stage == DigestStage::Accepted {
            let release = async |key: HostKey| self.release(&digest.record, &key).await;
            self.each(digest.record.keys(), report, release).await?;
            let Some(closed) = digest.record.closed() else {
                return Ok(());
            };
            if swap(ports, closed, Some(digest.version)).await?.is_err() {
                return report.count(Step::LostRace);
            }
        }
        Ok(())
    }

    /// The current entries of a digest's hosts.
    async fn members(&self, digest: &Digest, report: &mut SweepReport) -> Result<Vec<Entry>, Stop> {
        let entries = Mutex::new(Vec::new());
        let load = async |key: HostKey| {
            let stored = self.sweep.ports.ledger.load(&key).await?;
            let entry = stored.map(|stored| stored.record);
            entries
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(entry);
            Ok(vec![])
        };
        self.each(digest.keys(), report, load).await?;
        let mut entries = entries.into_inner().unwrap_or_else(PoisonError::into_inner);
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    /// Takes the notice of a host back from a digest that was accepted.
    async fn release(&self, digest: &Digest, key: &HostKey) -> PortResult<Vec<Step>> {
        let rule = |entry: Option<Entry>| {
            entry
                .filter(|entry| entry.digest() == Some(&digest.id))
                .and_then(|entry| entry.released(Some(digest), self.sweep.ports.clock.now()))
                .ok_or(())
        };
        match update(&self.sweep.ports, key, rule).await? {
            Update::Done(_) | Update::Declined(..) => Ok(vec![]),
            // A closed digest lists no hosts: the notice of this one would be sent again.
            Update::Contended(error) => Err(error),
        }
    }

    /// Takes notices back from digests that are closed or do not list them.
    pub(super) async fn orphans(
        &self,
        open: &BTreeMap<HostKey, Stored>,
        report: &mut SweepReport,
    ) -> Orphans {
        let mut by_digest: BTreeMap<&NoticeId, Vec<Stored>> = BTreeMap::new();
        for stored in open.values() {
            if let Some(digest) = stored.record.digest() {
                by_digest.entry(digest).or_default().push(stored.clone());
            }
        }
        let ready = Mutex::new(Vec::new());
        let mut result = Ok(());
        for (id, hosts) in by_digest {
            let digest = match self.sweep.ports.digests.load(id).await {
                Ok(stored) => stored.map(|stored| stored.record),
                Err(error) => {
                    result = result.and(Err(error.into()));
                    continue;
                }
            };
            let release = async |stored: Stored| {
                let now = self.sweep.ports.clock.now();
                let Some(entry) = stored.record.released(digest.as_ref(), now) else {
                    return Ok(vec![]);
                };
                match swap(&self.sweep.ports, entry, Some(stored.version)).await? {
                    Err(_) => Ok(vec![Step::LostRace]),
                    Ok(released) => {
                        ready
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(released);
                        Ok(vec![])
                    }
                }
            };
            result = result.and(self.each(hosts, report, release).await);
        }
        Orphans {
            ready: ready.into_inner().unwrap_or_else(PoisonError::into_inner),
            result,
        }
    }
}
