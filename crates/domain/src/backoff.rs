//! Pauses before retries, and how clients spread their requests.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::host::HostId;
use crate::limits;

/// The pause after the `tries`-th failure: 2 s, doubled each time, at most 5 min.
///
/// `spread` (any number) shortens it by up to a quarter, so that senders that failed together do not return together.
#[must_use]
pub fn pause(tries: u32, spread: u8) -> Duration {
    let doubled = limits::PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(20));
    let whole = doubled.min(limits::PAUSE_LONGEST);
    whole.saturating_sub(whole / 4 * u32::from(spread) / u32::from(u8::MAX))
}

/// The pause of a client after its `tries`-th failure: a random part of [`pause`], given a random `spread`. So a fleet
/// that lost its server all at once does not return all at once ("full jitter": AWS Architecture Blog, "Exponential
/// Backoff And Jitter").
#[must_use]
pub fn jittered(tries: u32, spread: u32) -> Duration {
    pause(tries, 0).mul_f64(f64::from(spread) / f64::from(u32::MAX))
}

/// This host's delay within a span of `within`, always the same: so a fleet whose cron jobs all start on the minute
/// spreads its beats evenly.
#[must_use]
pub fn splay(host: &HostId, within: Duration) -> Duration {
    let hash = Sha256::digest(host.as_str());
    let place = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    within.mul_f64(f64::from(place) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let seconds: Vec<_> = [0, 1, 2, 3, 8, 9, u32::MAX]
            .map(|tries| pause(tries, 0).as_secs())
            .into();
        assert_eq!(seconds, [2, 2, 4, 8, 256, 300, 300]);
        assert_eq!(pause(1, u8::MAX), Duration::from_millis(1_500));
    }

    #[test]
    fn jitter_takes_any_part_of_the_pause() {
        let parts = [
            (1, 0),
            (1, u32::MAX),
            (4, u32::MAX / 2),
            (u32::MAX, u32::MAX),
        ];
        let seconds: Vec<_> = parts
            .map(|(tries, spread)| jittered(tries, spread).as_secs_f64().round())
            .into();
        assert_eq!(seconds, [0.0, 2.0, 8.0, 300.0]);
    }

    #[test]
    fn splay_spreads_a_fleet_evenly_and_never_changes_for_a_host() {
        let within = Duration::from_mins(1);
        let places = (0..1_000).map(|i| splay(&format!("web-{i}").parse().unwrap(), within));
        let early = places
            .inspect(|place| assert!(*place < within))
            .filter(|place| *place < within / 2)
            .count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(
            splay(&"web-01".parse().unwrap(), within).as_millis(),
            2_722,
            "never changes"
        );
    }
}
