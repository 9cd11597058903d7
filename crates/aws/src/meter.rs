//! Counts what calls to AWS cost, for metrics and for tests that bound the cost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! operations {
    ($($service:literal: $($name:ident),+;)+) => {
        /// An operation of AWS that this crate calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Operation {
            $($($name),+),+
        }

        impl Operation {
            /// Every operation, in the order of declaration.
            pub const ALL: &[Self] = &[$($(Self::$name),+),+];

            /// The name of the IAM action: `dynamodb:UpdateItem`.
            #[must_use]
            pub fn action(self) -> &'static str {
                match self {
                    $($(Self::$name => concat!($service, ":", stringify!($name))),+),+
                }
            }
        }
    };
}

operations! {
    "dynamodb": UpdateItem, PutItem, DeleteItem, GetItem, BatchGetItem, Query, Scan, DescribeTable, CreateTable;
    "sns": Publish, GetTopicAttributes, CreateTopic, Subscribe, ListSubscriptionsByTopic,
        GetSubscriptionAttributes, Unsubscribe, ConfirmSubscription;
    "sqs": GetQueueUrl, ReceiveMessage, DeleteMessage, GetQueueAttributes, CreateQueue;
    "sts": GetCallerIdentity;
}

impl Operation {
    fn is_write(self) -> bool {
        matches!(self, Self::UpdateItem | Self::PutItem | Self::DeleteItem)
    }
}

/// Counts calls and what DynamoDB charged for them; shared by all adapters of one [`Clients`](crate::Clients).
#[derive(Debug, Default)]
pub struct Meter {
    /// By the position of the operation in [`Operation::ALL`], which is its discriminant.
    calls: [AtomicU64; Operation::ALL.len()],
    read_millis: AtomicU64,
    write_millis: AtomicU64,
    /// What may be called; `None` for everything.
    allowed: Option<BTreeSet<Operation>>,
}

/// A reading of a [`Meter`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Thousandths of read units that DynamoDB charged.
    pub read_millis: u64,
    /// Thousandths of write units that DynamoDB charged, indexes included.
    pub write_millis: u64,
    /// Calls by operation: failed ones count, the SDK's own retries do not. Operations without calls are left out.
    pub calls: BTreeMap<Operation, u64>,
}

impl Meter {
    pub(crate) fn limited_to(operations: impl IntoIterator<Item = Operation>) -> Self {
        Self {
            allowed: Some(operations.into_iter().collect()),
            ..Self::default()
        }
    }

    /// The current reading. The numbers only rise; a metric is the difference of two readings.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let counts = self.calls.iter().map(|count| count.load(Ordering::Relaxed));
        let calls = Operation::ALL.iter().copied().zip(counts);
        Usage {
            read_millis: self.read_millis.load(Ordering::Relaxed),
            write_millis: self.write_millis.load(Ordering::Relaxed),
            calls: calls.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Counts a call, whatever its outcome.
    pub(crate) fn called(&self, operation: Operation) {
        debug_assert!(
            self.allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(&operation)),
            "{} is not among the permissions of this program",
            operation.action()
        );
        self.calls[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds the capacity units that a call of `operation` was charged.
    pub(crate) fn charge(&self, operation: Operation, units: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float saturates, and units are small and never negative"
        )]
        let millis = (units * 1_000.0).round() as u64;
        let sum = if operation.is_write() {
            &self.write_millis
        } else {
            &self.read_millis
        };
        sum.fetch_add(millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_are_summed_separately() {
        let meter = Meter::default();
        for (operation, units) in [
            (Operation::Scan, 0.5),
            (Operation::Query, 2.0),
            (Operation::PutItem, 1.0),
        ] {
            meter.called(operation);
            meter.charge(operation, units);
        }
        meter.called(Operation::Scan);
        let calls = [
            (Operation::PutItem, 1),
            (Operation::Query, 1),
            (Operation::Scan, 2),
        ]
        .into();
        assert_eq!(
            meter.usage(),
            Usage {
                read_millis: 2_500,
                write_millis: 1_000,
                calls
            }
        );
    }

    #[test]
    #[should_panic(expected = "sns:Publish is not among the permissions of this program")]
    fn a_call_without_a_permission_panics_in_debug_builds() {
        let meter = Meter::limited_to([Operation::GetItem]);
        meter.called(Operation::GetItem);
        meter.called(Operation::Publish);
    }

    #[test]
    fn each_operation_is_counted_under_its_own_name() {
        for operation in Operation::ALL {
            let meter = Meter::default();
            meter.called(*operation);
            assert_eq!(meter.usage().calls, [(*operation, 1)].into());
            assert!(operation.action().ends_with(&format!(":{operation:?}")));
        }
    }
}
