//! Counts refused beats between two lines of metrics, so that a flood of them writes a line a minute, not one a request.
//!
//! What was not written when Lambda ends the environment is lost: at most a minute of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::Timestamp;

use crate::metrics::{Capacity, RequestOutcome};

/// Between two lines of one reason.
const EVERY: Duration = Duration::from_mins(1);

/// What is counted of each reason. The reasons are the codes of answers, so there are few.
#[derive(Debug, Default)]
pub(crate) struct Refusals(BTreeMap<String, Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    written: Option<Timestamp>,
    count: u64,
    units: Capacity,
}

impl Refusals {
    /// Counts a request that ended at `now`; returns what is to be written: at once what is not a refusal and the first
    /// refusal of its kind, later ones when their minute has passed.
    pub(super) fn count(
        &mut self,
        outcome: RequestOutcome,
        units: Capacity,
        now: Timestamp,
    ) -> Vec<(RequestOutcome, Capacity)> {
        let mut lines = Vec::new();
        match outcome {
            RequestOutcome::Refused { reason, count } => {
                let waiting = self.0.entry(reason).or_default();
                waiting.count += count;
                waiting.units.read += units.read;
                waiting.units.write += units.write;
            }
            other => lines.push((other, units)),
        }
        for (reason, waiting) in &mut self.0 {
            let due = waiting.written.is_none_or(|at| now.since(at) >= EVERY);
            if waiting.count > 0 && due {
                let reason = reason.clone();
                let Waiting { count, units, .. } = std::mem::take(waiting);
                waiting.written = Some(now);
                lines.push((RequestOutcome::Refused { reason, count }, units));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_line_a_minute_and_reason_with_the_sum() {
        let at = |seconds: u64| {
            let start = Timestamp::from_millis(1_700_000_000_000).unwrap();
            start.plus(Duration::from_secs(seconds))
        };
        let refused = |reason: &str, count| RequestOutcome::Refused {
            reason: reason.to_owned(),
            count,
        };
        let units = |read| Capacity { read, write: 0.0 };
        let mut refusals = Refusals::default();
        let mut count =
            |reason, seconds| refusals.count(refused(reason, 1), units(1.0), at(seconds));
        assert_eq!(count("a", 0), [(refused("a", 1), units(1.0))]);
        for seconds in 1..60 {
            assert_eq!(count("a", seconds), []);
        }
        assert_eq!(count("b", 59), [(refused("b", 1), units(1.0))]);
        assert_eq!(count("a", 60), [(refused("a", 60), units(60.0))]);
        assert_eq!(count("b", 100), []);
        let beat = refusals.count(RequestOutcome::Beat, units(0.0), at(119));
        let waited = (refused("b", 1), units(1.0));
        assert_eq!(beat, [(RequestOutcome::Beat, units(0.0)), waited]);
    }
}
