//! What the calls to AWS cost, for metrics and for tests that hold the cost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// An operation of AWS that this crate calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Of DynamoDB, as are all up to [`Operation::CreateTable`].
    UpdateItem,
    /// Likewise.
    PutItem,
    /// Likewise.
    DeleteItem,
    /// Likewise.
    GetItem,
    /// Likewise.
    Query,
    /// Likewise.
    Scan,
    /// Likewise.
    DescribeTable,
    /// Likewise.
    CreateTable,
    /// Of SNS, as are all up to [`Operation::GetSubscriptionAttributes`].
    Publish,
    /// Likewise.
    GetTopicAttributes,
    /// Likewise.
    CreateTopic,
    /// Likewise.
    Subscribe,
    /// Likewise.
    ListSubscriptionsByTopic,
    /// Likewise.
    GetSubscriptionAttributes,
    /// Likewise.
    Unsubscribe,
    /// Likewise.
    ConfirmSubscription,
    /// Of SQS, as are all that follow.
    GetQueueUrl,
    /// Likewise.
    ReceiveMessage,
    /// Likewise, for several messages at once.
    DeleteMessage,
    /// Likewise.
    GetQueueAttributes,
    /// Likewise.
    CreateQueue,
}

impl Operation {
    /// All of them, in the order of their places in a [`Meter`].
    const ALL: [Self; 21] = [
        Self::UpdateItem,
        Self::PutItem,
        Self::DeleteItem,
        Self::GetItem,
        Self::Query,
        Self::Scan,
        Self::DescribeTable,
        Self::CreateTable,
        Self::Publish,
        Self::GetTopicAttributes,
        Self::CreateTopic,
        Self::Subscribe,
        Self::ListSubscriptionsByTopic,
        Self::GetSubscriptionAttributes,
        Self::Unsubscribe,
        Self::ConfirmSubscription,
        Self::GetQueueUrl,
        Self::ReceiveMessage,
        Self::DeleteMessage,
        Self::GetQueueAttributes,
        Self::CreateQueue,
    ];

    /// What IAM calls it: `dynamodb:UpdateItem`.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::UpdateItem => "dynamodb:UpdateItem",
            Self::PutItem => "dynamodb:PutItem",
            Self::DeleteItem => "dynamodb:DeleteItem",
            Self::GetItem => "dynamodb:GetItem",
            Self::Query => "dynamodb:Query",
            Self::Scan => "dynamodb:Scan",
            Self::DescribeTable => "dynamodb:DescribeTable",
            Self::CreateTable => "dynamodb:CreateTable",
            Self::Publish => "sns:Publish",
            Self::GetTopicAttributes => "sns:GetTopicAttributes",
            Self::CreateTopic => "sns:CreateTopic",
            Self::Subscribe => "sns:Subscribe",
            Self::ListSubscriptionsByTopic => "sns:ListSubscriptionsByTopic",
            Self::GetSubscriptionAttributes => "sns:GetSubscriptionAttributes",
            Self::Unsubscribe => "sns:Unsubscribe",
            Self::ConfirmSubscription => "sns:ConfirmSubscription",
            Self::GetQueueUrl => "sqs:GetQueueUrl",
            Self::ReceiveMessage => "sqs:ReceiveMessage",
            Self::DeleteMessage => "sqs:DeleteMessage",
            Self::GetQueueAttributes => "sqs:GetQueueAttributes",
            Self::CreateQueue => "sqs:CreateQueue",
        }
    }

    fn is_write(self) -> bool {
        matches!(self, Self::UpdateItem | Self::PutItem | Self::DeleteItem)
    }
}

/// Counts calls and what DynamoDB charged for them; shared by all adapters of one [`Clients`](crate::Clients).
#[derive(Debug, Default)]
pub struct Meter {
    calls: [AtomicU64; Operation::ALL.len()],
    read_millis: AtomicU64,
    write_millis: AtomicU64,
    /// What may be called; `None` for everything.
    allowed: Option<BTreeSet<Operation>>,
}

/// What a [`Meter`] stood at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Thousandths of read units that DynamoDB charged.
    pub read_millis: u64,
    /// Thousandths of write units, indexes included.
    pub write_millis: u64,
    /// How often each operation was called, those that failed included and the SDK's own retries not. Those that
    /// were never called are left out.
    pub calls: BTreeMap<Operation, u64>,
}

impl Meter {
    pub(crate) fn limited_to(operations: impl IntoIterator<Item = Operation>) -> Self {
        Self {
            allowed: Some(operations.into_iter().collect()),
            ..Self::default()
        }
    }

    /// What it stands at. The numbers only rise; a metric is the difference of two.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let called = Operation::ALL
            .iter()
            .zip(&self.calls)
            .map(|(op, n)| (*op, n.load(Ordering::Relaxed)));
        Usage {
            read_millis: self.read_millis.load(Ordering::Relaxed),
            write_millis: self.write_millis.load(Ordering::Relaxed),
            calls: called.filter(|(_, n)| *n > 0).collect(),
        }
    }

    /// Counts a call, whatever came of it.
    pub(crate) fn called(&self, operation: Operation) {
        debug_assert!(
            self.allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(&operation)),
            "{} is not among the permissions of this program",
            operation.action()
        );
        if let Some(place) = Operation::ALL.iter().position(|op| *op == operation) {
            self.calls[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds capacity units that a call of `operation` was charged.
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
    fn reads_and_writes_are_summed_apart() {
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
    fn actions_are_spelt_as_iam_does() {
        for operation in Operation::ALL {
            assert!(operation.action().ends_with(&format!(":{operation:?}")));
        }
    }
}
