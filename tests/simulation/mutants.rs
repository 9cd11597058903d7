//! The production protocol, and eighteen broken variants. Each wraps the production code with one fault, so that the
//! production code contains no switches for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{
    Digest, DigestStage, Entry, FleetRecord, FleetSettings, HostKey, Notice, NoticeId, Publication,
    Receiver, Region, Timestamp,
};
use hb_service::Sweep;
use hb_service::ports::{
    Clock, Cursor, Echo, Echoes, Heard, Heartbeats, Ledger, Page, PortResult, Record, Segment,
    Stored, Swap, Topic, Version,
};
use uuid::Uuid;

use crate::faults::{Fault, Faults};
use crate::invariants;
use crate::ports::SimulatedPorts;
use crate::reminders;
use crate::run;
use crate::windows;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Sound,
    /// Claims on an eventually consistent table.
    EventualLedger,
    /// Publishes without an outbox.
    NoOutbox,
    /// Without echoes, notices of unknown outcome are published again.
    NoEchoResend,
    /// Without echoes, notices of unknown outcome are dropped.
    NoEchoDrop,
    /// A lease shorter than a run.
    ShortLease,
    /// An SDK that retries a publish by itself.
    HiddenRetry,
    /// Digests without the orphan rule.
    NoOrphanRule,
    /// Decides on a stale scan without confirming.
    Unconfirmed,
    /// Takes an empty answer of the echo queue for proof that there are no echoes.
    QuickEchoes,
    /// Takes another region for dead whose copies are late, and does not ask it.
    TrustsCopies,
    /// Counts what is of the future as now, and leaves it there.
    Unmended,
    /// A lease of half an hour, which outlives its process.
    LongLease,
    /// Mends although the last canary is ahead of its clock.
    MendsBlindly,
    /// Sends what is pending at once.
    Impatient,
    /// Two sweeps at the same time both take the turn of a group.
    SharedTurn,
    /// Reminds people in every sweep.
    Nagging,
    /// A reminder that is begun counts as made.
    LosesReminders,
    /// Knows of no maintenance windows.
    Planless,
}

impl Variant {
    /// The broken variants, each with the invariant that it violates.
    pub(crate) const MUTANTS: [(Self, &str); 19] = [
        (Self::EventualLedger, invariants::ONE_TRANSITION),
        (Self::NoOutbox, invariants::NOTHING_PENDING),
        (Self::NoEchoResend, invariants::ACCEPTED_ONCE),
        (Self::NoEchoDrop, invariants::NOTHING_PENDING),
        (Self::ShortLease, invariants::ACCEPTED_ONCE),
        (Self::HiddenRetry, invariants::ACCEPTED_ONCE),
        (Self::NoOrphanRule, invariants::NOTHING_PENDING),
        (Self::Unconfirmed, invariants::NO_FALSE_ALARM),
        (Self::QuickEchoes, invariants::ACCEPTED_ONCE),
        (Self::TrustsCopies, invariants::TRUE_CAVEAT),
        (Self::Unmended, invariants::STATE_IS_REPORTED),
        (Self::LongLease, invariants::SETTLES),
        (Self::MendsBlindly, invariants::NO_FALSE_ALARM),
        (Self::Impatient, invariants::IN_GROUPS),
        (Self::SharedTurn, invariants::IN_GROUPS),
        (Self::Nagging, reminders::APART),
        (Self::LosesReminders, reminders::REMINDED),
        (Self::Planless, windows::UNCOUNTED),
        (Self::Planless, windows::UNTOLD),
    ];

    /// How many regions it needs, if it needs a certain number.
    pub(crate) fn regions(self) -> Option<u8> {
        matches!(self, Self::EventualLedger | Self::TrustsCopies).then_some(2)
    }

