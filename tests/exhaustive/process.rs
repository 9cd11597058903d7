//! Where a process that sweeps is, with all that it has in hand.

use std::sync::Arc;

use hb_domain::{Entry, Publication, Timestamp};

use crate::record::{Heard, Name, Record, Subject};
use crate::world::{Echo, World};

/// Most copies of a record in hand: an entry to be given to a digest, with its version.
pub(crate) type InHand = (u8, Arc<Entry>, u32);

/// Where a process is, with what it has in hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// Not running; or about to receive echoes.
    Idle,
    /// With the queue of echoes behind it.
    Sweeping,
    /// An echo is to be compared with its record.
    Heard(Echo),
    /// An echo is written down.
    Acknowledge(Echo),
    /// A candidate, by its beats.
    Confirm(u8, Heard, Timestamp),
    /// An entry that a digest has.
    Orphan(Subject, Arc<Entry>, u32),
    /// Leased, to be published.
    Leased(Subject, Record, u32),
    /// Its hosts are read, to freeze the list.
    Freeze(Subject, Record, u32, Vec<Option<Entry>>),
    /// Its hosts are released, from the nth on.
    Release(Subject, Record, u32, usize),
    /// A record is to be swapped in.
    Swap(Box<Swap>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Swap {
    pub(crate) subject: Subject,
    pub(crate) next: Record,
    pub(crate) expected: u32,
    /// Whether its reply was lost once, so that it is tried again.
    pub(crate) again: bool,
    pub(crate) then: Then,
}

/// What a swap is part of.
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
    /// Time has passed since this sweep began: it begins nothing more.
    pub(crate) stale: bool,
    /// Whether this sweep took in the echoes.
    pub(crate) drained: bool,
    /// Of which notices it could not see the echoes, because others held them.
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

    /// Begins a sweep that found no echoes.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            at: At::Sweeping,
            drained: true,
            ..Self::new()
        };
    }

    /// Ends a sweep that has nothing in hand; or says that one is interrupted by the time that passes.
    pub(crate) fn rest(&mut self) -> bool {
        if self.has_nothing_in_hand() {
            *self = Self::new();
            return false;
        }
        !std::mem::replace(&mut self.stale, true)
    }

    /// The notice that it published, but has yet to write down that the outcome is unknown.
    pub(crate) fn knows_nothing_of(&self) -> Option<Name> {
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

    /// Makes all older that it has in hand.
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
            // Together or not at all: whether the host was silent must not change.
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
