use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const FRESH: Duration = Duration::from_secs(75);
const POLICY: CanaryPolicy = CanaryPolicy {
    fresh: FRESH,
    down_after: Duration::from_secs(90),
};

/// An instant, minutes into the stories.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + minutes * 60_000).unwrap()
}

fn minutes(instant: Timestamp) -> i64 {
    (instant.as_millis() - at(0).as_millis()) / 60_000
}

fn coverage(blackouts: &[(i64, i64)]) -> Coverage {
    let blackouts = blackouts
        .iter()
        .map(|(since, until)| Blackout {
            since: at(*since),
            until: at(*until),
        })
        .collect();
    Coverage {
        blackouts,
        ..Coverage::default()
    }
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

#[test]
fn only_covered_silence_makes_a_host_overdue() {
    type Spans = &'static [(i64, i64)];
    // Blackouts; interval; the minute from which a host with its last beat at minute 0 is overdue.
    let cases: [(Spans, u32, i64); 11] = [
        (&[], 10, 10),
        (&[(-9, -1)], 10, 10),
        (&[(20, 30)], 10, 10),
        (&[(2, 62)], 10, 70),
        (&[(9, 69)], 10, 75),
        (&[(9, 69)], 9, 75),
        (&[(9, 69)], 3, 3),
        (&[(1, 61)], 3, 64),
        (&[(-5, 5)], 10, 15),
        (&[(1, 11), (12, 22)], 10, 30),
        (&[(1, 11), (5, 15)], 10, 24),
    ];
    for (blackouts, interval, expected) in cases {
        let overdue = coverage(blackouts).overdue(at(0), MINUTE * interval);
        assert_eq!(minutes(overdue), expected, "{blackouts:?}, {interval} min");
    }
}

#[test]
fn a_late_canary_leaves_a_blackout() {
    let receiver = Receiver::new(Region::local());
    assert_eq!(
        receiver.health(at(0), &POLICY),
        ReceiverHealth::Stale(None),
        "before the first canary"
    );
    let receiver = receiver.with_canary(at(0), FRESH).with_canary(at(1), FRESH);
    assert_eq!(receiver.blackouts, []);
    let after = |seconds| at(1).plus(Duration::from_secs(seconds));
    let health = [75, 76, 90, 91].map(|seconds| receiver.health(after(seconds), &POLICY));
    assert_eq!(
        health,
        [
            ReceiverHealth::Healthy,
            ReceiverHealth::Stale(Some(at(1))),
            ReceiverHealth::Stale(Some(at(1))),
            ReceiverHealth::Down(at(1))
        ]
    );
    assert_eq!(
        receiver.clone().with_canary(after(75), FRESH).blackouts,
        [],
        "it was still fresh"
    );
    let receiver = receiver.with_canary(at(61), FRESH);
    assert_eq!(
        receiver.blackouts,
        [Blackout {
            since: at(1),
            until: at(61)
        }]
    );
    let receiver = receiver.with_canary(at(60), FRESH);
    assert_eq!(
        (receiver.heard, receiver.blackouts.len()),
        (Some(at(61)), 1),
        "an older canary changes nothing"
    );
    let many = (0..200).fold(receiver, |receiver, n| {
        receiver.with_canary(at(100 + 2 * n), FRESH)
    });
    assert_eq!(many.blackouts.len(), limits::BLACKOUTS);
    assert_eq!(many.blackouts.last().unwrap().until, at(498));
}

#[test]
fn a_region_is_waited_for_until_it_is_presumed_dead() {
    let (home, other) = (region("eu-west-1"), region("us-east-1"));
    let seen = |minutes| [(other.clone(), at(minutes)), (home.clone(), at(0))].into();
    let near = Coverage::of(&home, &[], &seen(7), at(10));
    assert_eq!((near.covered_until(at(10)), near.caveat), (at(7), None));
    let gone = Coverage::of(&home, &[], &seen(4), at(10));
    assert_eq!(
        (gone.covered_until(at(10)), gone.caveat),
        (at(10), Some(Caveat::RegionUnreachable(other.clone())))
    );
    let never_seen = Coverage::of(
        &home,
        &[Receiver::new(other.clone())],
        &BTreeMap::new(),
        at(10),
    );
    assert_eq!(never_seen.caveat, Some(Caveat::RegionUnreachable(other)));
    let alone = Coverage::of(&home, &[], &BTreeMap::new(), at(10));
    assert_eq!(alone.covered_until(at(10)), at(10));
}

#[test]
fn another_regions_blackout_counts_only_until_it_is_presumed_dead() {
    let receiver = |name: &str| Receiver {
        blackouts: vec![Blackout {
            since: at(0),
            until: at(60),
        }],
        ..Receiver::new(region(name))
    };
    let blackouts = |receivers: &[Receiver]| {
        Coverage::of(&region("eu-west-1"), receivers, &BTreeMap::new(), at(70)).blackouts
    };
    assert_eq!(
        blackouts(&[receiver("eu-west-1")]),
        [Blackout {
            since: at(0),
            until: at(60)
        }]
    );
    assert_eq!(
        blackouts(&[receiver("us-east-1")]),
        [Blackout {
            since: at(0),
            until: at(5)
        }]
    );
}

#[test]
fn the_time_before_the_first_canary_is_not_covered() {
    let (home, minutes) = (region("eu-west-1"), |n: u32| MINUTE * n);
    let receiver = Receiver::new(home.clone())
        .with_canary(at(60), FRESH)
        .with_canary(at(61), FRESH);
    let coverage = Coverage::of(&home, &[receiver], &BTreeMap::new(), at(61));
    assert_eq!(coverage.overdue(at(0), minutes(3)), at(63));
    assert_eq!(coverage.overdue(at(61), minutes(3)), at(64));
}

#[test]
fn notices_are_held_only_while_the_receiver_may_be_at_fault() {
    use Breaker::{Closed, Hold, Marked};
    let down = ReceiverHealth::Down(at(0));
    let cases = [
        (49, 49, ReceiverHealth::Stale(None), None, Closed),
        (50, 250, ReceiverHealth::Stale(None), None, Closed),
        (51, 250, ReceiverHealth::Stale(None), None, Hold),
        (900, 900, ReceiverHealth::Healthy, None, Closed),
        (900, 900, ReceiverHealth::Healthy, Some(0), Closed),
        (900, 900, ReceiverHealth::Stale(None), Some(6), Hold),
        (900, 900, ReceiverHealth::Stale(None), Some(5), Marked),
        (900, 900, ReceiverHealth::Stale(Some(at(19))), None, Closed),
        (0, 900, down, Some(0), Closed),
        (1, 900, down, None, Hold),
        (1, 900, down, Some(5), Marked),
    ];
    for (silent, hosts, health, held, expected) in cases {
        let verdict = Breaker::of(silent, hosts, health, held.map(at), at(20));
        assert_eq!(
            verdict, expected,
            "{silent} of {hosts}, {health:?}, held since {held:?}"
        );
    }
}

prop_compose! {
    fn some_blackouts()(spans in prop::collection::vec((0..500_i64, 1..60_i64), 0..6)) -> Vec<(i64, i64)> {
        let mut blackouts: Vec<_> = spans.into_iter().map(|(since, lasts)| (since, since + lasts)).collect();
        blackouts.sort_unstable();
        blackouts
    }
}

proptest! {
    #[test]
    fn blackouts_never_make_a_host_overdue_sooner(blackouts in some_blackouts(), last in 0..300_i64, interval in 1..120_u32) {
        let interval = MINUTE * interval;
        let overdue = coverage(&blackouts).overdue(at(last), interval);
        prop_assert!(overdue >= at(last).plus(interval));
        if let Some((_, fewer)) = blackouts.split_last() {
            prop_assert!(coverage(fewer).overdue(at(last), interval) <= overdue);
        }
        let lost: i64 = blackouts.iter().map(|(since, until)| until - since).sum();
        let most = at(last).plus(interval).plus(MINUTE * u32::try_from(lost).unwrap()).plus(limits::GRACE);
        prop_assert!(overdue <= most, "bounded by the blackouts and the grace");
    }

    /// A host that beats at its interval whenever it can be received, and within the grace after a blackout, is not overdue.
    #[test]
    fn a_host_that_beats_when_it_can_is_never_overdue(blackouts in some_blackouts(), interval in 2..30_u32) {
        let (coverage, every) = (coverage(&blackouts), i64::from(interval) - 1);
        let down = |minute: i64| blackouts.iter().any(|(since, until)| (*since..*until).contains(&minute));
        let grace = i64::from(interval).min(6) - 1;
        let (mut last, mut next) = (0, every);
        for minute in 0..700 {
            if minute == next {
                if down(minute) {
                    // It tries again, and is received within the grace.
                    let end = blackouts.iter().filter(|(since, until)| (*since..*until).contains(&minute));
                    next = end.map(|(_, until)| *until).max().unwrap_or(minute) + grace.min(1);
                } else {
                    (last, next) = (minute, minute + every);
                }
            }
            if !down(minute) {
                prop_assert!(coverage.overdue(at(last), MINUTE * interval) >= at(minute), "at {minute}, last beat {last}");
            }
        }
    }
}
