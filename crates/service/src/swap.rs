//! Compare-and-swap of records, over a connection that may lose replies.

use hb_domain::{Digest, Entry, FleetRecord, Incarnation, Receiver};

use crate::ports::{Ledger, PortError, PortResult, Ports, Proposal, Record, Stored, Swap, Version};

/// How often a change is tried when others change the record at the same time, say an admin and a sweep.
const TRIES: u32 = 10;

/// A record that one of the ledgers among the ports keeps.
pub(crate) trait Kept: Record {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self>;
}

impl Kept for Entry {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self> {
        &*ports.ledger
    }
}

impl Kept for Digest {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self> {
        &*ports.digests
    }
}

impl Kept for FleetRecord {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self> {
        &*ports.fleets
    }
}

impl Kept for Receiver {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self> {
        &*ports.receivers
    }
}

impl Kept for Incarnation {
    fn ledger(ports: &Ports) -> &dyn Ledger<Self> {
        &*ports.incarnations
    }
}

/// The record as it was stored, or what stands in its place.
pub(crate) type Swapped<T> = Result<Stored<T>, Option<Stored<T>>>;

/// Swaps a record, and distinguishes a lost reply from a lost race: after an error the same swap is tried once more,
/// and a conflict with a record of the same writer token means that the first try was stored.
pub(crate) async fn swap<T: Kept>(
    ports: &Ports,
    record: T,
    expected: Option<Version>,
) -> PortResult<Swapped<T>> {
    let ledger = T::ledger(ports);
    let writer = ports.ids.token();
    let result = match ledger.swap(&record, expected, writer).await {
        Err(_) => ledger.swap(&record, expected, writer).await,
        result => result,
    };
    let proposal = Proposal {
        record,
        expected,
        writer,
    };
    result.map(|swap| outcome(proposal, swap))
}

/// The same for several records with different keys, in their order. One that fails does not affect the others.
pub(crate) async fn swap_many<T: Kept>(
    ports: &Ports,
    records: Vec<(T, Option<Version>)>,
) -> Vec<PortResult<Swapped<T>>> {
    let ledger = T::ledger(ports);
    let proposals: Vec<_> = records
        .into_iter()
        .map(|(record, expected)| Proposal {
            record,
            expected,
            writer: ports.ids.token(),
        })
        .collect();
    let results = ledger.swap_many(&proposals).await;
    let mut swapped = Vec::with_capacity(proposals.len());
    for (proposal, result) in proposals.into_iter().zip(results) {
        let result = match result {
            Err(_) => {
                let Proposal {
                    record,
                    expected,
                    writer,
                } = &proposal;
                ledger.swap(record, *expected, *writer).await
            }
            result => result,
        };
        swapped.push(result.map(|swap| outcome(proposal, swap)));
    }
    swapped
}

fn outcome<T: Kept>(proposal: Proposal<T>, swap: Swap<T>) -> Swapped<T> {
    let Proposal { record, writer, .. } = proposal;
    match swap {
        Swap::Done(version) => Ok(Stored {
            record,
            version,
            writer,
        }),
        Swap::Conflict(Some(stored)) if stored.writer == writer => Ok(stored),
        Swap::Conflict(current) => Err(current),
    }
}

/// What became of an update.
pub(crate) enum Update<T, N> {
    Done(Stored<T>),
    /// The rule did not change what is stored, for this reason.
    Declined(Option<Stored<T>>, N),
    /// Others changed the record at every try. What the update stands for was not done.
    Contended(PortError),
}

/// Changes the record of `key` by `rule`, which sees what is stored and says why it does not change that.
pub(crate) async fn update<T: Kept, N>(
    ports: &Ports,
    key: &T::Key,
    rule: impl FnMut(Option<T>) -> Result<T, N>,
) -> PortResult<Update<T, N>> {
    let stored = T::ledger(ports).load(key).await?;
    update_from(ports, key, stored, rule).await
}

/// The same, when the record was just read or written: it is `stored`.
pub(crate) async fn update_from<T: Kept, N>(
    ports: &Ports,
    key: &T::Key,
    mut stored: Option<Stored<T>>,
    mut rule: impl FnMut(Option<T>) -> Result<T, N>,
) -> PortResult<Update<T, N>> {
    for _ in 0..TRIES {
        let next = match rule(stored.as_ref().map(|stored| stored.record.clone())) {
            Ok(next) => next,
            Err(reason) => return Ok(Update::Declined(stored, reason)),
        };
        match swap(ports, next, stored.map(|stored| stored.version)).await? {
            Ok(done) => return Ok(Update::Done(done)),
            Err(current) => stored = current,
        }
    }
    Ok(Update::Contended(PortError::unavailable(
        format!("{key} of table {}", T::TABLE),
        format!("others changed it at each of {TRIES} tries"),
    )))
}