    /// The faults under which it fails, besides those drawn.
    pub(crate) fn faults(self, faults: Faults) -> Faults {
        match self {
            // Only crashes: a lost reply would make it publish twice.
            Self::NoOutbox => faults.with(Fault::Crash, 30).with(Fault::StoreReplyLost, 0),
            Self::NoEchoResend | Self::HiddenRetry => faults.with(Fault::AcceptedReplyLost, 300),
            Self::NoEchoDrop => faults.with(Fault::UnknownNotAccepted, 300),
            Self::ShortLease => faults
                .with(Fault::DoubleInvocation, 1_000)
                .with(Fault::SlowCalls, 0)
                .with(Fault::Pause, 100)
                .with(Fault::Crash, 0),
            Self::NoOrphanRule => faults.with(Fault::Pause, 60).with(Fault::MassOutage, 500),
            Self::Unconfirmed => faults.with(Fault::StaleScan, 900),
            Self::QuickEchoes => faults
                .with(Fault::AcceptedReplyLost, 300)
                .with(Fault::EchoShortPoll, 900),
            Self::TrustsCopies => faults.with(Fault::ReplicationDown, 300),
            Self::Unmended => faults.with(Fault::ClockStep, 100),
            Self::LongLease => faults.with(Fault::Crash, 30),
            Self::MendsBlindly => faults
                .with(Fault::ClockDrift, 300)
                .with(Fault::DoubleInvocation, 900),
            Self::SharedTurn => faults.with(Fault::DoubleInvocation, 1_000),
            Self::Sound
            | Self::EventualLedger
            | Self::Impatient
            | Self::Nagging
            | Self::LosesReminders
            | Self::Planless => faults,
        }
    }

    pub(crate) fn sweep(self, ports: &SimulatedPorts) -> Sweep {
        let mut sweep = run::sweep(ports);
        let broken = Arc::new(Broken(ports.clone()));
        let ledger = || Arc::new(Faulty(Broken(ports.clone())));
        match self {
            Self::Sound | Self::EventualLedger => {}
            Self::NoOutbox => sweep.ports.ledger = ledger(),
            Self::NoEchoResend => {
                sweep.ports.echoes = broken;
                sweep.settings.delivery.echo_wait = Duration::ZERO;
            }
            Self::NoEchoDrop => {
                sweep.ports.echoes = broken;
                sweep.ports.topic = Arc::new(Dropping(ports.clone()));
            }
            Self::ShortLease => {
                sweep.settings.delivery.lease = Duration::from_millis(5);
                sweep.settings.delivery.echo_wait = Duration::ZERO;
            }
            Self::LongLease => sweep.settings.delivery.lease = Duration::from_mins(30),
            Self::HiddenRetry => sweep.ports.topic = broken,
            Self::Impatient => sweep.settings.groups = FleetSettings::AT_ONCE,
            Self::SharedTurn => sweep.ports.fleets = ledger(),
            Self::Nagging => {
                sweep.settings.groups.repeat_interval = Duration::from_millis(1).try_into().ok();
            }
            Self::LosesReminders => sweep.ports.digests = Arc::new(Faulty(Lost(ports.clone()))),
            Self::Planless => sweep.ports.fleets = Arc::new(Faulty(Planless(ports.clone()))),
            Self::NoOrphanRule => sweep.ports.digests = ledger(),
            Self::Unconfirmed => sweep.ports.heartbeats = broken,
            Self::QuickEchoes => sweep.ports.echoes = Arc::new(Quick(ports.clone())),
            Self::TrustsCopies | Self::MendsBlindly => sweep.ports.receivers = ledger(),
            Self::Unmended => sweep.ports.heartbeats = Arc::new(Forgetful(ports.clone())),
        }
        sweep
    }
}

/// Ports that break the protocol, each in its own way.
struct Broken(SimulatedPorts);

/// What is wrong with a ledger: by default, nothing.
#[async_trait]
trait LedgerFault<T: Record>: Send + Sync {
    fn ports(&self) -> &SimulatedPorts;

    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        Ledger::<T>::load(self.ports(), key).await
    }

    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        self.ports().swap(record, expected, writer).await
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        Ledger::<T>::open(self.ports(), segment, after).await
    }
}

/// A ledger with that fault.
struct Faulty<F>(F);

#[async_trait]
impl<T: Record, F: LedgerFault<T>> Ledger<T> for Faulty<F> {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        self.0.load(key).await
    }

    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        self.0.swap(record, expected, writer).await
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        self.0.open(segment, after).await
    }
}

