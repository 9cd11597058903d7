//! What follows from a try: delivered, retried or given up. A pure rule.

use hb_domain::{Timestamp, limits, pause};
use hb_service::ports::DeliveryOutcome;

use crate::sender::SendError;

/// The outcome of a try that ended at `now`, of a delivery that was `accepted` and has `failed` that often before.
///
/// A delivery is given up only after a failed try: one that waited for a day behind others still gets its own.
pub(crate) fn after(
    result: Result<(), SendError>,
    failed: u32,
    accepted: Timestamp,
    now: Timestamp,
    spread: u8,
) -> DeliveryOutcome {
    match result {
        Ok(()) => DeliveryOutcome::Delivered,
        Err(error) if now.since(accepted) >= limits::DELIVERY_FOR => DeliveryOutcome::Dead {
            error: error.to_string(),
        },
        Err(error) => DeliveryOutcome::Retry {
            due: now.plus(pause(failed.saturating_add(1), spread)),
            error: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_pauses_grow_until_a_delivery_is_given_up_after_a_day() {
        let start = Timestamp::from_millis(1_000_000).unwrap();
        let error = || SendError::new("refused");
        let retry = |failed, seconds| {
            let now = start.plus(Duration::from_secs(seconds));
            match after(Err(error()), failed, start, now, 0) {
                DeliveryOutcome::Retry { due, .. } => Some(due.since(now).as_secs()),
                DeliveryOutcome::Dead { .. } => None,
                DeliveryOutcome::Delivered => panic!("a failed try was not delivered"),
            }
        };
        let day = 24 * 60 * 60;
        let cases = [
            (0, 0, Some(2)),
            (1, 2, Some(4)),
            (50, day - 1, Some(300)),
            (51, day, None),
        ];
        for (failed, seconds, pause) in cases {
            assert_eq!(
                retry(failed, seconds),
                pause,
                "{failed} failed, {seconds} s"
            );
        }
    }

    #[test]
    fn a_late_success_counts_as_delivered() {
        let late = Timestamp::MIN.plus(limits::DELIVERY_FOR * 2);
        assert_eq!(
            after(Ok(()), 99, Timestamp::MIN, late, 0),
            DeliveryOutcome::Delivered
        );
    }
}
