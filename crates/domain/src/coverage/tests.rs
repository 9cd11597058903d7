use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const FRESH: Duration = Duration::from_secs(75);
const POLICY: CanaryPolicy = CanaryPolicy {
    fresh: FRESH,
    down_after: Duration::from_secs(90),
    local: false,
};

/// An instant, minutes into the stories.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + minutes * 60_000).unwrap()
}

fn minutes_of(instant: Timestamp) -> i64 {
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
    let cases: [(Spans, u32, i64); 13] = [
        (&[], 10, 10),
        (&[(-9, -1)], 10, 10),
        (&[(20, 30)], 10, 10),
        (&[(2, 62)], 10, 72),
        (&[(9, 69)], 10, 79),
        (&[(9, 69)], 9, 78),
        (&[(69, 89)], 70, 149),
        (&[(179, 189)], 180, 249),
        (&[(9, 69)], 3, 3),
        (&[(1, 61)], 3, 64),
        (&[(-5, 5)], 10, 15),
        (&[(1, 11), (12, 22)], 10, 32),
        (&[(1, 11), (5, 15)], 10, 25),
    ];
    for (blackouts, interval, expected) in cases {
        let overdue = coverage(blackouts).overdue(at(0), MINUTE * interval, &[]);
        assert_eq!(
            minutes_of(overdue),
            expected,
            "{blackouts:?}, {interval} min"
        );
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
    for minute in [60, 2] {
        let late = receiver.clone().with_canary(at(minute), FRESH);
        assert_eq!(late, receiver, "an older canary changes nothing");
    }
}

#[test]
fn blackouts_beyond_the_limit_merge_with_their_neighbours() {
    let mut receiver = Receiver::new(Region::local()).with_canary(at(0), FRESH);
    // Ends of blackouts of 2 min, an hour after each other; then some at intervals of a minute.
    let hours = (0..=40).map(|n| n * 60);
    let minutes = (0..60).flat_map(|n| [2_403 + n * 3, 2_404 + n * 3]);
    let mut before = 0;
    for minute in hours.chain(minutes) {
        // Canaries in between, so that only the last two minutes are a blackout.
        for covered in before..=minute - 2 {
            receiver = receiver.with_canary(at(covered), FRESH);
        }
        receiver = receiver.with_canary(at(minute), FRESH);
        before = minute;
    }
    let lost = |receiver: &Receiver| -> i64 {
        let lengths = receiver.blackouts.iter();
        lengths
            .map(|b| minutes_of(b.until) - minutes_of(b.since))
            .sum()
    };
    assert_eq!(receiver.blackouts.len(), limits::BLACKOUTS);
    let spans = receiver.blackouts.windows(2);
    assert!(
        spans.clone().all(|pair| pair[0].until <= pair[1].since),
        "in order"
    );
    assert_eq!(minutes_of(receiver.blackouts[0].since), 58, "none vanished");
    assert!(
        lost(&receiver) < 300,
        "the closest were merged, not the oldest"
    );
}

/// How many of 100 hosts that beat every `every` minutes are overdue at some time after the server was away, which they
/// were not told.
fn announced(every: u32, interval: u32, away: i64) -> usize {
    let (down, up) = (at(1_000), at(1_000 + away));
    let coverage = coverage(&[(1_000, 1_000 + away)]);
    let is_announced = |n: &u32| {
        let phase = MINUTE * every * *n / 100;
        let first = at(1_000).minus(MINUTE * every * 2).plus(phase);
        let beats = (0..60).map(|turn| first.plus(MINUTE * every * turn));
        let heard: Vec<_> = beats.filter(|beat| *beat <= down || *beat >= up).collect();
        let overdue = |last| coverage.overdue(last, MINUTE * interval, &[]);
        heard
            .windows(2)
            .any(|pair| pair[1] > up && overdue(pair[0]) < pair[1])
    };
    (0..100).filter(is_announced).count()
}

#[test]
fn the_own_downtime_makes_no_false_alarm_for_slow_hosts() {
    for (every, interval, away) in [(9, 10, 30), (60, 70, 20), (60, 70, 45), (55, 60, 180)] {
        assert_eq!(
            announced(every, interval, away),
            0,
            "every {every} min, away {away} min"
        );
    }
    assert!(announced(24 * 60, 25 * 60, 120) > 0, "these have a caveat");
}

#[test]
fn blackouts_within_a_grace_put_the_deadline_off_three_graces_at_most() {
    let cases = [
        // In the grace after the first three another one begins, as short as a retry.
        (&[(1, 2), (3, 7), (8, 12)][..], 2, 14, None),
        // Every 50 minutes one of a minute, in which the hourly beat may have been lost.
        (&[(50, 51), (101, 102), (152, 153)], 60, 213, None),
        (
            &[(50, 51), (101, 102), (152, 153), (203, 204)],
            60,
            244,
            Some(203),
        ),
    ];
    for (blackouts, interval, expected, doubtful) in cases {
        let coverage = coverage(blackouts);
        let overdue = coverage.overdue(at(0), MINUTE * interval, &[]);
        let doubt = coverage.doubt(at(0), MINUTE * interval, overdue);
        assert_eq!(
            (
                minutes_of(overdue),
                doubt.map(|doubt| minutes_of(doubt.since))
            ),
            (expected, doubtful),
            "{blackouts:?}"
        );
    }
}

#[test]
fn a_slow_host_is_in_doubt_when_a_blackout_overlaps_its_silence() {
    let coverage = coverage(&[(10, 20), (60, 90), (300, 301)]);
    let doubt = |last: i64, interval: u32, deadline: i64| {
        let doubt = coverage.doubt(at(last), MINUTE * interval, at(deadline));
        doubt.map(|blackout| minutes_of(blackout.since))
    };
    assert_eq!(doubt(0, 61, 200), Some(60), "the longest");
    assert_eq!(doubt(0, 60, 200), None, "it has had a whole interval since");
    assert_eq!(doubt(0, 61, 60), Some(10));
    assert_eq!(doubt(20, 61, 60), None, "neither touches it");
    assert_eq!(doubt(19, 61, 60), Some(10));
    assert_eq!(doubt(90, 61, 300), None);
    let first = Coverage {
        blackouts: vec![Blackout {
            since: Timestamp::MIN,
            until: at(50),
        }],
        ..Coverage::default()
    };
    assert_eq!(
        first.doubt(at(0), MINUTE * 61, at(100)),
        None,
        "unknown time"
    );
}

#[test]
fn a_region_is_waited_for_until_it_is_presumed_dead() {
    let (home, other) = (region("eu-west-1"), region("us-east-1"));
    let seen = |minutes| [(other.clone(), at(minutes)), (home.clone(), at(0))].into();
    let near = Coverage::of(&home, &[], &seen(7), at(10));
    let unreachable = Some(Caveat::RegionUnreachable(other.clone()));
    assert_eq!(
        (near.covered_until(at(10)), &near.caveat),
        (at(7), &unreachable)
    );
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
fn a_region_that_lives_limits_nothing_however_late_its_copies_are() {
    let (home, other) = (region("eu-west-1"), region("us-east-1"));
    let watermarks = [(other.clone(), at(0))].into();
    let seen = |heard: i64| {
        let receiver = Receiver {
            heard: Some(at(heard)),
            ..Receiver::new(other.clone())
        };
        assert_eq!(receiver.lives(at(100)), heard >= 95, "heard at {heard}");
        let coverage = Coverage::of(&home, &[receiver], &watermarks, at(100));
        (coverage.covered_until(at(100)), coverage.caveat)
    };
    assert_eq!(seen(95), (at(100), None));
    let unreachable = Some(Caveat::RegionUnreachable(other.clone()));
    assert_eq!(seen(94), (at(100), unreachable));
}

#[test]
fn the_blackout_of_a_region_that_does_not_live_counts_only_until_it_is_presumed_dead() {
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
    let mut back = receiver("us-east-1");
    back.heard = Some(at(65));
    let whole = [Blackout {
        since: at(0),
        until: at(60),
    }];
    assert_eq!(blackouts(&[back]), whole, "both regions see the same");
}

#[test]
fn the_time_before_the_first_canary_is_not_covered() {
    let (home, minutes) = (region("eu-west-1"), |n: u32| MINUTE * n);
    let receiver = Receiver::new(home.clone())
        .with_canary(at(60), FRESH)
        .with_canary(at(61), FRESH);
    let coverage = Coverage::of(&home, &[receiver], &BTreeMap::new(), at(61));
    assert_eq!(coverage.overdue(at(0), minutes(3), &[]), at(63));
    assert_eq!(coverage.overdue(at(61), minutes(3), &[]), at(64));
}

#[test]
fn a_region_that_is_added_puts_no_deadline_off() {
    let old = Receiver {
        first: Some(at(-1_000)),
        ..Receiver::new(region("eu-west-1")).with_canary(at(10), MINUTE)
    };
    let added = Receiver::new(region("us-east-1")).with_canary(at(10), MINUTE);
    for home in [&old, &added] {
        let coverage = Coverage::of(
            &home.region,
            &[old.clone(), added.clone()],
            &BTreeMap::new(),
            at(10),
        );
        assert_eq!(minutes_of(coverage.overdue(at(0), MINUTE * 30, &[])), 30);
    }
}

#[test]
fn the_time_without_any_beat_of_a_host_is_a_blackout_afterwards() {
    let fleet = Fleet::main();
    let receiver = Receiver::new(Region::local()).with_canary(at(0), FRESH);
    let held = receiver.clone().holding(&fleet, at(5), None).unwrap();
    assert_eq!(held.clone().holding(&fleet, at(6), None), None);
    let unheard = held.holding(&fleet, at(6), Some(at(3))).unwrap();
    assert_eq!(unheard.holds[&fleet], at(5), "the first is the beginning");
    assert_eq!(unheard.clone().holding(&fleet, at(7), Some(at(4))), None);
    let released = unheard.clone().released(&fleet).unwrap();
    assert_eq!(released.clone().released(&fleet), None);
    let again = unheard.heard_again(at(9)).unwrap();
    let blackout = Blackout {
        since: at(3),
        until: at(9),
    };
    assert_eq!(again.blackouts, [blackout]);
    assert_eq!(again.heard_again(at(10)), None);
    assert_eq!(receiver.heard_again(at(10)), None);
}

#[test]
fn single_beats_do_not_end_the_time_in_which_hardly_any_host_was_heard() {
    let blackout = |(since, until): &(i64, i64)| Blackout {
        since: at(*since),
        until: at(*until),
    };
    let cases = [
        (&[][..], 9, 9),
        (&[(3, 9)], 9, 3),
        (&[(3, 8)], 9, 9),
        (&[(1, 3), (3, 9)], 9, 1),
        (&[(1, 2), (3, 9)], 9, 3),
        (&[(1, 3), (2, 5), (3, 9)], 9, 1),
    ];
    for (blackouts, newest, since) in cases {
        let coverage = Coverage {
            blackouts: blackouts.iter().map(blackout).collect(),
            ..Coverage::default()
        };
        let known = coverage.hardly_heard_since(at(newest));
        assert_eq!(known, at(since), "{blackouts:?}");
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
        let overdue = coverage(&blackouts).overdue(at(last), interval, &[]);
        prop_assert!(overdue >= at(last).plus(interval));
        if let Some((_, fewer)) = blackouts.split_last() {
            prop_assert!(coverage(fewer).overdue(at(last), interval, &[]) <= overdue);
        }
        let lost: i64 = blackouts.iter().map(|(since, until)| until - since).sum();
        let most = at(last).plus(interval).plus(MINUTE * u32::try_from(lost).unwrap()).plus(interval.min(limits::GRACE) * limits::GRACES);
        prop_assert!(overdue <= most, "bounded by the blackouts and their graces");
    }

    /// A host that beats at its interval whenever it can be received, and within the grace after a blackout, is not overdue;
    /// at most it is in doubt, after many blackouts close to each other.
    #[test]
    fn a_host_that_beats_when_it_can_is_never_overdue(blackouts in some_blackouts(), interval in 2..30_u32) {
        let (coverage, every) = (coverage(&blackouts), i64::from(interval) - 1);
        let down = |minute: i64| blackouts.iter().any(|(since, until)| (*since..*until).contains(&minute));
        let grace = i64::from(interval).min(60) - 1;
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
                let overdue = coverage.overdue(at(last), MINUTE * interval, &[]);
                let doubt = coverage.doubt(at(last), MINUTE * interval, overdue);
                prop_assert!(overdue >= at(minute) || doubt.is_some(), "at {minute}, last beat {last}");
            }
        }
    }
}

#[test]
fn a_receiver_of_the_future_counts_as_of_now() {
    let ahead = |minute| Receiver::new(Region::local()).with_canary(at(minute), FRESH);
    let mut wrong = ahead(9_000).with_canary(at(9_010), FRESH);
    wrong.holds.insert(Fleet::main(), at(9_010));
    assert!(wrong.is_ahead(at(0)) && !ahead(0).is_ahead(at(0)));
    let expected = Receiver {
        holds: [(Fleet::main(), at(0))].into(),
        ..ahead(0)
    };
    assert_eq!(wrong.as_of(at(0)), expected);
    // A blackout that began before and would end in the future ends now.
    let lasting = ahead(-5).with_canary(at(120), FRESH);
    let cut = lasting.as_of(at(0));
    assert_eq!(
        cut.blackouts,
        [Blackout {
            since: at(-5),
            until: at(0)
        }]
    );
}
