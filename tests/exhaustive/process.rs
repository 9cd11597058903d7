//! The state of a process that sweeps.

use std::sync::Arc;

use hb_domain::{Entry, Publication, Timestamp};

use crate::record::{Heard, Name, Record, Subject};
use crate::world::{Echo, World};

/// An entry that is to join a digest, with its host and version.
pub(crate) type InHand = (u8, Arc<Entry>, u32);

/// The next step of a process, with its local copies of records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Not running; or about to receive echoes.
    Idle,
    /// Done with the echoes, about to choose a task.
    Sweeping,
    /// To compare an echo with its record.
    Heard(Echo),
    /// To acknowledge an echo, whose news is recorded.
    Acknowledge(Echo),
    /// To confirm a candidate, given its beats.
    Confirm(u8, Heard, Timestamp),
    /// To look up the digest that took this entry.
    Orphan(Subject, Arc<Entry>, u32),
    /// To publish a leased notice.
    Leased(Subject, Record, u32),
    /// To read the hosts of a digest, to freeze its list.
    Freeze(Subject, Record, u32, Vec<Option<Entry>>),
    /// To release the hosts of a digest, from the nth on.
    Release(Subject, Record, u32, usize),
    /// To swap a record.
    Swap(Box<Swap>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Swap {
    pub(crate) subject: Subject,
    pub(crate) next: Record,
    pub(crate) expected: u32,
    /// Whether its reply was lost, so that it is tried again.
    pub(crate) again: bool,
    pub(crate) then: Then,
}

/// The operation that a swap is part of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Echo(Echo),
    Claim,
    Orphan,
    Lease,
    Settle {
        sent: Record,
        outcome: Publication,
        at: Timestamp,
    },
    Create(Vec<InHand>),
    Join(Subject, Record, u32, Vec<InHand>),
    Freeze,
    Release(Subject, Record, u32, usize),
    Close,
}

/// A process that sweeps again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) at: At,
    /// Time has passed since this sweep began: it starts nothing new.
    pub(crate) stale: bool,
    /// Whether this sweep received all echoes.
    pub(crate) drained: bool,
    /// The notices whose echoes it could not receive, because other processes held them.
    pub(crate) blind: Vec<Name>,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Idle,
            stale: false,
            drained: false,
            blind: Vec::new(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.at == At::Idle
    }

    pub(crate) fn has_nothing_in_hand(&self) -> bool {
        matches!(self.at, At::Idle | At::Sweeping)
    }

    /// Starts a sweep that found no echoes.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            at: At::Sweeping,
            drained: true,
            ..Self::new()
        };
    }

    /// Ends a sweep that has nothing in hand; otherwise marks it stale, and returns whether that is new.
    pub(crate) fn rest(&mut self) -> bool {
        if self.has_nothing_in_hand() {
            *self = Self::new();
            return false;
        }
        !std::mem::replace(&mut self.stale, true)
    }

    /// The notice that it published with an unknown outcome which is not recorded yet.
    pub(crate) fn unrecorded_unknown(&self) -> Option<Name> {
        let At::Swap(swap) = &self.at else {
            return None;
        };
        match &swap.then {
            Then::Settle {
                sent,
                outcome: Publication::Unknown(_),
                ..
            } => Some(sent.name(swap.subject)),
            _ => None,
        }
    }

    /// Makes all its copies of records older.
    pub(crate) fn older(&mut self) {
        let age = |record: &mut Record| *record = record.older();
        let age_hosts = |hosts: &mut Vec<InHand>| {
            for (_, entry, _) in hosts {
                if let Record::Host(older) = Record::Host(entry.clone()).older() {
                    *entry = older;
                }
            }
        };
        let age_entries = |entries: &mut [Option<Entry>]| {
            for entry in entries.iter_mut().flatten() {
                if let Record::Host(older) = Record::Host(Arc::new(entry.clone())).older() {
                    *entry = Entry::clone(&older);
                }
            }
        };
        match &mut self.at {
            // Both or neither: whether the host was silent must not change.
            At::Confirm(_, heard, at) if heard.older().last != heard.last => {
                (*heard, *at) = (heard.older(), World::aged(*at));
            }
            At::Idle | At::Sweeping | At::Heard(_) | At::Acknowledge(_) | At::Confirm(..) => {}
            At::Orphan(_, entry, _) => {
                if let Record::Host(older) = Record::Host(entry.clone()).older() {
                    *entry = older;
                }
            }
            At::Leased(_, record, _) | At::Release(_, record, ..) => age(record),
            At::Freeze(_, digest, _, entries) => {
                age(digest);
                age_entries(entries);
            }
            At::Swap(swap) => {
                age(&mut swap.next);
                match &mut swap.then {
                    Then::Settle { sent, at, .. } => {
                        age(sent);
                        *at = World::aged(*at);
                    }
                    Then::Create(hosts) => age_hosts(hosts),
                    Then::Join(_, digest, _, hosts) => {
                        age(digest);
                        age_hosts(hosts);
                    }
                    Then::Release(_, digest, ..) => age(digest),
                    Then::Echo(_)
                    | Then::Claim
                    | Then::Orphan
                    | Then::Lease
                    | Then::Freeze
                    | Then::Close => {}
                }
            }
        }
    }
}
