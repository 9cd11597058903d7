//! What becomes of a delivery after a try: the decision alone.

use hb_domain::{Timestamp, limits, pause};

use crate::sender::SendError;

/// What a delivery turns into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    /// The endpoint has it.
    Delivered,
    /// To be tried again from `due` on.
    Again {
        /// When.
        due: Timestamp,
        /// Why.
        error: SendError,
    },
    /// Given up.
    Dead {
        /// What the last try said.
        error: SendError,
    },
}

/// What becomes of a delivery that was `accepted` and whose try ended at `now`, after `failed` tries before it.
///
/// A delivery is given up after a failed try only: one that waited for a day behind others still gets its own.
pub(super) fn after(
    result: Result<(), SendError>,
    failed: u32,
    accepted: Timestamp,
    now: Timestamp,
    spread: u8,
) -> DeliveryOutcome {
    match result {
        Ok(()) => DeliveryOutcome::Delivered,
        Err(error) if now.since(accepted) >= limits::DELIVERY_FOR => {
            DeliveryOutcome::Dead { error }
        }
        Err(error) => DeliveryOutcome::Again {
            due: now.plus(pause(failed.saturating_add(1), spread)),
            error,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn pauses_grow_until_a_day_is_over() {
        let start = Timestamp::from_millis(1_000_000).unwrap();
        let error = || SendError::new("refused");
        let again = |failed, seconds| {
            let now = start.plus(Duration::from_secs(seconds));
            match after(Err(error()), failed, start, now, 0) {
                DeliveryOutcome::Again { due, .. } => Some(due.since(now).as_secs()),
                DeliveryOutcome::Dead { .. } => None,
                DeliveryOutcome::Delivered => panic!("an error is no delivery"),
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
                again(failed, seconds),
                pause,
                "{failed} failed, {seconds} s"
            );
        }
    }

    #[test]
    fn success_counts_however_late() {
        let late = Timestamp::MIN.plus(limits::DELIVERY_FOR * 2);
        assert_eq!(
            after(Ok(()), 99, Timestamp::MIN, late, 0),
            DeliveryOutcome::Delivered
        );
    }
}
