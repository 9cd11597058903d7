//! [`Heartbeat::recorded`] as conditional updates of one item.
//!
//! Three parts of an item change independently: the newest beat (`l`, `i`, `s`), the first beat (`f`) and the last
//! failure (`x`, `m`). The first beat only moves to earlier instants, the others only to later ones, unless a wrong clock
//! wrote what is stored. So an update may write any part when its condition holds, in any order with other updates, and
//! writing twice is the same as once.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use hb_domain::{Heartbeat, Timestamp, limits};

use super::stored::{
    FAILED, FIRST, FIRST_INTERVAL, GRACE, LAST, LOG, LOGGED, MESSAGE, RUN, RUN_ID, RUN_OF,
    RUN_TOOK, newest_part, run_id, run_part,
};
use crate::item;

/// The parts of a heartbeat that an update writes, and the condition under which it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// All parts, if nothing newer is stored: right for nearly every beat, without reading the item.
    Hopeful,
    /// These parts of an existing item, chosen after reading it, if the condition on each part still holds.
    Late {
        newest: bool,
        first: bool,
        failure: bool,
    },
}

impl Change {
    /// The parts of `new` that the stored `old` lacks; `None` when it lacks none.
    pub(super) fn late(old: &Heartbeat, new: &Heartbeat) -> Option<Self> {
        // The time limit of the function: no request lives as long as the skew.
        let merged = old.clone().recorded(new.clone(), new.last);
        let newest = newest_part(&merged) != newest_part(old);
        let first = merged.first != old.first;
        let failure = merged.failure != old.failure;
        (newest || first || failure).then_some(Self::Late {
            newest,
            first,
            failure,
        })
    }

    /// The update of an item with `new`.
    pub(super) fn of(self, new: &Heartbeat) -> Update {
        let mut update = Update::default();
        match self {
            Self::Hopeful => {
                update.newest(new);
                update.first_known(FIRST, item::instant(new.first));
                if let Some(interval) = new.first_interval {
                    update.first_known(FIRST_INTERVAL, item::number(interval.as_millis()));
                }
                let mut conditions = vec![format!("#{LAST} <= :{LAST}")];
                // A single beat is its own first beat and failure, and the condition on the last beat covers both.
                if new.first != new.last {
                    conditions.push(format!("#{FIRST} <= :{FIRST}"));
                }
                if let Some(failure) = &new.failure {
                    update.failure(new);
                    if failure.at != new.last {
                        conditions.push(NO_NEWER_FAILURE.to_owned());
                    }
                }
                update.condition = format!(
                    "attribute_not_exists(#{LAST}) OR ({})",
                    conditions.join(" AND ")
                );
            }
            Self::Late {
                newest,
                first,
                failure,
            } => {
                let mut conditions = vec![format!("attribute_exists(#{LAST})")];
                if newest {
                    update.newest(new);
                    conditions.push(format!("(#{LAST} <= :{LAST} OR #{LAST} > {AHEAD})"));
                }
                if first {
                    update.put(FIRST, Some(item::instant(new.first)));
                    if let Some(interval) = new.first_interval {
                        update.put(FIRST_INTERVAL, Some(item::number(interval.as_millis())));
                    }
                    conditions.push(format!("#{FIRST} > :{FIRST}"));
                }
                if failure {
                    update.failure(new);
                    conditions.push(NO_NEWER_RIGHT_FAILURE.to_owned());
                }
                if newest || failure {
                    let ahead = new.last.plus(limits::FUTURE_SKEW);
                    update.values.insert(AHEAD.to_owned(), item::instant(ahead));
                }
                update.condition = conditions.join(" AND ");
            }
        }
        update
    }
}

/// The value after which only a wrong clock can have written an instant.
const AHEAD: &str = ":ahead";

const NO_NEWER_RIGHT_FAILURE: &str =
    "(attribute_not_exists(#x) OR #x <= :x OR #x > :ahead OR #x > #l)";

const NO_NEWER_FAILURE: &str = "(attribute_not_exists(#x) OR #x <= :x)";

