//! The number of calls for each job, which the bill depends on.

use hb_aws::{
    DynamoAudit, DynamoHeartbeats, DynamoKeys, DynamoLedger, DynamoSystem, Operation, SqsEchoes,
};
use hb_domain::{Act, ActId, ActKind, Entry, KeyId, Signal, Who};
use hb_service::ports::{
    Audit, CompletedSweep, Echoes, Heartbeats, Keys, Ledger, Segment, Swap, System,
};
use serde_json::json;
use uuid::Uuid;

use crate::script::{Answer, Script, at, heard, host, item, stage};

#[tokio::test]
async fn a_warm_beat_is_one_conditional_update_and_no_read() {
    let script = Script::new([Answer::done(json!({}))]);
    let clients = script.clients();
    let heartbeats = DynamoHeartbeats::new(&clients, &stage());
    heartbeats.record(&heard(0, Signal::Ok)).await.unwrap();
    heartbeats.record(&heard(1, Signal::Fail)).await.unwrap();
    assert_eq!(script.operations(), ["UpdateItem", "UpdateItem"]);
    let sent = &script.asked()[0].json;
    assert_eq!(sent["TableName"], "hb-prod-heartbeats");
    assert_eq!(
        sent["Key"],
        json!({"h": {"S": "main/web-01"}, "r": {"S": "eu-west-1"}})
    );
    assert_eq!(
        sent["ConditionExpression"],
        "attribute_not_exists(#l) OR (#l <= :l)"
    );
    assert_eq!(sent["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
    assert_eq!(sent["ReturnConsumedCapacity"], "TOTAL");
    let usage = clients.meter().usage();
    assert_eq!((usage.read_millis, usage.write_millis), (0, 2_000));
    assert_eq!(usage.calls, [(Operation::UpdateItem, 2)].into());
}

#[tokio::test]
async fn an_old_beat_is_one_failed_update() {
    let mut newer = item(9);
    newer["f"] = json!({"N": at(0).as_millis().to_string()});
    let script = Script::new([Answer::condition_failed(&newer)]);
    let clients = script.clients();
    DynamoHeartbeats::new(&clients, &stage())
        .record(&heard(5, Signal::Ok))
        .await
        .unwrap();
    assert_eq!(script.operations(), ["UpdateItem"]);
    assert_eq!(
        clients.meter().usage().write_millis,
        1_000,
        "a failed update is charged"
    );
}

#[tokio::test]
async fn a_late_failure_is_a_second_update_and_no_read() {
    let script = Script::new([Answer::condition_failed(&item(9)), Answer::done(json!({}))]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    heartbeats.record(&heard(5, Signal::Fail)).await.unwrap();
    assert_eq!(script.operations(), ["UpdateItem", "UpdateItem"]);
    let late = &script.asked()[1].json;
    assert_eq!(
        late["UpdateExpression"],
        "SET #f = :f, #b = :b, #x = :x, #m = :m"
    );
    let condition = "attribute_exists(#l) AND #f > :f AND (attribute_not_exists(#x) OR #x <= :x OR #x > :ahead OR #x > #l)";
    assert_eq!(late["ConditionExpression"], condition);
}

#[tokio::test]
async fn a_host_that_is_forgotten_meanwhile_starts_over() {
    let gone =
        json!({"__type": "com.amazonaws#ConditionalCheckFailedException", "message": "said"});
    let script = Script::new([
        Answer::condition_failed(&item(9)),
        Answer::Http(400, gone.to_string()),
        Answer::done(json!({})),
    ]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    heartbeats.record(&heard(5, Signal::Fail)).await.unwrap();
    let first = script.asked()[0].json.clone();
    assert_eq!(script.asked()[2].json, first);
}

#[tokio::test]
async fn a_page_of_a_scan_is_one_call_without_messages() {
    let key = json!({"h": {"S": "main/web-01"}, "r": {"S": "eu-west-1"}});
    let script = Script::new([
        Answer::done(json!({"Items": [item(5)], "LastEvaluatedKey": key})),
        Answer::done(json!({"Items": []})),
    ]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    let segment = Segment { index: 3, of: 8 };
    let page = heartbeats.scan(segment, None).await.unwrap();
    assert_eq!(page.items, [heard(5, Signal::Ok)]);
    assert!(
        heartbeats
            .scan(segment, page.next)
            .await
            .unwrap()
            .next
            .is_none()
    );
    let [first, second] = &script.asked()[..] else {
        panic!("two pages")
    };
    assert_eq!(
        (&first.json["Segment"], &first.json["TotalSegments"]),
        (&json!(3), &json!(8))
    );
    assert_eq!(
        first.json["ProjectionExpression"],
        "#h, #r, #l, #i, #f, #s, #x, #k, #a, #b, #g, #e, #t, #n, #q, #d"
    );
    assert_eq!(
        first.json["ConsistentRead"],
        json!(null),
        "eventual consistency is half the price"
    );
    assert_eq!(second.json["ExclusiveStartKey"], key);
}

#[tokio::test]
async fn load_is_one_strongly_consistent_query() {
    let script = Script::new([Answer::done(json!({"Items": [item(5)]}))]);
    let heartbeats = DynamoHeartbeats::new(&script.clients(), &stage());
    assert_eq!(
        heartbeats.load(&host()).await.unwrap(),
        [heard(5, Signal::Ok)]
    );
    assert_eq!(script.operations(), ["Query"]);
    assert_eq!(script.asked()[0].json["ConsistentRead"], json!(true));
}

#[tokio::test]
async fn swap_is_one_conditional_put() {
    let script = Script::new([Answer::done(json!({}))]);
    let clients = script.clients();
    let ledger = DynamoLedger::new(&clients, &stage());
    let entry = Entry::new(host());
    assert_eq!(
        ledger.swap(&entry, Some(3), Uuid::nil()).await.unwrap(),
        Swap::Done(4)
    );
    assert_eq!(
        ledger.swap(&entry, None, Uuid::nil()).await.unwrap(),
        Swap::Done(1)
    );
    assert_eq!(script.operations(), ["PutItem", "PutItem"]);
    let [over, new] = &script.asked()[..] else {
        panic!("two puts")
    };
    assert_eq!(over.json["ConditionExpression"], "#version = :expected");
    assert_eq!(
        over.json["ExpressionAttributeValues"],
        json!({":expected": {"N": "3"}})
    );
    assert_eq!(new.json["ConditionExpression"], "attribute_not_exists(#h)");
    assert_eq!(
        new.json["Item"].get("open"),
        None,
        "only open entries are in the index"
    );
    assert_eq!(clients.meter().usage().write_millis, 2_000);
}

#[tokio::test]
async fn loading_a_key_is_one_strongly_consistent_read() {
    let script = Script::new([Answer::done(json!({}))]);
    let clients = script.clients();
    let keys = DynamoKeys::new(&clients, &stage());
    assert!(
        keys.load(&KeyId::from_random([1; 7]))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(script.operations(), ["GetItem"]);
    assert_eq!(clients.meter().usage().read_millis, 1_000);
}

#[tokio::test]
async fn recording_a_sweep_is_one_put() {
    let script = Script::new([Answer::done(json!({}))]);
    let system = DynamoSystem::new(&script.clients(), &stage());
    let sweep = CompletedSweep {
        began: at(1),
        ended: at(2),
        hosts: 3,
        program: String::new(),
    };
    system
        .record_sweep(&"eu-west-1".parse().unwrap(), &sweep)
        .await
        .unwrap();
    assert_eq!(script.operations(), ["PutItem"]);
    let sent = &script.asked()[0].json;
    assert_eq!(
        sent["ConditionExpression"],
        "attribute_not_exists(#began) OR #began <= :began OR #began > :ahead"
    );
    assert_eq!(
        sent["ExpressionAttributeValues"][":began"]["N"],
        at(1).as_millis().to_string()
    );
}

#[tokio::test]
async fn recording_an_act_is_one_put_that_replaces_nothing() {
    let script = Script::new([Answer::done(json!({}))]);
    let audit = DynamoAudit::new(&script.clients(), &stage());
    let act = Act {
        id: ActId::new(at(1), 0, [0; 8]),
        at: at(1),
        who: Who::new("arn:aws:iam::123456789012:user/alice"),
        kind: ActKind::KeyRevoke,
        target: "aaaaaaaaaa".to_owned(),
        old: None,
        new: None,
    };
    audit.record(&act).await.unwrap();
    assert_eq!(script.operations(), ["PutItem"]);
    let sent = &script.asked()[0].json;
    assert_eq!(sent["ConditionExpression"], "attribute_not_exists(#name)");
    assert_eq!(sent["Item"]["kind"]["S"], "audit");
    assert_eq!(sent["Item"]["name"]["S"], act.id.as_str());
}

#[tokio::test]
async fn check_is_one_update_whose_condition_fails() {
    let gone =
        json!({"__type": "com.amazonaws#ConditionalCheckFailedException", "message": "said"});
    let script = Script::new([Answer::Http(400, gone.to_string())]);
    DynamoHeartbeats::new(&script.clients(), &stage())
        .check()
        .await
        .unwrap();
    assert_eq!(script.operations(), ["UpdateItem"]);
    assert_eq!(
        script.asked()[0].json["ConditionExpression"],
        "attribute_exists(#h)"
    );
}

#[tokio::test]
async fn only_a_thorough_receive_makes_sqs_ask_all_its_servers() {
    let url = json!({"QueueUrl": "https://sqs.invalid/echo"}).to_string();
    let script = Script::new([Answer::Http(200, url), Answer::Http(200, "{}".to_owned())]);
    let echoes = SqsEchoes::new(&script.clients(), &stage());
    for thorough in [false, true] {
        assert!(echoes.receive(thorough).await.unwrap().items.is_empty());
    }
    assert_eq!(
        script.operations(),
        ["GetQueueUrl", "ReceiveMessage", "ReceiveMessage"]
    );
    let waits = script.asked().into_iter().map(|asked| {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        body["WaitTimeSeconds"].as_i64()
    });
    assert_eq!(waits.collect::<Vec<_>>(), [None, None, Some(1)]);
}
