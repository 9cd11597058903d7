//! Silence among several regions.
//!
//! The ledger is the same in all regions at every instant; heartbeats are copied from one to the other late, out of
//! order, and at times not at all. So while other regions live, silence as one of them sees it proves nothing. The region
//! that heard a host last asks the others in the ledger, and the host is missing when every living region finds it
//! silent. A region that knows of a newer beat withdraws the question.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::beat::{Heartbeat, Interval, Signal};
use crate::decide::{Rules, decide};
use crate::entry::Entry;
use crate::host::Region;
use crate::limits;
use crate::time::Timestamp;
use crate::transition::{Caveat, Kind, State};

/// The question to the other regions whether they have heard a host that seems missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Inquiry {
    /// Its last beat, as far as the region that asks knows.
    pub last_beat: Timestamp,
    /// The interval of that beat.
    pub interval: Interval,
    /// When it was asked.
    pub at: Timestamp,
    /// The regions that find the host silent, the one that asks included.
    pub silent_in: BTreeSet<Region>,
}

/// The regions that a decision depends on.
#[derive(Clone, Debug)]
pub struct Regions {
    /// The one that decides.
    pub home: Region,
    /// The others whose receivers work, as the ledger says ([`Receiver::lives`](crate::Receiver::lives)).
    pub living: Vec<Region>,
}

impl Inquiry {
    /// The interval of the last beat, where that is stored here: the region that asks may know from the entry when it
    /// was, and have no copy of it.
    fn interval_here(&self, stored: Option<&Heartbeat>) -> Option<Interval> {
        let last = stored.filter(|stored| stored.last >= self.last_beat);
        last.map(|last| last.interval)
    }

    /// What is known of the host: its beats as they are stored here, or the later one that the inquiry names.
    fn known(&self, stored: Option<&Heartbeat>) -> Heartbeat {
        let first = stored.map_or(self.last_beat, |heartbeat| heartbeat.first);
        Heartbeat {
            first,
            last: stored.map_or(self.last_beat, |stored| stored.last.max(self.last_beat)),
            interval: self.interval_here(stored).unwrap_or(self.interval),
            grace: stored.and_then(|heartbeat| heartbeat.grace),
            run_id: stored.and_then(|heartbeat| heartbeat.run_id),
            run: stored.and_then(|heartbeat| heartbeat.run),
            log: None,
            signal: stored.map_or(Signal::Ok, |heartbeat| heartbeat.signal),
            failure: stored.and_then(|heartbeat| heartbeat.failure.clone()),
            key: stored.and_then(|heartbeat| heartbeat.key),
            address: stored.and_then(|heartbeat| heartbeat.address),
            first_interval: stored.and_then(|heartbeat| heartbeat.first_interval),
        }
    }
}

impl Entry {
    /// Records that one region has judged the host once more, by its own beats; `None` when that changes nothing. The
    /// recheck is done when every living region has: a failure that one of them received may not be copied yet.
    #[must_use]
    pub fn rechecked_by(mut self, regions: &Regions) -> Option<Self> {
        // While a notice is pending nothing is judged.
        let due = self.needs_recheck && self.pending.is_none();
        let news = self.rechecked_in.insert(regions.home.clone());
        let mut living = regions.living.iter();
        if living.all(|region| self.rechecked_in.contains(region)) {
            self.needs_recheck = false;
            self.rechecked_in.clear();
        }
        (due && (news || !self.needs_recheck)).then_some(self)
    }

    /// This entry, decided in one of several regions, with the recheck that another one has yet to do. One is due as well
    /// when the host recovered from failing: of a later failure, which another region received meanwhile, that region took
    /// no notice because the host was failing anyway.
    fn with_recheck_after(self, before: &Self, regions: &Regions) -> Self {
        let recovered = before.state == State::Failing && self.state == State::Up;
        let due = before.needs_recheck && before.state != State::Forgotten;
        Self {
            needs_recheck: self.needs_recheck || (recovered || due) && !regions.living.is_empty(),
            ..self
        }
    }
}

