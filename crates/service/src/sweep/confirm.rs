//! From a candidate to a claim, by strongly consistent reads.

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use hb_domain::{Entry, Heartbeat, HostKey, Regions, Rules, State, Timestamp, decide_among};

use super::claim::Verdicts;
use super::deliver::{Draft, Proposed};
use super::report::Step;
use super::scan::Candidate;
use super::silence::SilencePolicy;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Heard, PortResult, Version};
use crate::swap::{Update, swap_many, update};

/// What a part of the candidates leads to.
#[derive(Default)]
struct Confirmed {
    steps: Vec<Step>,
    drafts: Vec<Draft>,
    /// Entries that change without a transition.
    changed: Vec<(Entry, Option<Version>)>,
    /// Hosts of which a wrong clock wrote: of each the entry, if that is to be mended, the version that it replaces, and
    /// the beats.
    ahead: Vec<(Option<Entry>, Option<Version>, Vec<Heard>)>,
    /// Failures of hosts of which a notice is pending, so that nothing can be decided.
    left: Vec<(HostKey, Timestamp)>,
}

/// A candidate whose entry does not show that nothing changed.
struct Doubt<'a> {
    entry: Entry,
    /// The version of the entry.
    expected: Option<Version>,
    rules: &'a Rules,
    /// What marks the host as settled.
    mark: u64,
}

