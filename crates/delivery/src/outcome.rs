//! What follows from a try: delivered, retried, split or given up. A pure rule.

use hb_domain::{Timestamp, limits, pause};
use hb_service::ports::{Content, DeliveryOutcome, LeasedDelivery};

use crate::sender::{Refusal, SendError};

/// The outcome of a try of `leased` that began at `began` and ended at `now`; the clock may have been set in between.
///
/// A delivery is given up only after a failed try: one that waited for a day behind others still gets its own.
pub(crate) fn after(
    result: Result<(), SendError>,
    leased: &LeasedDelivery,
    began: Timestamp,
    now: Timestamp,
    spread: u8,
) -> DeliveryOutcome {
    let Err(failure) = result else {
        return DeliveryOutcome::Delivered;
    };
    let error = failure.to_string();
    let refusal = failure.refusal();
    if refusal == Refusal::TooLarge && hosts(leased) > 1 {
        return DeliveryOutcome::Split { error };
    }
    let refused = refusal != Refusal::Temporary;
    let tried_enough = refused && leased.refused.saturating_add(1) >= limits::FINAL_TRIES;
    if tried_enough || began.since(leased.tries.from) >= limits::DELIVERY_FOR {
        return DeliveryOutcome::Dead { error };
    }
    let first_until = leased
        .tries
        .failing
        .unwrap_or(now)
        .plus(limits::DELIVERY_FIRST_FOR);
    let yields = now >= first_until;
    let pause = if refused {
        limits::FINAL_PAUSE
    } else {
        pause(leased.failed.saturating_add(1), spread)
    };
    let due = now.plus(pause);
    DeliveryOutcome::Retry {
        // One more try right before later notices may pass.
        due: if yields { due } else { due.min(first_until) },
        refused,
        yields,
        error,
    }
}

/// How many hosts the try was about.
fn hosts(leased: &LeasedDelivery) -> usize {
    match leased.delivery.as_ref().map(|delivery| &delivery.content) {
        Ok(Content::Notice(notice)) => notice.count(),
        Ok(Content::Confirmation(_)) | Err(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hb_domain::{Endpoint, Kind, Protocol, Tries, Webhook};
    use hb_service::ports::Delivery;
    use hb_service::testing::contract::{digest, notice};

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000)
            .unwrap()
            .plus(Duration::from_secs(seconds))
    }

    fn failing(failing: Option<Timestamp>) -> Tries {
        Tries {
            from: at(0),
            failing,
            last: failing,
        }
    }

    fn leased() -> LeasedDelivery {
        LeasedDelivery {
            number: 1,
            subscription: "hook".parse().unwrap(),
            failed: 0,
            refused: 0,
            tries: failing(None),
            places: 0..1,
            delivery: Ok(Delivery {
                content: Content::Notice(Box::new(notice("web", 1, Kind::Missing))),
                subscription: "hook".parse().unwrap(),
                endpoint: Endpoint::parse(Protocol::Https, "https://example.com/hook").unwrap(),
                webhook: Webhook::default(),
            }),
        }
    }

    /// After how many seconds it is due again, and whether later notices may pass; `None` when it is given up.
    fn retry(refusal: Refusal, leased: &LeasedDelivery, seconds: u64) -> Option<(u64, bool)> {
        let now = at(seconds);
        match after(Err(SendError::refused("no", refusal)), leased, now, now, 0) {
            DeliveryOutcome::Retry { due, yields, .. } => Some((due.since(now).as_secs(), yields)),
            DeliveryOutcome::Dead { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn retry_pauses_grow_until_a_delivery_is_given_up_after_a_day() {
        let cases = [
            (0, 0, Some(2)),
            (1, 2, Some(4)),
            (50, DAY - 1, Some(300)),
            (51, DAY, None),
        ];
        for (failed, seconds, pause) in cases {
            let leased = LeasedDelivery {
                failed,
                tries: failing((failed > 0).then_some(at(0))),
                ..leased()
            };
            let due = retry(Refusal::Temporary, &leased, seconds).map(|(due, _)| due);
            assert_eq!(due, pause, "{failed} failed, {seconds} s");
        }
    }

    #[test]
    fn later_notices_pass_ten_minutes_after_the_first_failed_try_and_a_try_right_before() {
        let leased = LeasedDelivery {
            failed: 9,
            tries: failing(Some(at(0))),
            ..leased()
        };
        for (seconds, expected) in [
            (299, (300, false)),
            (400, (200, false)),
            (599, (1, false)),
            (600, (300, true)),
            (700, (300, true)),
        ] {
            let retried = retry(Refusal::Temporary, &leased, seconds);
            assert_eq!(retried, Some(expected), "{seconds} s");
        }
    }

    #[test]
    fn a_final_answer_is_tried_three_times_within_minutes() {
        for refusal in [Refusal::Final, Refusal::TooLarge] {
            for (refused, pause) in [(0, Some((120, false))), (1, Some((120, false))), (2, None)] {
                let leased = LeasedDelivery {
                    refused,
                    ..leased()
                };
                assert_eq!(
                    retry(refusal, &leased, 5),
                    pause,
                    "{refusal:?}, {refused} before"
                );
            }
        }
        let leased = LeasedDelivery {
            refused: 2,
            ..leased()
        };
        assert!(retry(Refusal::Temporary, &leased, 5).is_some());
    }

    #[test]
    fn only_a_digest_that_is_too_large_is_split() {
        let many = digest("one", Kind::Missing, &[("a", 1), ("b", 1)]);
        let mut leased = leased();
        leased.delivery.as_mut().unwrap().content = Content::Notice(Box::new(many));
        let outcome = |refusal| {
            let error = SendError::refused("no", refusal);
            after(Err(error), &leased, at(DAY), at(DAY), 0)
        };
        let error = "no".to_owned();
        assert_eq!(outcome(Refusal::TooLarge), DeliveryOutcome::Split { error });
        assert!(matches!(
            outcome(Refusal::Final),
            DeliveryOutcome::Dead { .. }
        ));
    }

    #[test]
    fn a_clock_that_steps_during_a_try_ends_no_delivery() {
        let error = Err(SendError::refused("no", Refusal::Temporary));
        let outcome = after(error, &leased(), at(0), at(2 * DAY), 0);
        assert!(matches!(outcome, DeliveryOutcome::Retry { .. }));
    }

    #[test]
    fn a_late_success_counts_as_delivered() {
        let late = at(2 * DAY);
        assert_eq!(
            after(Ok(()), &leased(), late, late, 0),
            DeliveryOutcome::Delivered
        );
    }
}
