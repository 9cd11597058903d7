//! Digests: built, completed whichever sweep began them, and their hosts released.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use hb_domain::{
    Digest, DigestStage, Entry, HostId, HostKey, Kind, NoticeId, Timestamp, digest_parts,
};

use super::deliver::Draft;
use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{PortResult, Segment, Stored, Version};
use crate::swap::{Update, swap, swap_many, update};

/// Notices that were given to a digest which does not list them.
pub(super) struct Orphans {
    /// What can be delivered now.
    pub(super) ready: Vec<Stored>,
    pub(super) result: Result<(), Stop>,
}

impl Pass<'_> {
    /// Builds digests of these entries, whose pending notices are all of one fleet, kind and severity, and publishes them. A claim
    /// is swapped in together with its digest.
    pub(super) async fn batch(
        &self,
        group: Vec<Draft>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let entries: Vec<_> = group.iter().map(Draft::entry).collect();
        let mut digests = Vec::new();
        for part in digest_parts(&entries) {
            let id = NoticeId::of_bytes(self.sweep.ports.ids.random());
            let digest = Digest::new(id, &part, self.sweep.ports.clock.now());
            digests.push((digest.map(|digest| self.with_sites(digest)), part.len()));
        }
        let mut rest = group.into_iter();
        let mut result = Ok(());
        for (digest, hosts) in digests {
            let part: Vec<_> = rest
                .by_ref()
                .take(hosts)
                .map(Draft::into_proposed)
                .collect();
            if self.in_time().is_err() {
                return result.and(Err(Stop::OutOfTime));
            }
            let Some(digest) = digest else { continue };
            let stored = match swap(&self.sweep.ports, digest, None).await {
                Ok(Ok(stored)) => stored,
                // Another sweep has drawn the same id: the next sweep draws a new one.
                Ok(Err(_)) => continue,
                Err(error) => return result.and(Err(error.into())),
            };
            let id = stored.record.id.clone();
            // The rest of the time is for the list, the publication and the release.
            let joining = self.with_share(1, 2);
            let (joined, result_of_joining) = joining.swap_in(part, Some(&id), report).await;
            let built = self.advance(stored, Some(joined), report).await;
            result = result.and(result_of_joining).and(built);
        }
        result
    }

    /// With how many hosts its sites have, as this pass counted them.
    pub(super) fn with_sites(&self, digest: Digest) -> Digest {
        let fleet = digest.fleet.clone();
        digest.with_sites(|site| self.sites.get()?.size(&fleet, site))
    }

    /// Completes the digests that are not closed yet; those that may have been accepted only when all `echoes` were read.
    ///
    /// Unless they were `searched` to the last one, they are for a digest in doubt: of a reminder no entry shows the doubt.
    pub(super) async fn digests(
        &self,
        echoes: bool,
        searched: bool,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let (mut result, mut after, mut doubtful) = (Ok(()), None, Vec::new());
        loop {
            let page = self.sweep.ports.digests.open(Segment::WHOLE, after).await?;
            for item in &page.unreadable {
                report.skip("table digests", item);
            }
            for stored in page.items {
                if stored.record.is_in_doubt() && !echoes {
                    continue;
                }
                if stored.record.is_in_doubt() && !searched {
                    doubtful.push(stored.record.id);
                    continue;
                }
                if self.in_time().is_err() {
                    return result.and(Err(Stop::OutOfTime));
                }
                result = result.and(self.advance(stored, None, report).await);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !doubtful.is_empty() {
            self.echoes(true, report).await?;
        }
        for id in doubtful {
            if let Some(stored) = self.sweep.ports.digests.load(&id).await? {
                result = result.and(self.advance(stored, None, report).await);
            }
        }
        result
    }

    /// Takes a digest through its stages, as far as possible now. `joined` are its hosts when this sweep has let them join;
    /// one of them that has changed since is as one that changes a moment later.
    pub(super) async fn advance(
        &self,
        mut digest: Stored<Digest>,
        mut joined: Option<Vec<Stored>>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let ports = &self.sweep.ports;
        let built_now = joined.is_some();
        if digest.record.stage == DigestStage::Open {
            let policy = &self.sweep.settings.delivery;
            if joined.is_none() && !digest.record.is_abandoned(ports.clock.now(), policy) {
                return Ok(());
            }
            let members = match joined.take() {
                Some(joined) => joined,
                None => self.members(&digest.record, report).await?.0,
            };
            let entries = members.iter().map(|stored| &stored.record);
            let Some(frozen) = digest.record.frozen(entries, ports.clock.now()) else {
                return Ok(());
            };
            joined = Some(members);
            match swap(ports, frozen, Some(digest.version)).await? {
                Ok(frozen) => digest = frozen,
                Err(_) => return report.count(Step::LostRace),
            }
        }
        if digest.record.stage == DigestStage::Ready {
            // This sweep has just looked at the hosts of those that it builds.
            if !built_now {
                digest.record = self.with_back(digest.record).await;
            }
            let (steps, after) = self.publish(digest).await?;
            let counted = steps.into_iter().try_for_each(|step| report.count(step));
            match after {
                Some(after) => digest = after,
                None => return counted,
            }
            counted?;
        }
        if digest.record.stage == DigestStage::Accepted {
            let (members, readable) = match joined {
                Some(joined) => (joined, true),
                None => self.members(&digest.record, report).await?,
            };
            let released = self.release_all(&digest.record, members, report).await?;
            // A closed digest lists no hosts: once its entry is restored, the notice of a host would be sent again.
            if !readable || !released {
                return Ok(());
            }
            let Some(closed) = digest.record.closed() else {
                return Ok(());
            };
            if swap(ports, closed, Some(digest.version)).await?.is_err() {
                return report.count(Step::LostRace);
            }
        }
        Ok(())
    }

    /// With a mark at each host that beats again, if it is to be sent now. What cannot be read is not marked.
    async fn with_back(&self, digest: Digest) -> Digest {
        let ports = &self.sweep.ports;
        let policy = &self.sweep.settings.delivery;
        let pending = digest.pending.as_ref();
        let ready = pending.is_some_and(|pending| pending.is_ready(ports.clock.now(), policy));
        if digest.kind != Kind::Missing || !ready {
            return digest;
        }
        let keys: Vec<_> = digest.keys().collect();
        let chunks = keys.chunks(self.part(keys.len()));
        let work: Vec<_> = chunks
            .map(|chunk| ports.heartbeats.load_many(chunk).boxed())
            .collect();
        let heard: Vec<_> = stream::iter(work)
            .buffer_unordered(self.sweep.settings.concurrency)
            .collect()
            .await;
        let heard = heard.into_iter().flatten().flatten().flatten();
        let mut last: HashMap<HostId, Timestamp> = HashMap::new();
        for heard in heard {
            let last = last.entry(heard.key.host).or_insert(Timestamp::MIN);
            *last = heard.heartbeat.last.max(*last);
        }
        digest.with_back(|host| last.get(host).copied())
    }

    /// The current entries of a digest's hosts, by their keys, and whether all can be read.
    async fn members(
        &self,
        digest: &Digest,
        report: &mut SweepReport,
    ) -> Result<(Vec<Stored>, bool), Stop> {
        let keys: Vec<_> = digest.keys().collect();
        let parts = keys.chunks(self.part(keys.len()));
        let work: Vec<_> = parts.map(|keys| self.load_members(keys).boxed()).collect();
        let mut parts = stream::iter(work).buffered(self.sweep.settings.concurrency);
        let (mut members, mut readable) = (Vec::with_capacity(keys.len()), true);
        while let Some(part) = parts.next().await {
            for loaded in part? {
                match loaded {
                    Ok(stored) => members.extend(stored),
                    Err(error) => {
                        readable = false;
                        report.count(Step::Failed(error))?;
                    }
                }
            }
        }
        drop(parts);
        Ok((members, readable))
    }

    async fn load_members(
        &self,
        keys: &[HostKey],
    ) -> Result<Vec<PortResult<Option<Stored>>>, Stop> {
        self.in_time()?;
        Ok(self.sweep.ports.ledger.load_many(keys).await)
    }

    /// Takes the notices of all hosts back from a digest that was accepted. Returns whether none is left that cannot be
    /// read.
    async fn release_all(
        &self,
        digest: &Digest,
        members: Vec<Stored>,
        report: &mut SweepReport,
    ) -> Result<bool, Stop> {
        let now = self.sweep.ports.clock.now();
        let released = members.into_iter().filter_map(|stored| {
            let entry = Some(stored.record).filter(|entry| entry.digest() == Some(&digest.id))?;
            Some((entry.released(Some(digest), now)?, Some(stored.version)))
        });
        let released: Vec<_> = released.collect();
        let parts: Vec<_> = released
            .chunks(self.part(released.len()))
            .map(<[_]>::to_vec)
            .collect();
        let all = AtomicBool::new(true);
        let release = async |part: Vec<(Entry, Option<Version>)>| {
            let keys: Vec<_> = part.iter().map(|(entry, _)| entry.key.clone()).collect();
            let swapped = swap_many(&self.sweep.ports, part).await;
            for (key, swapped) in keys.iter().zip(swapped) {
                let released = match swapped {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) => self.release(digest, key).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = released {
                    all.store(false, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(vec![])
        };
        self.each(parts, report, release).await?;
        Ok(all.load(Ordering::Relaxed))
    }

    /// Takes the notice of a host back from a digest that was accepted.
    async fn release(&self, digest: &Digest, key: &HostKey) -> PortResult<()> {
        let rule = |entry: Option<Entry>| {
            entry
                .filter(|entry| entry.digest() == Some(&digest.id))
                .and_then(|entry| entry.released(Some(digest), self.sweep.ports.clock.now()))
                .ok_or(())
        };
        match update(&self.sweep.ports, key, rule).await? {
            Update::Done(_) | Update::Declined(..) => Ok(()),
            // A closed digest lists no hosts: the notice of this one would be sent again.
            Update::Contended(error) => Err(error),
        }
    }

    /// Takes notices back from digests that are closed or do not list them.
    pub(super) async fn orphans(&self, batched: Vec<Stored>, report: &mut SweepReport) -> Orphans {
        let mut by_digest: BTreeMap<NoticeId, Vec<Stored>> = BTreeMap::new();
        for stored in batched {
            if let Some(digest) = stored.record.digest().cloned() {
                by_digest.entry(digest).or_default().push(stored);
            }
        }
        let ready = Mutex::new(Vec::new());
        let mut result = Ok(());
        for (id, hosts) in by_digest {
            let digest = match self.sweep.ports.digests.load(&id).await {
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
