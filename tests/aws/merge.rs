//! `record` against [`Heartbeat::recorded`], on histories that nobody thought of.

use hb_aws::DynamoHeartbeats;
use hb_domain::{Region, strategy};
use hb_service::ports::{Heard, Heartbeats};
use proptest::prelude::*;

use crate::dynoxide::Account;
use crate::fleet::host;

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
    proptest!(ProptestConfig::with_cases(200), |(history in strategy::history())| {
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
        prop_assert_eq!(stored, Vec::from_iter(history.into_iter().reduce(|stored, beat| {
            let now = beat.last;
            stored.recorded(beat, now)
        })));
    });
}
