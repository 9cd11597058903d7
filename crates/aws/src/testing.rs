//! For tests only: what the tables and the queue hold, decoded and encoded again.

use std::fmt::Debug;

use aws_sdk_sqs::types::Message;
use hb_domain::{Digest, Entry, Incarnation, Receiver};
use hb_service::ports::Record;

pub use aws_sdk_dynamodb::primitives::Blob;
pub use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::Cause;
pub use crate::size::AttributeMap;
use crate::{audit, echo, heartbeats, keys, ledger, records, subscriptions, system};

/// What an item of this kind says, and what it says after it was written again; the cause if it is unreadable. `None`
/// if there is no such kind.
#[must_use]
pub fn read_twice(kind: &str, item: &AttributeMap) -> Option<Result<[String; 2], String>> {
    let named = |mut written: AttributeMap| {
        written.extend(
            item.get_key_value(records::NAME)
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        written
    };
    Some(match kind {
        "heartbeat" => twice(item, heartbeats::stored::decode, |heard| {
            Ok(heartbeats::stored::encode(heard))
        }),
        // What a sweep counts is not written with the key.
        "key" => twice(
            item,
            |item| keys::decode(item).map(|key| hb_domain::Key { hosts: 0, ..key }),
            |key| Ok(keys::encode(key)),
        ),
        "entry" => record::<Entry>(item),
        "digest" => record::<Digest>(item),
        "receiver" => record::<Receiver>(item),
        "incarnation" => record::<Incarnation>(item),
        "subscription" => twice(item, subscriptions::stored::decode, |subscription| {
            subscriptions::stored::encode(subscription, "arn").map(named)
        }),
        "act" => twice(item, audit::decode, |act| {
            audit::encode(act).map_err(|error| error.to_string())
        }),
        "sweep" => twice(item, system::decode, |sweep| Ok(system::encode(sweep))),
        "checkpoint" => twice(item, system::decode_checkpoint, |_| Ok(item.clone())),
        _ => return None,
    })
}

/// What a message of the echo queue says, or why it is unreadable.
pub fn echo(body: &str) -> Result<String, String> {
    let message = Message::builder().body(body).receipt_handle("r").build();
    Ok(format!("{:?}", echo::echo(&message)?))
}

fn record<T: Record>(item: &AttributeMap) -> Result<[String; 2], Cause> {
    twice(item, ledger::stored::decode::<T>, ledger::stored::encode)
}

fn twice<T: Debug>(
    item: &AttributeMap,
    decode: impl Fn(&AttributeMap) -> Result<T, Cause>,
    encode: impl Fn(&T) -> Result<AttributeMap, Cause>,
) -> Result<[String; 2], Cause> {
    let first = decode(item)?;
    let written = encode(&first).and_then(|item| decode(&item));
    // Not an error: what was read must be writable.
    let second = written.map_or_else(|cause| cause, |second| format!("{second:?}"));
    Ok([format!("{first:?}"), second])
}