impl Pass<'_> {
    /// Confirms candidates by strongly consistent reads and decides.
    pub(super) async fn confirm(
        &self,
        candidates: &[Candidate],
        verdicts: &Verdicts<'_>,
        report: &mut SweepReport,
    ) -> (Vec<Draft>, Result<(), Stop>) {
        let judged: Vec<_> = candidates
            .iter()
            .filter_map(|candidate| Some((candidate, verdicts.rules(candidate)?)))
            .collect();
        let parts = judged.chunks(self.part(judged.len()));
        let policy = verdicts.policy;
        let work: Vec<_> = parts
            .map(|part| self.confirm_part(part, policy).boxed())
            .collect();
        let mut parts = stream::iter(work).buffered(self.sweep.settings.concurrency);
        let (mut drafts, mut result) = (Vec::new(), Ok(()));
        while let Some((steps, decided)) = parts.next().await {
            drafts.extend(decided);
            for step in steps {
                result = result.and(report.count(step));
            }
        }
        (drafts, result)
    }

    async fn confirm_part(
        &self,
        part: &[(&Candidate, &Rules)],
        policy: &SilencePolicy,
    ) -> (Vec<Step>, Vec<Draft>) {
        if self.in_time().is_err() {
            return (vec![Step::OutOfTime], vec![]);
        }
        let mut confirmed = Confirmed::default();
        let regions = &policy.regions;
        let doubts = self.read_entries(part, regions, &mut confirmed).await;
        let read = self.decide_all(doubts, policy, &mut confirmed).await;
        let Confirmed {
            mut steps,
            drafts,
            changed,
            ahead,
            left,
        } = confirmed;
        if policy.may_mend {
            steps.extend(self.mend_hosts(ahead, read).await);
        }
        // After a lost race, whoever won it has rechecked the host, or answered.
        for swapped in swap_many(&self.sweep.ports, changed).await {
            steps.extend(swapped.err().map(Step::Failed));
        }
        for (key, failure) in left {
            let kept = self.keep_failure(&key, failure).await;
            steps.extend(kept.err().map(Step::Failed));
        }
        (steps, drafts)
    }

    /// Reads the entries, which alone show of most hosts that seem new that they are known.
    async fn read_entries<'a>(
        &self,
        part: &[(&Candidate, &'a Rules)],
        regions: &Regions,
        confirmed: &mut Confirmed,
    ) -> Vec<Doubt<'a>> {
        let (ports, settled) = (&self.sweep.ports, &self.sweep.settled);
        let keys: Vec<_> = part.iter().map(|(one, _)| one.key.clone()).collect();
        let loaded = ports.ledger.load_many(&keys).await;
        // Not the beginning of the sweep, which may be long ago: what was read is not ahead of now.
        let read = ports.clock.now();
        let mut doubts = Vec::new();
        for ((candidate, rules), stored) in part.iter().zip(loaded) {
            let stored = match stored {
                Ok(stored) => stored,
                Err(error) => {
                    confirmed.steps.push(Step::Failed(error));
                    continue;
                }
            };
            let expected = stored.as_ref().map(|stored| stored.version);
            let new = || Entry::new(candidate.key.clone());
            let entry = stored.map_or_else(new, |stored| stored.record);
            let beats = candidate.beats.as_ref();
            let beats = beats.map(|(beats, region)| (beats, region));
            let mark = settled.mark(&candidate.key, beats.map(|(beats, _)| beats));
            let known = entry.clone().without_future(read);
            let ahead = beats.is_some_and(|(beats, _)| beats.is_ahead(read));
            let changes =
                ahead || decide_among(&known, beats, self.now.min(read), rules, regions).is_some();
            let forgotten = entry.state == State::Forgotten;
            if changes || candidate.asked || forgotten != entry.needs_recheck {
                doubts.push(Doubt {
                    entry,
                    expected,
                    rules,
                    mark,
                });
            } else if entry.is_open() {
                confirmed.leave(&entry, beats.map(|(beats, _)| beats));
            } else {
                settled.insert(mark);
            }
        }
        doubts
    }

    /// Reads the beats, and decides. Returns when they were read.
    async fn decide_all(
        &self,
        doubts: Vec<Doubt<'_>>,
        policy: &SilencePolicy,
        confirmed: &mut Confirmed,
    ) -> Timestamp {
        let keys: Vec<_> = doubts.iter().map(|doubt| doubt.entry.key.clone()).collect();
        let loaded = self.sweep.ports.heartbeats.load_many(&keys).await;
        let read = self.sweep.ports.clock.now();
        for (doubt, heard) in doubts.into_iter().zip(loaded) {
            match heard {
                Ok(heard) => self.decide(doubt, heard, read, policy, confirmed),
                Err(error) => confirmed.steps.push(Step::Failed(error)),
            }
        }
        read
    }

    fn decide(
        &self,
        doubt: Doubt<'_>,
        stored: Vec<Heard>,
        read: Timestamp,
        policy: &SilencePolicy,
        confirmed: &mut Confirmed,
    ) {
        let Doubt {
            entry,
            expected,
            rules,
            mark,
        } = doubt;
        let heard = stored.iter().cloned().reduce(Heard::merge);
        let beats = heard
            .as_ref()
            .map(|heard| (&heard.heartbeat, &heard.region));
        if let Some((beats, _)) = beats.filter(|(beats, _)| beats.is_ahead(read)) {
            let mended = entry.mended(beats, read);
            confirmed.ahead.push((mended, expected, stored));
            return;
        }
        let known = entry.clone().without_future(read);
        let now = self.now.min(read);
        let next = match decide_among(&known, beats, now, rules, &policy.regions) {
            Some(claim) if claim.epoch > entry.epoch => {
                confirmed.drafts.push(Draft::Claim(Proposed {
                    entry: claim,
                    expected,
                    mark: Some(mark),
                    withdraws: entry.pending.is_some(),
                }));
                return;
            }
            Some(asked) => Some(asked),
            None if heard.is_none() => None,
            // Of a wrong clock.
            None if known.inquiry != entry.inquiry => Some(Entry {
                inquiry: None,
                ..entry
            }),
            None => {
                confirmed.leave(&entry, beats.map(|(beats, _)| beats));
                if !entry.is_open() {
                    self.sweep.settled.insert(mark);
                }
                if entry.state == State::Forgotten {
                    entry.reopened()
                } else {
                    entry.rechecked_by(&policy.may_know)
                }
            }
        };
        confirmed
            .changed
            .extend(next.map(|entry| (entry, expected)));
    }

    /// Keeps the entry of a host open that failed at `failure`, unless that is accounted for: another sweep, which may not
    /// know of the failure, decided first, and the next one of this region would take it for known.
    pub(super) async fn keep_failure(&self, key: &HostKey, failure: Timestamp) -> PortResult<()> {
        let home = &self.sweep.settings.region;
        let rule = |entry: Option<Entry>| {
            let entry = entry.and_then(|entry| entry.with_failure_left(failure, home));
            entry.ok_or(())
        };
        match update(&self.sweep.ports, key, rule).await? {
            Update::Done(_) | Update::Declined(..) => Ok(()),
            Update::Contended(error) => Err(error),
        }
    }
}

impl Confirmed {
    fn leave(&mut self, entry: &Entry, beats: Option<&Heartbeat>) {
        let failure = beats.and_then(|beats| beats.failure.as_ref());
        let failure = failure.filter(|_| entry.pending.is_some());
        self.left
            .extend(failure.map(|failure| (entry.key.clone(), failure.at)));
    }
}