/// As [`decide`], for one of several regions. `stored` are the beats of the host as they are stored here, of all regions
/// together, and the region of the newest one.
///
/// While other regions live, a transition to missing is the last of several steps:
///
/// | no inquiry yet | an inquiry is open | the entry becomes |
/// | --- | --- | --- |
/// | silent, and heard last here or in a region that does not live | | one with an inquiry |
/// | | silent here as well, others have yet to answer | one with this answer |
/// | | silent in every living region | missing |
/// | | asked here longer ago than [`limits::REGION_DEAD_AFTER`] | missing, with a caveat |
/// | | asked elsewhere longer ago than that, silent here | one with a new inquiry |
/// | | a newer beat is known here, or a longer interval of the last one, or silence is no longer sure where it was | one without inquiry |
#[must_use]
pub fn decide_among(
    entry: &Entry,
    stored: Option<(&Heartbeat, &Region)>,
    now: Timestamp,
    rules: &Rules,
    regions: &Regions,
) -> Option<Entry> {
    let heartbeat = stored.map(|(heartbeat, _)| heartbeat);
    let asked = entry.inquiry.as_ref();
    // Regions that brought one beat of a wrong clock to now did so by clocks that differ.
    let is_news =
        |known: &Heartbeat, asked: &Inquiry| known.last > asked.last_beat.plus(rules.skew);
    let open = asked.filter(|asked| heartbeat.is_none_or(|known| !is_news(known, asked)));
    let known = match (open, heartbeat) {
        (Some(open), _) => open.known(heartbeat),
        (None, heartbeat) => heartbeat?.clone(),
    };
    let withdrawn = || Entry {
        inquiry: None,
        basis: entry.basis.max(known.last),
        ..entry.clone()
    };
    let next = decide(entry, &known, now, rules);
    match next.map(|next| next.with_recheck_after(entry, regions)) {
        Some(missing) if decided(&missing) == Some(Kind::Missing) => {
            let heard_in = stored.map(|(_, region)| region);
            let heard_elsewhere = heard_in.is_some_and(|region| regions.living.contains(region));
            let is_new = entry.state == State::Forgotten && entry.settings.expected.is_none();
            if is_new && !regions.living.is_empty() {
                // A host that is new is registered before anyone asks about its silence.
                return decide(entry, &known, now, &rules.without_silence());
            }
            if open.is_none() && heard_elsewhere {
                return asked.map(|_| withdrawn());
            }
            agree(entry, open, &known, missing, now, regions)
        }
        // A failure that was left undecided is news wherever the newest beat is stored. Without it this region could never
        // answer.
        Some(next) if open.is_none() || decided(&next) == Some(Kind::Failing) => Some(next),
        _ => {
            // The newest beat may be stored elsewhere: a recovery is not decided while the inquiry is open.
            let mine = |asked: &Inquiry| asked.silent_in.contains(&regions.home);
            let longer = |asked: &Inquiry| asked.interval_here(heartbeat) > Some(asked.interval);
            let outdated = asked.filter(|asked| open.is_none() || mine(asked) || longer(asked));
            outdated.map(|_| withdrawn())
        }
    }
}

/// What becomes of `entry` when the host is silent here: `missing`, if every living region finds it silent.
fn agree(
    entry: &Entry,
    open: Option<&Inquiry>,
    known: &Heartbeat,
    mut missing: Entry,
    now: Timestamp,
    regions: &Regions,
) -> Option<Entry> {
    let expired = open.filter(|open| now.since(open.at) > limits::REGION_DEAD_AFTER);
    if expired.is_some_and(|open| !open.silent_in.contains(&regions.home)) {
        // What the others said so long ago is no answer: they are asked again.
        return agree(entry, None, known, missing, now, regions);
    }
    let expired = expired.is_some();
    let mut inquiry = open.cloned().unwrap_or_else(|| Inquiry {
        last_beat: known.last.max(entry.basis),
        interval: known.interval,
        at: now,
        silent_in: BTreeSet::new(),
    });
    let news = inquiry.silent_in.insert(regions.home.clone());
    let mut waits_for = regions.living.iter();
    let waits_for = waits_for.find(|region| expired || !inquiry.silent_in.contains(region));
    match waits_for {
        None => Some(missing),
        Some(region) if expired => {
            if let Some(last) = missing.history.last_mut() {
                last.caveat = Some(Caveat::RegionUnreachable(region.clone()));
            }
            Some(missing)
        }
        Some(_) => news.then(|| Entry {
            inquiry: Some(inquiry),
            ..entry.clone()
        }),
    }
}

/// What happened to the host by the last transition of an entry.
fn decided(next: &Entry) -> Option<Kind> {
    let last = next.history.last().filter(|last| last.epoch == next.epoch);
    last.map(|last| last.kind)
}

#[cfg(test)]
mod tests;
