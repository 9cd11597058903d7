//! From a candidate to a claim, by strongly consistent reads.

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use hb_domain::{Entry, Heartbeat, HostKey, Regions, Rules, State, Timestamp, decide_among};

use super::claim::Verdicts;
use super::deliver::{Draft, Proposed};
use super::report::Step;
use super::scan::Candidate;
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
        let regions = &verdicts.policy.regions;
        let work: Vec<_> = parts
            .map(|part| self.confirm_part(part, regions).boxed())
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
        regions: &Regions,
    ) -> (Vec<Step>, Vec<Draft>) {
        if self.in_time().is_err() {
            return (vec![Step::OutOfTime], vec![]);
        }
        let mut confirmed = Confirmed::default();
        let doubts = self.read_entries(part, regions, &mut confirmed).await;
        self.decide_all(doubts, regions, &mut confirmed).await;
        let Confirmed {
            mut steps,
            drafts,
            changed,
            left,
        } = confirmed;
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
        let mut doubts = Vec::new();
        for ((candidate, rules), stored) in part.iter().zip(ports.ledger.load_many(&keys).await) {
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
            let changes = decide_among(&entry, beats, self.now, rules, regions).is_some();
            let forgotten = entry.state == State::Forgotten;
            if changes || entry.inquiry.is_some() || forgotten != entry.needs_recheck {
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

    async fn decide_all(
        &self,
        doubts: Vec<Doubt<'_>>,
        regions: &Regions,
        confirmed: &mut Confirmed,
    ) {
        let keys: Vec<_> = doubts.iter().map(|doubt| doubt.entry.key.clone()).collect();
        let heard = self.sweep.ports.heartbeats.load_many(&keys).await;
        for (doubt, heard) in doubts.into_iter().zip(heard) {
            let heard = match heard {
                Ok(heard) => heard.into_iter().reduce(Heard::merge),
                Err(error) => {
                    confirmed.steps.push(Step::Failed(error));
                    continue;
                }
            };
            self.decide(doubt, heard.as_ref(), regions, confirmed);
        }
    }

    fn decide(
        &self,
        doubt: Doubt<'_>,
        heard: Option<&Heard>,
        regions: &Regions,
        confirmed: &mut Confirmed,
    ) {
        let Doubt {
            entry,
            expected,
            rules,
            mark,
        } = doubt;
        let beats = heard.map(|heard| (&heard.heartbeat, &heard.region));
        let next = match decide_among(&entry, beats, self.now, rules, regions) {
            Some(claim) if claim.epoch > entry.epoch => {
                confirmed.drafts.push(Draft::Claim(Proposed {
                    entry: claim,
                    expected,
                    mark: Some(mark),
                }));
                return;
            }
            Some(asked) => Some(asked),
            None if heard.is_none() => None,
            None => {
                confirmed.leave(&entry, beats.map(|(beats, _)| beats));
                if !entry.is_open() {
                    self.sweep.settled.insert(mark);
                }
                if entry.state == State::Forgotten {
                    entry.reopened()
                } else {
                    entry.rechecked_by(regions)
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
