//! Compare-and-swap over a connection that may lose replies.

use hb_domain::Entry;

use crate::ports::{Ids, Ledger, PortResult, Swap, Version};

/// Swaps an entry, and tells a lost reply from a lost race: after an error the same swap is tried once more, and
/// a conflict with an entry of the own writer token means that the first try was stored.
pub(crate) async fn swap(
    ledger: &dyn Ledger,
    ids: &dyn Ids,
    entry: &Entry,
    expected: Option<Version>,
) -> PortResult<Swap> {
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
