use hb_domain::{Entry, Incarnation, Kind, NoticeId};
use hb_service::ports::{Ids, Ledger, Record};
use uuid::Uuid;

use crate::races::change;
use crate::{Bench, host};

fn ids(bench: &Bench) -> Vec<NoticeId> {
    let published = bench.memory.published().into_iter();
    published.map(|notice| notice.id).collect()
}

#[tokio::test]
async fn a_fresh_store_repeats_no_id() {
    let mut all = Vec::new();
    for life in 0..2 {
        let bench = Bench::new();
        for _ in 0..life {
            bench.ids.token();
        }
        bench.beat("a").await;
        bench.sweep().run().await.unwrap();
        bench.pass(61);
        bench.sweep().run().await.unwrap();
        all.extend(ids(&bench));
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (4, 4));
}

#[tokio::test]
async fn a_store_keeps_its_incarnation() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    let key = *Incarnation { id: Uuid::nil() }.key();
    let drawn = async || {
        let stored = Ledger::<Incarnation>::load(&*bench.memory, &key).await;
        stored.unwrap().unwrap()
    };
    let first = drawn().await;
    bench.pass(61);
    bench.sweep().run().await.unwrap();
    assert_eq!(drawn().await, first);
    // What is pending keeps the id that it was decided with, also when there was no incarnation yet.
    let entry = Ledger::<Entry>::load(&*bench.memory, &host("a")).await;
    let history = entry.unwrap().unwrap().record.history;
    assert_eq!(history.last().unwrap().kind, Kind::Missing);
}

#[tokio::test]
async fn a_notice_that_was_pending_at_the_upgrade_keeps_its_id() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench
        .memory
        .next_publications([hb_domain::Publication::Refused("later".to_owned())]);
    bench.sweep().run().await.unwrap();
    // As version 0.1.0 stored it.
    change(&bench.memory, &host("a"), |mut entry: Entry| {
        entry.pending.as_mut()?.incarnation = None;
        Some(entry)
    });
    bench.pass(10);
    bench.sweep().run().await.unwrap();
    assert_eq!(ids(&bench)[1].as_str(), "NHZNST81BV");
}

#[tokio::test]
async fn an_unreadable_incarnation_stops_no_notice() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    bench.memory.spoil_record::<Incarnation>(&"current");
    bench.pass(61);
    bench.sweep().run().await.unwrap();
    assert_eq!(ids(&bench).len(), 2);
}
