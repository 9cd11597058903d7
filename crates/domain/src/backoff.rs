//! How long to wait before trying again.

use std::time::Duration;

use crate::limits;

/// The pause after the `tries`-th failure: 2 s, doubled each time, at most 5 min.
///
/// `spread` (any number) shortens it by up to a quarter, so that many who failed together do not return together.
#[must_use]
pub fn pause(tries: u32, spread: u8) -> Duration {
    let doubled = limits::PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(20));
    let whole = doubled.min(limits::PAUSE_LONGEST);
    whole.saturating_sub(whole / 4 * u32::from(spread) / u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        let seconds: Vec<_> = [0, 1, 2, 3, 8, 9, u32::MAX].map(|tries| pause(tries, 0).as_secs()).into();
        assert_eq!(seconds, [2, 2, 4, 8, 256, 300, 300]);
        assert_eq!(pause(1, u8::MAX), Duration::from_millis(1_500));
    }
}
