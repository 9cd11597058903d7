//! [`Heartbeat::merge`] as conditional updates of one item.
//!
//! Three parts of an item change independently: the newest beat (`l`, `i`, `s`), the first beat (`f`) and the last
//! failure (`x`, `m`). The first beat only moves to earlier instants, the others only to later ones. So an update may
//! write any part when its condition holds, in any order with other updates, and writing twice is the same as once.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use hb_domain::Heartbeat;

use super::stored::{FAILED, FIRST, LAST, MESSAGE, newest_part};
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
        let merged = old.clone().merge(new.clone());
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
                update
                    .set
                    .push(format!("#{FIRST} = if_not_exists(#{FIRST}, :{FIRST})"));
                update.value(FIRST, item::instant(new.first));
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
                    conditions.push(format!("#{LAST} <= :{LAST}"));
                }
                if first {
                    update.set.push(format!("#{FIRST} = :{FIRST}"));
                    update.value(FIRST, item::instant(new.first));
                    conditions.push(format!("#{FIRST} > :{FIRST}"));
                }
                if failure {
                    update.failure(new);
                    conditions.push(NO_NEWER_FAILURE.to_owned());
                }
                update.condition = conditions.join(" AND ");
            }
        }
        update
    }
}

const NO_NEWER_FAILURE: &str = "(attribute_not_exists(#x) OR #x <= :x)";

/// The parts of an `UpdateItem`.
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) condition: String,
    pub(super) values: HashMap<String, AttributeValue>,
    set: Vec<String>,
    remove: Vec<String>,
}

impl Update {
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
    use hb_domain::{Beat, Message, Signal, Timestamp, strategy};
    use proptest::prelude::*;

    use super::*;

    fn beat(at: i64, signal: Signal, message: Option<&str>) -> Heartbeat {
        Heartbeat::new(Beat {
            signal,
            message: message.map(|text| Message::from(text.to_owned())),
            ..Beat::ok(Timestamp::from_millis(at).unwrap())
        })
    }

    /// The item after DynamoDB applied `change`; `None` when its condition does not hold.
    fn apply(change: Change, old: Option<&Heartbeat>, new: &Heartbeat) -> Option<Heartbeat> {
        let failed = |heartbeat: &Heartbeat| heartbeat.failure.as_ref().map(|failure| failure.at);
        let failure_is_older = |old: &Heartbeat| failed(old) <= failed(new);
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
                let holds = (!newest || old.last <= new.last)
                    && (!first || old.first > new.first)
                    && (!failure || failure_is_older(old));
                let base = if newest { new } else { old };
                holds.then(|| Heartbeat {
                    first: if first { new.first } else { old.first },
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
                prop_assert_eq!(done, old.merge(new));
                return Ok(());
            }
            let Some(change) = Change::late(&old, &new) else {
                prop_assert_eq!(old.clone().merge(new), old);
                return Ok(());
            };
            let stored = between.map_or(old.clone(), |between| old.clone().merge(between));
            match apply(change, Some(&stored), &new) {
                // Of two beats in one millisecond either may win; the instants are exact.
                Some(done) => prop_assert_eq!(instants(&done), instants(&stored.merge(new))),
                // The next attempt reads the interfering write, and then succeeds.
                None => if let Some(next) = Change::late(&stored, &new) {
                    prop_assert_eq!(apply(next, Some(&stored), &new), Some(stored.merge(new)));
                },
            }
        }

        #[test]
        fn one_late_update_is_enough_without_interfering_writes(old in strategy::heartbeat(), new in strategy::heartbeat()) {
            if apply(Change::Hopeful, Some(&old), &new).is_none() && let Some(change) = Change::late(&old, &new) {
                prop_assert_eq!(apply(change, Some(&old), &new), Some(old.merge(new)));
            }
        }
    }

    #[test]
    fn a_beat_is_one_update_expression() {
        let ok = Change::Hopeful.of(&beat(5, Signal::Ok, None));
        assert_eq!(
            ok.expression(),
            "SET #l = :l, #i = :i, #f = if_not_exists(#f, :f) REMOVE #s"
        );
        assert_eq!(ok.condition, "attribute_not_exists(#l) OR (#l <= :l)");
        let fail = Change::Hopeful.of(&beat(5, Signal::Fail, Some("disk full")));
        assert_eq!(
            fail.expression(),
            "SET #l = :l, #i = :i, #s = :s, #f = if_not_exists(#f, :f), #x = :x, #m = :m"
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
        assert_eq!(update.expression(), "SET #f = :f, #x = :x REMOVE #m");
        let condition =
            "attribute_exists(#l) AND #f > :f AND (attribute_not_exists(#x) OR #x <= :x)";
        assert_eq!(update.condition, condition);
        assert_eq!(
            Change::late(&old.merge(new.clone()), &new),
            None,
            "writing twice is the same as once"
        );
    }
}
