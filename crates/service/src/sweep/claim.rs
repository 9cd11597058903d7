//! Goes through the candidates of a sweep, in their order and in parts: confirms, claims and delivers.

use std::collections::BTreeMap;

use hb_domain::{Breaker, Entry, Fleet, Kind, Rules, Timestamp, limits};

use super::deliver::Draft;
use super::hold::{OpenFleets, newest_beat};
use super::open::OpenHosts;
use super::scan::{Batch, Candidate, Class, Judge};
use super::silence::SilencePolicy;
use super::{Pass, Stop, SweepReport};
use crate::canary::Receivers;
use crate::ports::{Checkpoint, CompletedSweep, PortError, PortResult, Position};

/// By which rules a candidate is decided.
pub(super) struct Verdicts<'a> {
    pub(super) policy: &'a SilencePolicy,
    sure: Rules,
    marked: Rules,
    held: Rules,
    fleets: BTreeMap<Fleet, Breaker>,
}

impl Verdicts<'_> {
    /// `None` while the notices of its fleet are held.
    pub(super) fn rules(&self, candidate: &Candidate) -> Option<&Rules> {
        if !self.policy.may_hold(candidate.kind, candidate.doubtful) {
            return Some(&self.sure);
        }
        match self.fleets.get(&candidate.key.fleet) {
            // It may have failed, or have yet to be registered: when this sweep is recorded, it counts as known.
            Some(Breaker::Hold) if candidate.asked || candidate.new => Some(&self.held),
            Some(Breaker::Hold) => None,
            Some(Breaker::Marked) => Some(&self.marked),
            Some(Breaker::Closed) | None => Some(&self.sure),
        }
    }
}

