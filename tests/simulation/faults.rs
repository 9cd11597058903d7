//! Faults, their probabilities in a run, and how often they happened.

use std::collections::BTreeMap;

/// A fault of the store, the topic, a process or the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    StoreFails,
    StoreReplyLost,
    StaleScan,
    StaleIndex,
    SlowReplication,
    SlowPartition,
    ReplicationDown,
    Refused,
    AcceptedReplyLost,
    UnknownNotAccepted,
    EchoLate,
    EchoLost,
    EchoAgain,
    EchoQueueFails,
    /// A quick receive finds nothing, although there are echoes.
    EchoShortPoll,
    Crash,
    Pause,
    DoubleInvocation,
    OutOfTime,
    ReceiverDown,
    RegionCutOff,
    MassOutage,
    Admin,
    HostFails,
    /// All clocks of the service step.
    ClockStep,
    /// The clock of a process differs by the skew or more.
    ClockDrift,
    /// A beat is dated in the future.
    BeatAhead,
    /// A host has another interval than a minute.
    OtherInterval,
    /// A host changes its interval with a beat.
    IntervalChanges,
    /// Each call of a process takes long.
    SlowCalls,
    /// An item cannot be read for some minutes.
    Unreadable,
    /// The table of last sweeps and checkpoints is lost.
    SystemLost,
    /// A region is added to the first one.
    RegionAdded,
    /// The last region is removed.
    RegionRemoved,
    /// A backup is made, and restored later.
    Restored,
    /// A sweep is of an older version, which does not know all members of a record.
    OlderVersion,
}

impl Fault {
    pub(crate) const ALL: [Self; 36] = [
        Self::StoreFails,
        Self::StoreReplyLost,
        Self::StaleScan,
        Self::StaleIndex,
        Self::SlowReplication,
        Self::SlowPartition,
        Self::ReplicationDown,
        Self::Refused,
        Self::AcceptedReplyLost,
        Self::UnknownNotAccepted,
        Self::EchoLate,
        Self::EchoLost,
        Self::EchoAgain,
        Self::EchoQueueFails,
        Self::EchoShortPoll,
        Self::Crash,
        Self::Pause,
        Self::DoubleInvocation,
        Self::OutOfTime,
        Self::ReceiverDown,
        Self::RegionCutOff,
        Self::MassOutage,
        Self::Admin,
        Self::HostFails,
        Self::ClockStep,
        Self::ClockDrift,
        Self::BeatAhead,
        Self::OtherInterval,
        Self::IntervalChanges,
        Self::SlowCalls,
        Self::Unreadable,
        Self::SystemLost,
        Self::RegionAdded,
        Self::RegionRemoved,
        Self::Restored,
        Self::OlderVersion,
    ];
    /// Those of clocks, which are right in most runs: some invariants hold only then.
    const CLOCKS: [Self; 3] = [Self::ClockStep, Self::ClockDrift, Self::BeatAhead];

    /// Its highest probability in a run, in thousandths.
    fn most(self) -> u32 {
        match self {
            Self::StoreFails | Self::StoreReplyLost => 30,
            Self::StaleScan | Self::StaleIndex | Self::EchoShortPoll | Self::OtherInterval => 500,
            Self::SlowReplication
            | Self::SlowPartition
            | Self::OutOfTime
            | Self::Admin
            | Self::ClockStep
            | Self::ClockDrift
            | Self::Unreadable
            | Self::OlderVersion => 100,
            Self::Refused
            | Self::AcceptedReplyLost
            | Self::UnknownNotAccepted
            | Self::EchoLate
            | Self::EchoLost
            | Self::EchoAgain
            | Self::MassOutage => 200,
            Self::EchoQueueFails
            | Self::IntervalChanges
            | Self::RegionAdded
            | Self::RegionRemoved
            | Self::Restored => 50,
            Self::Crash => 10,
            Self::Pause => 5,
            Self::HostFails | Self::BeatAhead | Self::SystemLost => 20,
            Self::DoubleInvocation | Self::SlowCalls => 300,
            Self::ReceiverDown | Self::RegionCutOff | Self::ReplicationDown => 60,
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Faults {
    chances: BTreeMap<Fault, u32>,
    pub(crate) hits: BTreeMap<Fault, u64>,
    /// How often a process was killed, by the call before.
    pub(crate) crashes: BTreeMap<&'static str, u64>,
    /// How often an invariant could have been violated, by what made it so.
    pub(crate) noted: BTreeMap<&'static str, u64>,
    pub(crate) on: bool,
}

impl Faults {
    /// Each fault is absent, rare or frequent, depending on the seed.
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let draw = |fault: Fault, rng: &mut fastrand::Rng| match rng.u8(0..3) {
            0 => 0,
            1 => (fault.most() / 5).max(1),
            _ => fault.most(),
        };
        let mut chances: BTreeMap<_, _> = Fault::ALL
            .into_iter()
            .map(|fault| (fault, draw(fault, rng)))
            .collect();
        if rng.u8(0..3) > 0 {
            chances.retain(|fault, _| !Fault::CLOCKS.contains(fault));
        }
        Self {
            chances,
            on: true,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, fault: Fault, chance: u32) -> Self {
        self.chances.insert(fault, chance);
        self
    }

    pub(crate) fn chance(&self, fault: Fault) -> u32 {
        if self.on { self.drawn_chance(fault) } else { 0 }
    }

    /// Its probability while faults last, whether they do or not.
    pub(crate) fn drawn_chance(&self, fault: Fault) -> u32 {
        self.chances.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn hit(&mut self, fault: Fault) {
        *self.hits.entry(fault).or_default() += 1;
    }

    pub(crate) fn note(&mut self, what: &'static str) {
        *self.noted.entry(what).or_default() += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (fault, hits) in &other.hits {
            *self.hits.entry(*fault).or_default() += hits;
        }
        for (what, times) in &other.noted {
            *self.noted.entry(what).or_default() += times;
        }
        for (call, hits) in &other.crashes {
            *self.crashes.entry(call).or_default() += hits;
        }
    }
}
