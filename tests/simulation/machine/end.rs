//! What must hold when faults have long ended.

use hb_domain::{Entry, HostId, HostKey, Kind, State, Transition};
use hb_service::ports::{DeliveryQueue, Ledger};

use super::deliveries::DELIVERED;
use super::world::{Id, Machine, World};
use crate::invariants::{NOTHING_PENDING, STATE_IS_REPORTED};

const SECOND: i64 = 1_000;
/// A sweep, and the calls of it.
const SWEEP: i64 = 20 * SECOND + SECOND;
/// How long the process does not run when faults end, at most.
const START_AGAIN: i64 = 90 * SECOND;
/// How long a notice waits in its group at most, and is sent then.
const GROUPS: i64 = 360 * SECOND;
/// How long notices are held at most, and how many graces follow.
const HOLD: i64 = 900 * SECOND;
const GRACES: i64 = 3;
/// How long a silence may wait for a beat of any other host ([`hb_domain::limits::NETWORK_WAIT`]).
const NETWORK_WAIT: i64 = 60 * SECOND;

/// Checks the ledger, the queue of deliveries, and what each receiver has.
pub(crate) async fn check(machine: &Machine) {
    let disk = machine.get().disk.clone();
    let hosts: Vec<HostKey> = machine.get().hosts.keys().cloned().collect();
    for key in hosts {
        let stored = Ledger::<Entry>::load(&*disk, &key).await.unwrap();
        let entry = stored.map_or_else(|| Entry::new(key.clone()), |stored| stored.record);
        machine.get().check_entry(&key, &entry);
    }
    for (subscription, tally) in disk.tally().await.unwrap() {
        if tally.due > 0 {
            let words = format!("{} deliveries to {subscription}", tally.due);
            machine.get().violated(NOTHING_PENDING, words);
        }
    }
    let mut world = machine.get();
    world.check_receipts();
    world.check_silences();
}

impl World {
    fn check_entry(&mut self, key: &HostKey, entry: &Entry) {
        let held = self.is_held(&(key.clone(), entry.epoch));
        if let Some(pending) = entry.pending.as_ref().filter(|_| !held) {
            self.violated(NOTHING_PENDING, format!("{key}: {pending:?}"));
        }
        let host = &self.hosts[key];
        let expected = if host.up { State::Up } else { State::Missing };
        // While hardly any host is heard, a silence is held, and each beat may end a time that does not count.
        let held = |(id, (_, at)): (&Id, &(Transition, i64))| {
            id.0.host == HostId::receiver() && *at > self.calm_from
        };
        let latest = self.calm_from + START_AGAIN + HOLD + GRACES * host.interval + 2 * SWEEP;
        let held = !host.up && latest > self.now() && self.claims.iter().any(held);
        // Hosts that were new while the clock was behind seem known when it is right again, if no sweep was complete until
        // then: a limit of the product.
        let unregistered = host.up && host.behind && entry.state == State::Forgotten;
        // One that never sent a beat is not known.
        if entry.state != expected && host.beat.is_some() && !held && !unregistered {
            let words = format!("{key} is {expected} and is reported {}", entry.state);
            self.violated(STATE_IS_REPORTED, words);
        }
    }

    /// Whether people need not have heard of it yet: of the recovery of a host that flaps, and of a silence that was held until
    /// just now and waits in its group.
    fn is_held(&self, id: &Id) -> bool {
        let until = self.held_until.get(id);
        let waits = self.groups.wait() + self.groups.interval();
        let waits = i64::try_from(waits.as_millis()).unwrap() + 2 * SWEEP;
        let claimed = self.claims.get(id).map(|(_, at)| *at);
        until.is_some_and(|until| until + GROUPS > self.now())
            || claimed.is_some_and(|at| at + waits > self.now())
    }

    fn check_receipts(&mut self) {
        let mut receivers: Vec<_> = self.receivers.keys().cloned().collect();
        receivers.extend(hb_service::ports::CONSOLE.parse());
        let claimed: Vec<_> = self.claims.keys().cloned().collect();
        for id in claimed {
            if self.withdrawn.contains(&id) || self.is_held(&id) {
                continue;
            }
            if !self.accepted.contains_key(&id) {
                self.violated(NOTHING_PENDING, format!("{id:?} was never accepted"));
            }
            for to in &receivers {
                let fate = self.fate(to, &id);
                if fate.receipts.is_empty() && !fate.dead {
                    self.violated(DELIVERED, format!("{to} never got {id:?}"));
                }
            }
        }
    }

    fn check_silences(&mut self) {
        for key in self.silent.clone() {
            let host = &self.hosts[&key];
            let Some(beat) = host.beat else {
                continue;
            };
            let deadline = beat + host.interval;
            let heard = |other: &HostKey| *other != key && self.hosts[other].beat > Some(deadline);
            let alone = !self.hosts.keys().any(heard);
            let until = deadline + SWEEP + host.interval.min(NETWORK_WAIT);
            let claims = self
                .claims
                .range((key.clone(), 0)..=(key.clone(), u64::MAX));
            let mut claims = claims.rev().map(|(_, (last, at))| (last.kind, *at));
            let (last, before) = (claims.next(), claims.next());
            // A failure that a dying sweep left half brought to now is told again first: a limit of the product.
            let again = before.is_some_and(|(kind, at)| kind == Kind::Failing && at > beat);
            let until = until + if again && self.steps > 0 { SWEEP } else { 0 };
            let in_time =
                last.is_some_and(|(kind, at)| kind == Kind::Missing && (at <= until || alone));
            if in_time {
                self.note("one machine: a silence in time");
            } else {
                let words = format!("{key}, last beat {beat}, by {until}: {last:?}");
                self.violated(STATE_IS_REPORTED, words);
            }
        }
    }
}
