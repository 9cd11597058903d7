//! The next step of a process, given the result of the one before.

use hb_domain::{DigestStage, Entry, Phase, Publication, Timestamp};
use uuid::Uuid;

use crate::process::{At, InHand, Swap, Then};
use crate::record::{Record, Subject, now};
use crate::world::Stored;

/// The holder of the lease that was swapped in as this version: each version has its own.
pub(crate) fn owner(version: u32) -> Uuid {
    Uuid::from_u128(version.into())
}

pub(crate) fn swap(subject: Subject, next: impl Into<Record>, expected: u32, then: Then) -> At {
    At::Swap(Box::new(Swap {
        subject,
        next: next.into(),
        expected,
        again: false,
        then,
    }))
}

/// The step after a host of an accepted digest was loaded.
pub(crate) fn released(
    host: Subject,
    stored: &Stored,
    subject: Subject,
    digest: &Record,
    version: u32,
    nth: usize,
) -> At {
    let on = At::Release(subject, digest.clone(), version, nth + 1);
    let (Record::Host(entry), Record::Digest(accepted)) = (&stored.record, digest) else {
        return on;
    };
    if entry.digest() != Some(&accepted.id) {
        return on;
    }
    match Entry::clone(entry).released(Some(accepted), now()) {
        Some(next) => swap(
            host,
            next,
            stored.version,
            Then::Release(subject, digest.clone(), version, nth),
        ),
        None => on,
    }
}

/// Leases a notice, if it is ready.
pub(crate) fn lease(subject: Subject, record: &Record, version: u32, stale: bool) -> At {
    let leased = record.leased(owner(version + 1)).filter(|_| !stale);
    leased.map_or(At::Sweeping, |leased| {
        swap(subject, leased, version, Then::Lease)
    })
}

/// Records the outcome of publishing `sent` at the instant `at`.
pub(crate) fn settle(
    subject: Subject,
    sent: Record,
    current: Record,
    version: u32,
    outcome: Publication,
    at: Timestamp,
) -> At {
    let Some(Phase::Sending { owner, .. }) = sent.pending().map(|pending| &pending.phase) else {
        return At::Sweeping;
    };
    match current.settled(&sent, *owner, &outcome, at) {
        Some(next) => swap(subject, next, version, Then::Settle { sent, outcome, at }),
        None => after(subject, current, version),
    }
}

/// Adds the next of these hosts to a digest; when there is none, reads them to freeze the list.
pub(crate) fn join(
    subject: Subject,
    digest: Record,
    version: u32,
    mut hosts: Vec<InHand>,
    stale: bool,
) -> At {
    let Record::Digest(open) = &digest else {
        return At::Sweeping;
    };
    if stale {
        return At::Sweeping;
    }
    while !hosts.is_empty() {
        let (host, entry, expected) = hosts.remove(0);
        if let Some(batched) = Entry::clone(&entry).batched(&open.id, now()) {
            let then = Then::Join(subject, digest, version, hosts);
            return swap(Subject::Host(host), batched, expected, then);
        }
    }
    At::Freeze(subject, digest, version, Vec::new())
}

/// The step after the outcome of a publish is recorded.
pub(crate) fn after(subject: Subject, record: Record, version: u32) -> At {
    match &record {
        Record::Digest(digest) if digest.stage == DigestStage::Accepted => {
            At::Release(subject, record, version, 0)
        }
        _ => At::Sweeping,
    }
}

/// The step after a swap that succeeded.
pub(crate) fn done(swap: &Swap, version: u32, stale: bool) -> At {
    let (subject, record) = (swap.subject, swap.next.clone());
    match swap.then.clone() {
        Then::Echo(echo) => At::Acknowledge(echo),
        Then::Freeze => lease(subject, &record, version, stale),
        // Delivered by itself or in a digest, as any pending notice.
        Then::Orphan | Then::Claim | Then::Close => At::Sweeping,
        Then::Lease => At::Leased(subject, record, version),
        Then::Settle { .. } => after(subject, record, version),
        Then::Create(hosts) => join(subject, record, version, hosts, stale),
        Then::Join(digest, record, version, hosts) => join(digest, record, version, hosts, stale),
        Then::Release(digest, record, version, nth) => {
            At::Release(digest, record, version, nth + 1)
        }
    }
}

/// The step after a swap that lost a race.
pub(crate) fn conflict(swap: &Swap, stored: Option<&Stored>, stale: bool) -> At {
    match (swap.then.clone(), stored) {
        // Compared with the current record, without receiving the echo again.
        (Then::Echo(echo), _) => At::Heard(echo),
        (Then::Settle { sent, outcome, at }, Some(stored)) => settle(
            swap.subject,
            sent,
            stored.record.clone(),
            stored.version,
            outcome,
            at,
        ),
        (Then::Join(digest, record, version, hosts), _) => {
            join(digest, record, version, hosts, stale)
        }
        (Then::Release(digest, record, version, nth), Some(stored)) => {
            released(swap.subject, stored, digest, &record, version, nth)
        }
        _ => At::Sweeping,
    }
}