#[async_trait]
impl LedgerFault<Entry> for Broken {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    /// Without an outbox the claim is stored, and then published by the claimant.
    async fn swap(
        &self,
        entry: &Entry,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap> {
        let Some(notice) = Notice::of(entry, &self.0.region) else {
            return self.0.swap(entry, expected, writer).await;
        };
        let claim = Entry {
            pending: None,
            ..entry.clone()
        };
        let swap = self.0.swap(&claim, expected, writer).await?;
        if let Swap::Done(_) = swap {
            self.0.publish(&notice).await;
        }
        Ok(swap)
    }
}

#[async_trait]
impl LedgerFault<Digest> for Broken {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    /// Hides that a digest does not list a host.
    async fn load(&self, id: &NoticeId) -> PortResult<Option<Stored<Digest>>> {
        let stored = Ledger::<Digest>::load(&self.0, id).await?;
        Ok(stored.map(|stored| Stored {
            record: Digest {
                stage: DigestStage::Open,
                ..stored.record
            },
            ..stored
        }))
    }
}

/// Digests, of which each reminder seems to be there already.
struct Lost(SimulatedPorts);

#[async_trait]
impl LedgerFault<Digest> for Lost {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    async fn swap(
        &self,
        digest: &Digest,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<Digest>> {
        if digest.reminder.is_some() && expected.is_none() {
            return Ok(Swap::Conflict(None));
        }
        self.0.swap(digest, expected, writer).await
    }
}

#[async_trait]
impl LedgerFault<Receiver> for Broken {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    /// Hides that other regions live, and that a canary is ahead.
    async fn load(&self, region: &Region) -> PortResult<Option<Stored<Receiver>>> {
        let mut stored = Ledger::<Receiver>::load(&self.0, region).await?;
        let now = self.0.now();
        if let Some(stored) = &mut stored {
            let other = *region != self.0.region;
            stored.record.heard = stored.record.heard.min(Some(now)).filter(|_| !other);
        }
        Ok(stored)
    }
}

#[async_trait]
impl LedgerFault<FleetRecord> for Broken {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    /// Whoever wrote last has it.
    async fn swap(
        &self,
        record: &FleetRecord,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<FleetRecord>> {
        match self.0.swap(record, expected, writer).await? {
            Swap::Conflict(Some(stored)) => self.0.swap(record, Some(stored.version), writer).await,
            swap => Ok(swap),
        }
    }
}

/// Fleets, whose maintenance windows are not listed.
struct Planless(SimulatedPorts);

#[async_trait]
impl LedgerFault<FleetRecord> for Planless {
    fn ports(&self) -> &SimulatedPorts {
        &self.0
    }

    async fn open(
        &self,
        segment: Segment,
        after: Option<Cursor>,
    ) -> PortResult<Page<Stored<FleetRecord>>> {
        let mut page = Ledger::<FleetRecord>::open(&self.0, segment, after).await?;
        for stored in &mut page.items {
            stored.record.windows.clear();
        }
        Ok(page)
    }
}

#[async_trait]
impl Echoes for Broken {
    async fn receive(&self, _: bool) -> PortResult<Page<Echo>> {
        Ok(Page::default())
    }

    async fn acknowledge(&self, _: &[String]) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Topic for Broken {
    /// Retries when there is no answer.
    async fn publish(&self, notice: &Notice) -> Publication {
        match self.0.publish(notice).await {
            Publication::Unknown(_) => self.0.publish(notice).await,
            outcome => outcome,
        }
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Heartbeats for Broken {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.0.record(heard).await
    }

    /// What the scan saw, instead of a strongly consistent read.
    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let world = self.0.world.get();
        let old = world.tables.old_beats.get(&self.0.region);
        let beats = old
            .into_iter()
            .flatten()
            .filter(|((key, _), _)| key == host);
        Ok(beats.map(|(_, heard)| heard.clone()).collect())
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.0.scan(segment, after).await
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        self.0.mend(ahead, now).await
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.0.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.0.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

/// Takes an unknown outcome for an acceptance.
struct Dropping(SimulatedPorts);

#[async_trait]
impl Topic for Dropping {
    async fn publish(&self, notice: &Notice) -> Publication {
        match self.0.publish(notice).await {
            Publication::Unknown(_) => Publication::Accepted,
            outcome => outcome,
        }
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}

/// Never asks all servers of the queue.
struct Quick(SimulatedPorts);

#[async_trait]
impl Echoes for Quick {
    async fn receive(&self, _: bool) -> PortResult<Page<Echo>> {
        self.0.receive(false).await
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.0.acknowledge(receipts).await
    }
}

/// Mends nothing.
struct Forgetful(SimulatedPorts);

#[async_trait]
impl Heartbeats for Forgetful {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.0.record(heard).await
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        Heartbeats::load(&self.0, host).await
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        self.0.scan(segment, after).await
    }

    async fn mend(&self, _: &[Heard], _: Timestamp) -> PortResult<()> {
        Ok(())
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        self.0.behind(host)
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        self.0.forget(host, up_to).await
    }

    async fn check(&self) -> PortResult<()> {
        Ok(())
    }
}