/// The update with the run and the message of a start or a log; of a host that is not stored, with a beat of it. Its condition
/// fails when a later run or message is stored, or when there is neither and the host is.
pub(super) fn note(new: &Heartbeat) -> Update {
    let mut update = Update::default();
    let mut conditions = Vec::new();
    let mut unless_later = |name: &str, older: &str, at: Timestamp| {
        let ahead = item::instant(at.plus(limits::FUTURE_SKEW));
        conditions.push(format!(
            "(attribute_not_exists(#{name}) OR #{name} {older} :{name} OR #{name} > {AHEAD})"
        ));
        (AHEAD.to_owned(), ahead)
    };
    if let Some(run) = &new.run {
        for (name, value) in run_part(run) {
            update.put(name, value);
        }
        update.values.extend([unless_later(RUN, "<", run.at)]);
    }
    if let Some(log) = &new.log {
        update.put(LOGGED, Some(item::instant(log.at)));
        update.put(LOG, Some(item::text(log.message.as_str())));
        update.values.extend([unless_later(LOGGED, "<=", log.at)]);
    }
    if conditions.is_empty() {
        conditions.push(format!("attribute_not_exists(#{LAST})"));
    }
    update.condition = conditions.join(" AND ");
    let known = new.clone().stored();
    // Neither the grace nor the first interval: a known host without one has none.
    let beat = newest_part(&known).into_iter();
    for (name, value) in beat.filter(|(name, _)| *name != GRACE) {
        if let Some(value) = value {
            update.first_known(name, value);
        }
    }
    update.first_known(FIRST, item::instant(known.first));
    update
}

/// The update that ends the run which the beat `new` is about, with how long it took; `None` when it is about none.
pub(super) fn end_of_run(new: &Heartbeat) -> Option<Update> {
    let id = run_id(new.run_id?);
    let mut update = Update::default();
    update.set.push(format!("#{RUN_TOOK} = :{LAST} - #{RUN}"));
    update.value(LAST, item::instant(new.last));
    update.value(RUN_ID, id);
    update.condition = format!(
        "#{RUN_OF} = :{RUN_ID} AND #{RUN} <= :{LAST} AND attribute_not_exists(#{RUN_TOOK})"
    );
    Some(update)
}

/// The update that brings the instants of `heartbeat`, as it was read, to `now` where they are ahead; `None` when none
/// is. Its condition fails when one of them was written since.
pub(super) fn mend(heartbeat: &Heartbeat, now: Timestamp) -> Option<Update> {
    let failed = heartbeat.failure.as_ref().map(|failure| failure.at);
    let instants = [
        (FIRST, Some(heartbeat.first)),
        (LAST, Some(heartbeat.last)),
        (FAILED, failed),
    ];
    let ahead: Vec<_> = instants
        .into_iter()
        .filter_map(|(name, instant)| Some((name, instant?)))
        .filter(|(_, instant)| instant.is_ahead(now))
        .collect();
    let mut update = Update::default();
    for (name, seen) in &ahead {
        update.set.push(format!("#{name} = :now"));
        update.value(name, item::instant(*seen));
    }
    let conditions: Vec<_> = ahead
        .iter()
        .map(|(name, _)| format!("#{name} = :{name}"))
        .collect();
    update.condition = conditions.join(" AND ");
    update.value("now", item::instant(now));
    (!ahead.is_empty()).then_some(update)
}

/// The parts of an `UpdateItem`.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) condition: String,
    pub(super) values: HashMap<String, AttributeValue>,
    set: Vec<String>,
    remove: Vec<String>,
}

impl Update {
    /// The same of a host that is stored, and of no other.
    pub(super) fn of_known(mut self) -> Self {
        self.condition = format!("attribute_exists(#{LAST}) AND ({})", self.condition);
        self
    }

    pub(super) fn expression(&self) -> String {
        let set = format!("SET {}", self.set.join(", "));
        if self.remove.is_empty() {
            set
        } else {
            format!("{set} REMOVE {}", self.remove.join(", "))
        }
    }

    fn newest(&mut self, new: &Heartbeat) {
        for (name, value) in newest_part(new) {
            self.put(name, value);
        }
    }

