//! How often each call is retried. Time is paused in these tests and jumps to the next timer.

use hb_aws::{DynamoHeartbeats, DynamoLedger};
use hb_domain::{Entry, Signal};
use hb_service::ports::{Heartbeats, Ledger, Segment, Swap};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::script::{Answer, Script, heard, host, stage};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

#[tokio::test(start_paused = true)]
async fn a_beat_under_constant_throttling_fails_within_seconds() {
    let script = Script::new([Answer::error(THROTTLED)]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    let begin = now();
    let error = heartbeats.record(&heard(0, Signal::Ok)).await.unwrap_err();
    assert!(
        error.to_string().contains("throttled: UpdateItem"),
        "{error}"
    );
    assert_eq!(script.operations().len(), 3);
    assert!(begin.elapsed().as_secs() < 1, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_gets_no_answer_fails_within_seconds() {
    let heartbeats = DynamoHeartbeats::new(&Script::new([Answer::Silence]).clients(), &stage());
    let begin = now();
    let error = heartbeats.record(&heard(0, Signal::Ok)).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no answer to UpdateItem in time"),
        "{error}"
    );
    assert!(
        (1..=3).contains(&begin.elapsed().as_secs()),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_scan_is_retried_until_it_succeeds() {
    let page = Answer::done(json!({"Items": []}));
    let script = Script::new(vec![Answer::error(THROTTLED); 12].into_iter().chain([page]));
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    heartbeats.scan(Segment::WHOLE, None).await.unwrap();
    assert_eq!(script.operations(), vec!["Scan"; 13]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_throttled_scans_do_not_share_a_retry_quota() {
    let page = Answer::done(json!({"Items": []}));
    let script = Script::new(
        vec![Answer::error(THROTTLED); 500]
            .into_iter()
            .chain([page]),
    );
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    let scans = (0..100).map(|index| heartbeats.scan(Segment { index, of: 100 }, None));
    for scan in futures::future::join_all(scans).await {
        scan.unwrap();
    }
}

#[tokio::test]
async fn a_swap_whose_reply_was_lost_conflicts_with_its_own_writer() {
    let entry = Entry::new(host());
    let text = serde_json::to_string(&entry).unwrap();
    let writer = Uuid::from_u128(7);
    let mine = json!({"h": {"S": "main/web-01"}, "entry": {"S": text}, "version": {"N": "1"},
                      "writer": {"S": writer.to_string()}});
    let script = Script::new([Answer::Reset, Answer::condition_failed(&mine)]);
    let swap = DynamoLedger::new(&script.clients(), &stage())
        .swap(&entry, None, writer)
        .await
        .unwrap();
    assert!(matches!(swap, Swap::Conflict(Some(stored)) if stored.writer == writer));
    assert_eq!(script.operations(), ["PutItem", "PutItem"]);
}

/// Strong global tables refuse a write while another region writes the same item (Amazon DynamoDB developer guide,
/// "Multi-Region strong consistency").
#[tokio::test(start_paused = true)]
async fn a_swap_that_conflicts_with_another_region_is_retried() {
    let code = "ReplicatedWriteConflictException";
    let script = Script::new(
        vec![Answer::error(code); 3]
            .into_iter()
            .chain([Answer::done(json!({}))]),
    );
    let entry = Entry::new(host());
    let swap = DynamoLedger::new(&script.clients(), &stage())
        .swap(&entry, None, Uuid::from_u128(7))
        .await;
    assert_eq!(swap.unwrap(), Swap::Done(1));
    assert_eq!(script.operations(), vec!["PutItem"; 4]);
}

#[expect(clippy::disallowed_methods, reason = "the paused clock of tokio")]
fn now() -> Instant {
    Instant::now()
}
