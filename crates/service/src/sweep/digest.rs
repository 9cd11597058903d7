//! Digests: built, brought to their end whoever began them, and their hosts released.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use hb_domain::{Digest, DigestStage, Entry, HostKey, NoticeId, digest_parts};

use super::report::Step;
use super::{Pass, Stop, SweepReport, all_open};
use crate::ports::{PortError, PortResult, Stored, Swap, Version};
use crate::swap::swap;

/// How often a host is released anew when its entry changed meanwhile, say by an admin.
const TRIES: u32 = 5;

/// Notices that their digests do not tell.
pub(super) struct Orphans {
    /// What can be delivered now.
    pub(super) ready: Vec<Stored>,
    pub(super) result: Result<(), Stop>,
}

impl Pass<'_> {
    /// Builds digests of these entries, of which all have a notice of one fleet and kind pending, and publishes them.
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
            let version = match swap(
                &*self.sweep.ports.digests,
                &*self.sweep.ports.ids,
                &digest,
                None,
            )
            .await
            {
                Ok(Swap::Done(version)) => version,
                // Somebody has drawn the same id: the next sweep draws another.
                Ok(Swap::Conflict(_)) => continue,
                Err(error) => return result.and(Err(error.into())),
            };
            let join = async |entry: Entry| {
                let version = versions.get(&entry.key).copied();
                self.join(&digest.id, entry, version).await
            };
            let joined = self.each(part.into_iter().cloned(), report, join).await;
            let built = self.advance(digest.clone(), version, true, report).await;
            result = result.and(joined).and(built);
        }
        result
    }

    /// Gives the notice of `entry` to a digest.
    async fn join(
        &self,
        digest: &NoticeId,
        entry: Entry,
        version: Option<Version>,
    ) -> PortResult<Vec<Step>> {
        let Some(batched) = entry.batched(digest, self.sweep.ports.clock.now()) else {
            return Ok(vec![]);
        };
        Ok(
            match swap(
                &*self.sweep.ports.ledger,
                &*self.sweep.ports.ids,
                &batched,
                version,
            )
            .await?
            {
                Swap::Done(_) => vec![Step::Batched],
                Swap::Conflict(_) => vec![Step::LostRace],
            },
        )
    }

    /// Brings the digests to their end that are not there yet; those that may have been accepted only when all echoes
    /// were `heard`.
    pub(super) async fn digests(&self, heard: bool, report: &mut SweepReport) -> Result<(), Stop> {
        let mut result = Ok(());
        let open = all_open(&*self.sweep.ports.digests, report).await?;
        for stored in open
            .into_iter()
            .filter(|stored| heard || !stored.record.is_in_doubt())
        {
            if self.in_time().is_err() {
                return result.and(Err(Stop::OutOfTime));
            }
            result = result.and(
                self.advance(stored.record, stored.version, false, report)
                    .await,
            );
        }
        result
    }

    /// Takes a digest from stage to stage, as far as it goes now. `mine` when its hosts had their chance to join.
    async fn advance(
        &self,
        digest: Digest,
        version: Version,
        mine: bool,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let (mut digest, mut version) = (digest, version);
        if digest.stage == DigestStage::Open {
            if !mine
                && !digest.is_abandoned(self.sweep.ports.clock.now(), &self.sweep.settings.delivery)
            {
                return Ok(());
            }
            let entries = self.members(&digest, report).await?;
            let Some(frozen) = digest.frozen(&entries, self.sweep.ports.clock.now()) else {
                return Ok(());
            };
            match swap(
                &*self.sweep.ports.digests,
                &*self.sweep.ports.ids,
                &frozen,
                Some(version),
            )
            .await?
            {
                Swap::Done(done) => (digest, version) = (frozen, done),
                Swap::Conflict(_) => return report.count(Step::LostRace),
            }
        }
        if digest.stage == DigestStage::Ready {
            let (steps, after) = self
                .publish(&*self.sweep.ports.digests, digest, version)
                .await?;
            let counted = steps.into_iter().try_for_each(|step| report.count(step));
            match after {
                Some(after) => (digest, version) = after,
                None => return counted,
            }
            counted?;
        }
        if digest.stage == DigestStage::Accepted {
            let release = async |key: HostKey| self.release(&digest, &key).await;
            self.each(digest.keys(), report, release).await?;
            let Some(closed) = digest.clone().closed() else {
                return Ok(());
            };
            if let Swap::Conflict(_) = swap(
                &*self.sweep.ports.digests,
                &*self.sweep.ports.ids,
                &closed,
                Some(version),
            )
            .await?
            {
                return report.count(Step::LostRace);
            }
        }
        Ok(())
    }

    /// The hosts of a digest as they are now.
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

    /// Takes the notice of a host back from a digest that was told.
    async fn release(&self, digest: &Digest, key: &HostKey) -> PortResult<Vec<Step>> {
        let mut stored = self.sweep.ports.ledger.load(key).await?;
        for _ in 0..TRIES {
            let Some(Stored {
                record: entry,
                version,
                ..
            }) = stored
            else {
                return Ok(vec![]);
            };
            if entry.digest() != Some(&digest.id) {
                return Ok(vec![]);
            }
            let Some(released) = entry.released(Some(digest), self.sweep.ports.clock.now()) else {
                return Ok(vec![]);
            };
            match swap(
                &*self.sweep.ports.ledger,
                &*self.sweep.ports.ids,
                &released,
                Some(version),
            )
            .await?
            {
                Swap::Done(_) => return Ok(vec![]),
                Swap::Conflict(current) => stored = current,
            }
        }
        // A digest that is closed lists nobody: this host would be told again.
        Err(PortError::unavailable(
            format!("{key} of table ledger"),
            "it goes on changing",
        ))
    }

    /// Takes notices back from digests that are over or do not list them.
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
                match swap(
                    &*self.sweep.ports.ledger,
                    &*self.sweep.ports.ids,
                    &entry,
                    Some(stored.version),
                )
                .await?
                {
                    Swap::Conflict(_) => Ok(vec![Step::LostRace]),
                    Swap::Done(version) => {
                        let again = Stored {
                            record: entry,
                            version,
                            writer: stored.writer,
                        };
                        ready
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(again);
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