    fn failure(&mut self, new: &Heartbeat) {
        let Some(failure) = &new.failure else { return };
        self.put(FAILED, Some(item::instant(failure.at)));
        let message = failure.message.as_ref();
        self.put(MESSAGE, message.map(|message| item::text(message.as_str())));
    }

    /// Sets an attribute that the item lacks.
    fn first_known(&mut self, name: &str, value: AttributeValue) {
        let set = format!("#{name} = if_not_exists(#{name}, :{name})");
        self.set.push(set);
        self.value(name, value);
    }

    /// Sets an attribute, or removes it.
    fn put(&mut self, name: &str, value: Option<AttributeValue>) {
        let Some(value) = value else {
            return self.remove.push(format!("#{name}"));
        };
        self.set.push(format!("#{name} = :{name}"));
        self.value(name, value);
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(format!(":{name}"), value);
    }
}

#[cfg(test)]
mod tests {
    use hb_domain::{Beat, KeyId, Message, Signal, strategy};
    use proptest::prelude::*;

    use super::*;

    fn beat(at: i64, signal: Signal, message: Option<&str>) -> Heartbeat {
        Heartbeat::new(Beat {
            signal,
            message: message.map(|text| Message::from(text.to_owned())),
            key: Some(KeyId::from_random([7; 7])),
            address: Some([203, 0, 113, 7].into()),
            ..Beat::ok(Timestamp::from_millis(at).unwrap())
        })
    }

    /// The item after DynamoDB applied `change`; `None` when its condition does not hold.
    fn apply(change: Change, old: Option<&Heartbeat>, new: &Heartbeat) -> Option<Heartbeat> {
        let failed = |heartbeat: &Heartbeat| heartbeat.failure.as_ref().map(|failure| failure.at);
        let failure_is_older = |old: &Heartbeat| failed(old) <= failed(new);
        let failure_is_wrong =
            |old: &Heartbeat| failed(old).is_some_and(|at| at.is_ahead(new.last) || at > old.last);
        match (change, old) {
            (Change::Hopeful, None) => Some(new.clone()),
            (Change::Late { .. }, None) => None,
            (Change::Hopeful, Some(old)) => {
                let holds = old.last <= new.last
                    && (new.first == new.last || old.first <= new.first)
                    && (new.failure.is_none()
                        || failed(new) == Some(new.last)
                        || failure_is_older(old));
                let failure = new.failure.clone().or_else(|| old.failure.clone());
                holds.then(|| Heartbeat {
                    first: old.first,
                    first_interval: old.first_interval,
                    failure,
                    ..new.clone()
                })
            }
            (
                Change::Late {
                    newest,
                    first,
                    failure,
                },
                Some(old),
            ) => {
                let holds = (!newest || old.last <= new.last || old.last.is_ahead(new.last))
                    && (!first || old.first > new.first)
                    && (!failure || failure_is_older(old) || failure_is_wrong(old));
                let base = if newest { new } else { old };
                let earlier = if first { new } else { old };
                holds.then(|| Heartbeat {
                    first: earlier.first,
                    first_interval: earlier.first_interval,
                    failure: if failure {
                        new.failure.clone()
                    } else {
                        old.failure.clone()
                    },
                    ..base.clone()
                })
            }
        }
    }

    fn instants(heartbeat: &Heartbeat) -> (Timestamp, Timestamp, Option<Timestamp>) {
        (
            heartbeat.first,
            heartbeat.last,
            heartbeat.failure.as_ref().map(|failure| failure.at),
        )
    }