impl Pass<'_> {
    /// Looks for changes, claims them and delivers their notices, urgent ones first. Returns the sweep to be recorded
    /// when all hosts were looked at: the round that began with it, or with an earlier sweep, is complete. None is when
    /// the clock may be behind, by which news are of the future.
    pub(super) async fn claim(
        &self,
        open: &OpenHosts,
        fleets: &OpenFleets,
        report: &mut SweepReport,
    ) -> Result<Option<CompletedSweep>, Stop> {
        let (system, region) = (&self.sweep.ports.system, &self.sweep.settings.region);
        let last = self.last_sweep().await?;
        let checkpoint = system.checkpoint(region).await?;
        // What a wrong clock recorded counts as nothing.
        let read = self.sweep.ports.clock.now();
        let last = last.filter(|began| !began.is_ahead(read));
        let checkpoint = checkpoint.filter(|checkpoint| {
            !checkpoint.began.is_ahead(read)
                && last.is_none_or(|last| last < checkpoint.began)
                && checkpoint.positions.len() == self.segments()
        });
        let policy = self.silence_policy(report).await?;
        report.regions_unheard = policy.regions_unheard();
        let judge = Judge {
            open,
            last_sweep: last,
            policy: &policy,
            settled: &self.sweep.settled,
            now: self.now,
        };
        // A round goes on where it stopped.
        let wanted = if checkpoint.is_some() {
            &Class::ALL[..2]
        } else {
            &Class::ALL[..]
        };
        let mut scanned = self.scan(&judge, wanted, report).await?;
        self.sites
            .get_or_init(|| std::mem::take(&mut scanned.sites));
        let (mut own, fleets) = self.hold(&policy, fleets, &scanned, report).await?;
        own.extend(self.claim_clock(open, report).await?);
        let verdicts = Verdicts {
            sure: Rules {
                newest_beat: newest_beat(&policy, &scanned, report),
                ..policy.sure.clone()
            },
            marked: policy.marked(),
            held: policy.sure.without_silence(),
            policy: &policy,
            fleets,
        };
        let own = own.into_iter().map(Draft::Stored).collect();
        let mut result = self.deliver(own, report).await;
        if let Some(error) = scanned.unmended.take() {
            result = result.and(Err(error.into()));
        }
        for class in [Class::Urgent, Class::Recovered] {
            let pass = self.with_share(2, 3);
            let mut batch = std::mem::take(scanned.batch(class));
            loop {
                pass.rotate(&mut batch.candidates);
                let mut settled = Ok(());
                for chunk in batch.candidates.chunks(limits::DIGEST_HOSTS) {
                    settled = settled.and(pass.settle(chunk, &verdicts, report).await);
                }
                result = result.and(settled);
                if result.is_err() || batch.next.iter().all(|next| *next == Position::End) {
                    break;
                }
                match pass.scan_on(&judge, class, &batch.next).await {
                    Ok(more) => batch = more,
                    Err(stop) => {
                        result = result.and(Err(stop));
                        break;
                    }
                }
            }
        }
        let batch = match &checkpoint {
            Some(round) => Batch {
                candidates: Vec::new(),
                next: round.positions.clone(),
            },
            None => std::mem::take(scanned.batch(Class::New)),
        };
        let mut round = checkpoint.unwrap_or_else(|| Checkpoint {
            began: self.now,
            positions: vec![Position::Start; self.segments()],
        });
        let looked = self.round(&judge, &verdicts, &mut round, batch, report);
        result = result.and(looked.await);
        let crowded = self.count_keys(&scanned.keys, open, report).await;
        result.and(crowded)?;
        Ok(policy.may_mend.then(|| CompletedSweep {
            began: round.began,
            ended: self.sweep.ports.clock.now(),
            hosts: report.hosts,
            program: self.sweep.settings.program.clone(),
        }))
    }

    /// When the last sweep of this region began. A new region starts with what all others have accounted for, up to the
    /// first of its own canaries: before, it received no beats.
    async fn last_sweep(&self) -> PortResult<Option<Timestamp>> {
        let (ports, home) = (&self.sweep.ports, &self.sweep.settings.region);
        if let Some(own) = ports.system.last_sweep(home).await? {
            return Ok(Some(own.began));
        }
        let receivers = Receivers::load(ports).await?;
        if receivers.are_all_of(home) || !receivers.unreadable.is_empty() {
            return Ok(None);
        }
        let first = receivers.of(home).and_then(|receiver| receiver.first);
        let mut last = first.unwrap_or(self.now);
        for other in receivers.known.iter().filter(|known| known.region != *home) {
            let Some(sweep) = ports.system.last_sweep(&other.region).await? else {
                return Ok(None);
            };
            last = last.min(sweep.began);
        }
        Ok(Some(last))
    }

    /// Settles the new hosts of a round, from where an earlier sweep stopped, and records where this one stops.
    async fn round(
        &self,
        judge: &Judge<'_>,
        verdicts: &Verdicts<'_>,
        round: &mut Checkpoint,
        mut batch: Batch,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        let mut result;
        let mut moved = false;
        'round: loop {
            for chunk in batch.candidates.chunks(limits::DIGEST_HOSTS) {
                result = self.settle(chunk, verdicts, report).await;
                if result.is_err() {
                    break 'round;
                }
                moved = true;
                for candidate in chunk {
                    let behind = self.sweep.ports.heartbeats.behind(&candidate.key);
                    round.positions[candidate.segment] = Position::After(behind);
                }
            }
            round.positions.clone_from(&batch.next);
            if round.positions.iter().all(|next| *next == Position::End) {
                return Ok(());
            }
            match self.scan_on(judge, Class::New, &round.positions).await {
                Ok(more) => batch = more,
                Err(stop) => {
                    result = Err(stop);
                    break;
                }
            }
        }
        if moved {
            let (system, region) = (&self.sweep.ports.system, &self.sweep.settings.region);
            let now = self.sweep.ports.clock.now();
            system.record_checkpoint(region, round, now).await?;
        }
        result
    }

    /// Begins with another candidate each time when time is limited: what takes all the time in one sweep does not take
    /// it in every sweep.
    fn rotate(&self, candidates: &mut [Candidate]) {
        if !self.is_limited() || candidates.is_empty() {
            return;
        }
        let [a, b, c, d, ..] = self.sweep.ports.ids.random();
        let random = u32::from_be_bytes([a, b, c, d]) as usize;
        candidates.rotate_left(random % candidates.len());
    }

    /// Settles candidates of one class: confirms them in a third of the time that is left, and claims and delivers what
    /// changed in the rest. Those whose entries an admin changed meanwhile are settled once more: for the next sweep they
    /// are no news any more.
    async fn settle(
        &self,
        candidates: &[Candidate],
        verdicts: &Verdicts<'_>,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        const TRIES: u32 = 3;
        let (mut candidates, mut result) = (candidates.to_vec(), Ok(()));
        for _ in 0..TRIES {
            self.in_time()?;
            let (drafts, confirmed) = self
                .with_share(1, 3)
                .confirm(&candidates, verdicts, report)
                .await;
            let delivered = self.deliver(drafts, report).await;
            result = result.and(confirmed).and(delivered);
            let undecided = std::mem::take(&mut report.undecided);
            candidates.retain(|candidate| undecided.contains(&candidate.key));
            if candidates.is_empty() {
                return result;
            }
        }
        let cause = format!("it was changed at each of {TRIES} tries");
        let key = &candidates[0].key;
        result.and(Err(PortError::conflict(
            format!("the entry of {key}"),
            cause,
        )
        .into()))
    }
}

/// What happened to a host by a claim.
pub(super) fn kind_of(claim: &Entry) -> Option<Kind> {
    claim.history.last().map(|last| last.kind)
}
