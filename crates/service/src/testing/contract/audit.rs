use hb_domain::{Act, ActId, ActKind, Who, limits};
use serde_json::json;

use super::{World, at};
use crate::ports::each_page;

/// The `number`th act, in the second `seconds`.
fn act(seconds: i64, number: u32) -> Act {
    Act {
        id: ActId::new(at(seconds), number, [7; 8]),
        at: at(seconds),
        who: Who::new("ädmin@db \"1\", SUDO_USER '%_"),
        kind: ActKind::ALL[number as usize % ActKind::ALL.len()],
        target: format!("main/web-{number}"),
        old: number
            .is_multiple_of(2)
            .then(|| json!({"pausedUntil": null, "note": "\n\u{202e}"})),
        new: Some(json!({"hostPrefixes": ["web-"], "intervalMs": 60_000})),
    }
}

/// Acts are read back whole and in the order of their ids, page by page; an act is recorded once and never changed.
pub async fn acts_are_recorded_once_and_listed_in_order(world: World) {
    let audit = &world.ports.audit;
    let list = async |seconds| {
        let mut acts = Vec::new();
        each_page(
            |after| audit.list(at(seconds), after),
            |page| {
                assert!(page.unreadable.is_empty());
                acts.extend(page.items);
            },
        )
        .await?;
        crate::ports::PortResult::Ok(acts)
    };
    assert_eq!(list(0).await.unwrap(), []);
    // Many in one second, so that there are several pages.
    let expected: Vec<_> = (0..1_050).map(|n| act(i64::from(n) / 350, n)).collect();
    for act in expected.iter().rev() {
        audit.record(act).await.unwrap();
    }
    let other = Act {
        who: Who::new("other"),
        ..expected[3].clone()
    };
    for again in [&expected[7], &other] {
        audit.record(again).await.unwrap();
    }
    for (since, first) in [(-9, 0), (0, 0), (1, 350), (2, 700), (3, 1_050)] {
        assert!(
            list(since).await.unwrap() == expected[first..],
            "since {since}"
        );
    }
    // An act that is as old as acts may be is still there when the next one is recorded.
    let kept = i64::try_from(limits::AUDIT_KEPT.as_secs()).unwrap();
    audit.record(&act(kept, 0)).await.unwrap();
    assert_eq!(list(0).await.unwrap().len(), 1_051);
}