    proptest! {
        /// A hopeful update, then a late one if that fails, with any other write between the two.
        #[test]
        fn updates_merge_as_the_domain_does(old in strategy::heartbeat(), new in strategy::heartbeat(), between in prop::option::of(strategy::heartbeat())) {
            if let Some(done) = apply(Change::Hopeful, Some(&old), &new) {
                prop_assert_eq!(done, old.recorded(new.clone(), new.last));
                return Ok(());
            }
            let Some(change) = Change::late(&old, &new) else {
                prop_assert_eq!(old.clone().recorded(new.clone(), new.last), old);
                return Ok(());
            };
            let stored = between.map_or(old.clone(), |between| old.clone().recorded(between.clone(), between.last));
            // What a wrong clock wrote in between, or a right one overwrote, is right after the next beat.
            if stored != old && (stored.is_ahead(new.last) || stored.last < old.last) {
                return Ok(());
            }
            match apply(change, Some(&stored), &new) {
                // Of two beats in one millisecond either may win; the instants are exact.
                Some(done) => prop_assert_eq!(instants(&done), instants(&stored.recorded(new.clone(), new.last))),
                // The next attempt reads the interfering write, and then succeeds.
                None => if let Some(next) = Change::late(&stored, &new) {
                    prop_assert_eq!(apply(next, Some(&stored), &new), Some(stored.recorded(new.clone(), new.last)));
                },
            }
        }

        #[test]
        fn one_late_update_is_enough_without_interfering_writes(old in strategy::heartbeat(), new in strategy::heartbeat()) {
            if apply(Change::Hopeful, Some(&old), &new).is_none() && let Some(change) = Change::late(&old, &new) {
                prop_assert_eq!(apply(change, Some(&old), &new), Some(old.recorded(new.clone(), new.last)));
            }
        }
    }

    #[test]
    fn a_beat_is_one_update_expression() {
        let ok = Change::Hopeful.of(&beat(5, Signal::Ok, None));
        assert_eq!(
            ok.expression(),
            "SET #l = :l, #i = :i, #k = :k, #a = :a, #f = if_not_exists(#f, :f), #b = if_not_exists(#b, :b) REMOVE #g, #e, #s"
        );
        assert_eq!(ok.condition, "attribute_not_exists(#l) OR (#l <= :l)");
        let fail = Change::Hopeful.of(&beat(5, Signal::Fail, Some("disk full")));
        assert_eq!(
            fail.expression(),
            "SET #l = :l, #i = :i, #s = :s, #k = :k, #a = :a, #f = if_not_exists(#f, :f), #b = if_not_exists(#b, :b), \
                #x = :x, #m = :m REMOVE #g, #e"
        );
        assert_eq!(fail.condition, ok.condition);
    }

    #[test]
    fn a_late_failure_writes_only_the_missing_parts() {
        let (old, new) = (beat(9, Signal::Ok, None), beat(5, Signal::Fail, None));
        let late = Change::late(&old, &new).unwrap();
        assert_eq!(
            late,
            Change::Late {
                newest: false,
                first: true,
                failure: true
            }
        );
        let update = late.of(&new);
        assert_eq!(
            update.expression(),
            "SET #f = :f, #b = :b, #x = :x REMOVE #m"
        );
        let condition = "attribute_exists(#l) AND #f > :f AND \
            (attribute_not_exists(#x) OR #x <= :x OR #x > :ahead OR #x > #l)";
        assert_eq!(update.condition, condition);
        assert_eq!(
            Change::late(&old.recorded(new.clone(), new.last), &new),
            None,
            "writing twice is the same as once"
        );
    }

    #[test]
    fn only_what_is_ahead_is_mended_and_only_while_it_is() {
        let now = Timestamp::from_millis(1_000).unwrap();
        assert!(mend(&beat(61_000, Signal::Fail, None), now).is_none());
        let failed = beat(9, Signal::Fail, None).merge(beat(61_001, Signal::Ok, None));
        let update = mend(&failed, now).unwrap();
        let (expression, condition) = (update.expression(), update.condition);
        assert_eq!(
            (expression.as_str(), condition.as_str()),
            ("SET #l = :now", "#l = :l")
        );
        let update = mend(&beat(61_001, Signal::Fail, None), now).unwrap();
        assert_eq!(update.expression(), "SET #f = :now, #l = :now, #x = :now");
        assert_eq!(update.condition, "#f = :f AND #l = :l AND #x = :x");
        assert_eq!(update.values[":now"], item::instant(now));
        assert_eq!(update.values[":l"].as_n().unwrap(), "61001");
    }
}
