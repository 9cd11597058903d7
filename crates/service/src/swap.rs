//! Compare-and-swap over a connection that may lose replies.

use crate::ports::{Ids, Ledger, PortResult, Record, Swap, Version};

/// Swaps a record, and tells a lost reply from a lost race: after an error the same swap is tried once more, and
/// a conflict with a record of the own writer token means that the first try was stored.
pub(crate) async fn swap<T: Record>(
    ledger: &dyn Ledger<T>,
    ids: &dyn Ids,
    entry: &T,
    expected: Option<Version>,
) -> PortResult<Swap<T>> {
    let writer = ids.token();
    let result = match ledger.swap(entry, expected, writer).await {
        Err(_) => ledger.swap(entry, expected, writer).await,
        result => result,
    };
    Ok(match result? {
        Swap::Conflict(Some(stored)) if stored.writer == writer => Swap::Done(stored.version),
        swap => swap,
    })
}
