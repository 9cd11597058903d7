//! `record` against [`Heartbeat::merge`], on histories that nobody thought of.

use hb_aws::DynamoHeartbeats;
use hb_domain::{Beat, Heartbeat, Interval, Message, Region, Signal, Timestamp};
use hb_service::ports::{Heard, Heartbeats};
use proptest::prelude::*;

use crate::dynoxide::Account;
use crate::fleet::host;

type BeatFields = (i64, u64, bool, Option<String>);

fn beat((at, interval, fail, message): BeatFields) -> Heartbeat {
    Heartbeat::new(Beat {
        at: Timestamp::from_millis(at).unwrap(),
        interval: Interval::from_millis(interval).unwrap(),
        signal: if fail { Signal::Fail } else { Signal::Ok },
        message: message.map(Message::from),
    })
}

/// Histories with few instants, so that many beats fall into one millisecond; some are merged already, as a copy of
/// another store would be.
fn histories() -> impl Strategy<Value = Vec<Heartbeat>> {
    let told = (
        0..6_i64,
        1_000..1_010_u64,
        any::<bool>(),
        prop::option::of("[a-z]{0,3}"),
    );
    let heartbeat = prop::collection::vec(told, 1..3)
        .prop_map(|all| all.into_iter().map(beat).reduce(Heartbeat::merge).unwrap());
    prop::collection::vec(heartbeat, 1..12)
}

#[test]
fn updates_merge_as_the_domain_does() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let account = Account::new();
    let (clients, stage) = runtime.block_on(account.stage());
    let heartbeats = DynamoHeartbeats::new(&clients, &stage);
    let count = std::sync::atomic::AtomicU64::new(0);
    proptest!(ProptestConfig::with_cases(200), |(history in histories())| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let key = host(&format!("host-{number}"));
        let stored = runtime.block_on(async {
            for heartbeat in history.clone() {
                let heard = Heard { key: key.clone(), region: Region::local(), heartbeat };
                heartbeats.record(&heard).await.unwrap();
            }
            heartbeats.load(&key).await.unwrap()
        });
        let stored: Vec<_> = stored.into_iter().map(|heard| heard.heartbeat).collect();
        prop_assert_eq!(stored, Vec::from_iter(history.into_iter().reduce(Heartbeat::merge)));
    });
}
