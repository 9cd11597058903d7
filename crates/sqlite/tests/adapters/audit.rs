//! How long acts are kept in the database, and what becomes of those that cannot be read.

use std::time::Duration;

use hb_domain::{Act, ActId, ActKind, Timestamp, Who, limits};

use crate::common::World;

const HOUR: Duration = Duration::from_hours(1);

async fn record(world: &World, at: Timestamp, number: u32) {
    let act = Act {
        id: ActId::new(at, number, [0; 8]),
        at,
        who: Who::new("root@db"),
        kind: ActKind::HostForget,
        target: format!("main/{number}"),
        old: None,
        new: None,
    };
    world.ports.audit.record(&act).await.unwrap();
}

/// The targets of all acts that are stored.
async fn kept(world: &World) -> Vec<String> {
    let page = world.ports.audit.list(Timestamp::MIN, None).await.unwrap();
    page.items.into_iter().map(|act| act.target).collect()
}

#[tokio::test]
async fn with_each_act_two_that_are_older_than_400_days_go() {
    let world = World::new();
    let start = world.ports.clock.now();
    for number in 0..5 {
        record(&world, start.plus(HOUR * number), number).await;
    }
    let over = start.plus(limits::AUDIT_KEPT);
    record(&world, over, 5).await;
    assert_eq!(kept(&world).await.len(), 6, "the first is not older yet");
    record(&world, over.plus(HOUR), 6).await;
    assert_eq!(kept(&world).await[0], "main/1");
    // A clock that is years ahead for one act.
    record(&world, over.plus(limits::AUDIT_KEPT * 9), 7).await;
    let expected = [3, 4, 5, 6, 7].map(|number| format!("main/{number}"));
    assert_eq!(kept(&world).await, expected);
}

#[tokio::test]
async fn an_unreadable_act_is_named_and_left_out() {
    let world = World::new();
    for number in 0..3 {
        record(&world, Timestamp::MIN, number).await;
    }
    world.sql("UPDATE audit SET act = '{\"act\": \"host explode\"}' WHERE act LIKE '%main/1%'");
    let page = world.ports.audit.list(Timestamp::MIN, None).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let [unreadable] = &page.unreadable[..] else {
        panic!("{page:?}");
    };
    let id = ActId::new(Timestamp::MIN, 1, [0; 8]);
    assert_eq!(unreadable.key, id.as_str());
    assert!(unreadable.cause.starts_with("column act: "));
}
