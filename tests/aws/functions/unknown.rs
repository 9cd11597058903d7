//! A publish whose answer got lost: SNS has it, and nobody knows.

use std::collections::BTreeSet;
use std::time::Duration;

use hb_aws::DynamoLedger;
use hb_domain::{Entry, Phase};
use hb_service::ports::{Heartbeats, Ledger, Stored, Swap};
use serde_json::json;
use uuid::Uuid;

use super::front::sns_that_hangs_up;
use super::function::{Function, told};
use super::sweep::{World, heard, scheduled};
use crate::fleet::host;

/// Of two fleets, so that each notice is a message of its own.
const HOSTS: [&str; 2] = ["web-01", "lab|web-02"];

impl World {
    /// The entries with a pending notice.
    async fn pending(&self) -> Vec<Stored> {
        let ledger = DynamoLedger::new(&self.clients, &self.stage);
        let mut pending = Vec::new();
        for name in HOSTS {
            let stored = Ledger::<Entry>::load(&ledger, &host(name))
                .await
                .unwrap()
                .unwrap();
            pending.extend(stored.record.pending.is_some().then_some(stored));
        }
        pending
    }

    /// Lets an unknown outcome be as old as that.
    async fn age(&self, stored: Stored, by: Duration) {
        let mut entry = stored.record;
        let Phase::Unknown { since } = &mut entry.pending.as_mut().unwrap().phase else {
            panic!("{entry:?}")
        };
        *since = since.minus(by);
        let ledger = DynamoLedger::new(&self.clients, &self.stage);
        let swapped = ledger
            .swap(&entry, Some(stored.version), Uuid::from_u128(1))
            .await
            .unwrap();
        assert!(matches!(swapped, Swap::Done(_)));
    }
}

/// A connection that is used already is what an HTTP client might, on its own, try again on another one.
#[tokio::test]
async fn a_publish_without_answer_is_neither_forgotten_nor_sent_again_before_its_echo_had_time() {
    let world = World::new().await;
    world.account.hold_echoes(true);
    for name in HOSTS {
        world
            .heartbeats()
            .record(&heard(name, Duration::from_hours(1)))
            .await
            .unwrap();
    }
    let sns = sns_that_hangs_up(&world.account, 1).await;
    let one_by_one = [("HB_CONCURRENCY", "1")];
    let function = Function::start_at("sweep", &world.front.url, &sns, &one_by_one).await;
    let done = function.invoke(&scheduled()).await.unwrap();
    let counts = told(
        &done["passes"][0],
        ["missing", "accepted", "refused", "unknown"],
    );
    assert_eq!(counts, json!([2, 1, 0, 1]));
    assert_eq!(
        world.account.accepted().len(),
        2,
        "each once, also the one that got no answer"
    );
    let metrics = function.metrics(1).await.remove(0);
    let names = [
        "SweepCompleted",
        "Claims",
        "NoticesAccepted",
        "NoticesRefused",
        "NoticesUnknown",
    ];
    assert_eq!(told(&metrics, names), json!([1.0, 2.0, 1.0, 0.0, 1.0]));
    let log = function.log(1).await;
    let text = log[0]["message"].as_str().unwrap();
    assert!(
        text.starts_with("the topic may have accepted notice "),
        "{log:#?}"
    );
    assert!(
        text.contains("topic hb-test-notices: no answer to Publish"),
        "{text}"
    );

    // Not yet: the echo has three minutes.
    for _ in 0..2 {
        let quiet = function.invoke(&scheduled()).await.unwrap();
        assert_eq!(
            told(&quiet["passes"][0], ["accepted", "unknown"]),
            json!([0, 0])
        );
    }
    assert_eq!(world.account.accepted().len(), 2);
    let stored = world.pending().await.remove(0);
    assert_eq!(stored.record.pending.as_ref().unwrap().attempt, 1);
    drop(function);

    world.age(stored, Duration::from_mins(3)).await;
    let function = Function::start("sweep", &world.front, &[]).await;
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(done["passes"][0]["accepted"], 1);
    assert!(world.pending().await.is_empty());
    let accepted = world.account.accepted();
    let ids: BTreeSet<_> = accepted
        .iter()
        .map(|form| form["Subject"].rsplit('(').next().unwrap())
        .collect();
    assert_eq!(
        (accepted.len(), ids.len()),
        (3, 2),
        "the second copy bears the same id: {accepted:#?}"
    );
    assert!(
        accepted[2]["Message"].contains(r#"\"attempt\":2"#),
        "and says which attempt it is"
    );

    // When the echoes come after all, the second copy is counted.
    world.account.hold_echoes(false);
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(
        told(&done["passes"][0], ["echoed", "second_copies", "accepted"]),
        json!([0, 1, 0])
    );
    assert_eq!(function.metrics(2).await[1]["SecondCopies"], 1.0);
}

#[tokio::test]
async fn a_publish_without_answer_whose_echo_comes_is_told_once() {
    let world = World::new().await;
    for name in HOSTS {
        world
            .heartbeats()
            .record(&heard(name, Duration::from_hours(1)))
            .await
            .unwrap();
    }
    let sns = sns_that_hangs_up(&world.account, 1).await;
    let function =
        Function::start_at("sweep", &world.front.url, &sns, &[("HB_CONCURRENCY", "1")]).await;
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(
        told(&done["passes"][0], ["accepted", "unknown"]),
        json!([1, 1])
    );
    let done = function.invoke(&scheduled()).await.unwrap();
    assert_eq!(
        told(&done["passes"][0], ["echoed", "second_copies", "accepted"]),
        json!([1, 0, 0])
    );
    assert!(world.pending().await.is_empty());
    assert_eq!(world.account.accepted().len(), 2);
}
