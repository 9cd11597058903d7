//! What goes wrong on one machine, and how likely that is in a run.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// A read of the store fails.
    ReadFails,
    /// The echoes of the topic cannot be read.
    EchoesFail,
    /// A commit fails, and nothing is stored.
    CommitFails,
    /// A commit fails although all is stored.
    CommitReplyLost,
    /// No commit succeeds for a while.
    DiskFull,
    /// The process is killed after a call.
    Crash,
    /// The process is stopped in an orderly way, and started again.
    Restart,
    /// The process or the machine stands still.
    Pause,
    /// The wall clock steps.
    ClockStep,
    MassOutage,
    HostFails,
    /// A receiver answers with 503 for a while.
    Unavailable,
    /// A receiver answers with 404 for a while.
    Gone,
    /// A receiver takes nothing and does not answer, for a while.
    Hangs,
    /// A receiver takes a notice, and the answer is lost.
    AnswerLost,
    /// A receiver takes digests of few hosts only, and answers 413 to others.
    TooLarge,
    /// A receiver always refuses a certain notice, with a final answer.
    DislikesFinally,
    /// The same, with an answer that is not final, until all faults have long ended.
    DislikesForNow,
}

impl Trouble {
    pub(crate) const ALL: [Self; 18] = [
        Self::ReadFails,
        Self::EchoesFail,
        Self::CommitFails,
        Self::CommitReplyLost,
        Self::DiskFull,
        Self::Crash,
        Self::Restart,
        Self::Pause,
        Self::ClockStep,
        Self::MassOutage,
        Self::HostFails,
        Self::Unavailable,
        Self::Gone,
        Self::Hangs,
        Self::AnswerLost,
        Self::TooLarge,
        Self::DislikesFinally,
        Self::DislikesForNow,
    ];

    /// As it is counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReadFails => "one machine: a read fails",
            Self::EchoesFail => "one machine: the echoes cannot be read",
            Self::CommitFails => "one machine: a commit fails",
            Self::CommitReplyLost => "one machine: a commit fails although all is stored",
            Self::DiskFull => "one machine: the disk is full",
            Self::Crash => "one machine: a crash",
            Self::Restart => "one machine: a restart",
            Self::Pause => "one machine: a pause",
            Self::ClockStep => "one machine: the wall clock steps",
            Self::MassOutage => "one machine: a mass outage",
            Self::HostFails => "one machine: a host fails",
            Self::Unavailable => "one machine: a receiver answers 503",
            Self::Gone => "one machine: a receiver answers 404",
            Self::Hangs => "one machine: a receiver hangs",
            Self::AnswerLost => "one machine: the answer of a receiver is lost",
            Self::TooLarge => "one machine: a receiver answers 413",
            Self::DislikesFinally => "one machine: a notice is always refused",
            Self::DislikesForNow => "one machine: a notice is refused for long",
        }
    }

    /// Whether it also happens after the others have ended.
    pub(crate) fn outlasts(self) -> bool {
        matches!(self, Self::DislikesFinally | Self::DislikesForNow)
    }

    /// Its highest probability, in thousandths.
    fn most(self) -> u32 {
        match self {
            Self::Crash => 6,
            Self::ReadFails | Self::CommitFails | Self::CommitReplyLost | Self::HostFails => 20,
            Self::ClockStep | Self::DiskFull | Self::Restart => 60,
            Self::Pause | Self::Gone | Self::MassOutage | Self::DislikesForNow => 100,
            Self::Unavailable | Self::Hangs | Self::DislikesFinally => 150,
            Self::AnswerLost | Self::EchoesFail => 200,
            Self::TooLarge => 1_000,
        }
    }
}

/// The probabilities of a run.
pub(crate) struct Chances(BTreeMap<Trouble, u32>);

impl Chances {
    /// Each trouble is absent, rare or frequent. The wall clock is right in most runs: some invariants hold only then.
    pub(crate) fn drawn(rng: &mut fastrand::Rng) -> Self {
        let draw = |trouble: Trouble| match rng.u8(0..3) {
            0 => (trouble, 0),
            1 => (trouble, (trouble.most() / 5).max(1)),
            _ => (trouble, trouble.most()),
        };
        let mut chances: BTreeMap<_, _> = Trouble::ALL.into_iter().map(draw).collect();
        if rng.u8(0..3) > 0 {
            chances.remove(&Trouble::ClockStep);
        }
        Self(chances)
    }

    pub(crate) fn with(mut self, trouble: Trouble, chance: u32) -> Self {
        self.0.insert(trouble, chance);
        self
    }

    pub(crate) fn of(&self, trouble: Trouble) -> u32 {
        self.0.get(&trouble).copied().unwrap_or(0)
    }
}
