//! Counts the hosts of each key, and notifies people of keys that are nearly full.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use futures::stream::{self, StreamExt};
use hb_domain::{Fleet, HostId, HostKey, Key, KeyId, Message, limits};

use super::deliver::Draft;
use super::open::OpenHosts;
use super::report::{Step, SweepReport};
use super::{Pass, Stop};
use crate::ports::PortResult;

/// The hosts of each key as they were last counted and acted upon.
#[derive(Default)]
pub(super) struct Crowd(Mutex<HashMap<KeyId, u32>>);

impl Crowd {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<KeyId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys to look at: those whose number of hosts is news and may be many, and those of which people know that
    /// they are nearly full.
    fn news(&self, keys: &HashMap<KeyId, u32>, told: &BTreeMap<KeyId, Fleet>) -> Vec<(KeyId, u32)> {
        let last = self.lock();
        let many = keys.iter().filter(|(id, hosts)| {
            let percent = u64::from(**hosts) * 100;
            percent >= u64::from(limits::KEY_HOSTS_MIN) * limits::KEY_HOSTS_ALARM_PERCENT
                && last.get(id) != Some(hosts)
                && !told.contains_key(id)
        });
        let many = many.map(|(id, hosts)| (*id, *hosts));
        let told = told
            .keys()
            .map(|id| (*id, keys.get(id).copied().unwrap_or(0)));
        many.chain(told).collect()
    }
}

impl Pass<'_> {
    /// Stores how many hosts each key has, where that changed, and notifies people of keys that are nearly full, or no
    /// longer are. What time does not suffice for is left to the next sweep.
    pub(super) async fn count_keys(
        &self,
        keys: &HashMap<KeyId, u32>,
        open: &OpenHosts,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let crowd = &self.sweep.crowd;
        let (mut drafts, mut result) = (Vec::new(), Ok(()));
        let mut noted = stream::iter(crowd.news(keys, &open.full_keys))
            .take_while(|_| std::future::ready(self.in_time().is_ok()))
            .map(|(id, hosts)| async move {
                let key = self.sweep.ports.keys.note_hosts(&id, hosts).await;
                (id, hosts, key)
            })
            .buffer_unordered(self.sweep.settings.concurrency);
        while let Some((id, hosts, key)) = noted.next().await {
            let told = open.full_keys.get(&id);
            match self.judge_key(id, key, told, &mut drafts, report).await {
                Ok(true) => drop(crowd.lock().insert(id, hosts)),
                Ok(false) => {}
                Err(error) => result = result.and(report.count(Step::Failed(error))),
            }
        }
        result.and(self.deliver(drafts, report).await)
    }

    /// Claims the notice about a key, if there is one to be. Returns whether people know how it is, or are about to.
    async fn judge_key(
        &self,
        id: KeyId,
        key: PortResult<Option<Key>>,
        told: Option<&Fleet>,
        drafts: &mut Vec<Draft>,
        report: &mut SweepReport,
    ) -> PortResult<bool> {
        let key = key?;
        let full = key.filter(|key| key.is_nearly_full(self.now));
        let fleet = match (&full, told) {
            (Some(key), None) => key.fleet.clone(),
            (None, Some(fleet)) => fleet.clone(),
            _ => return Ok(true),
        };
        let message = full.map(|key| {
            let (name, hosts, most) = (&key.name, key.hosts, key.most_hosts());
            Message::from(format!(
                "key {name} has {hosts} of at most {most} hosts, and new ones beyond are refused. If they are yours: \
                 hb key limit {id} --max-hosts N"
            ))
        });
        let key = HostKey::new(fleet, HostId::key(&id));
        let (claimed, known) = self.claim_own(key, message, report).await?;
        drafts.extend(claimed.map(Draft::Stored));
        Ok(known)
    }
}
