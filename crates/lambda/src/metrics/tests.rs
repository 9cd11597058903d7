use insta::assert_snapshot;

use super::*;
use hb_domain::Kind;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

fn request(outcome: &RequestOutcome, capacity: Capacity) -> String {
    of_request("dev", at(0), outcome, capacity).unwrap_or_default()
}

#[test]
fn a_beat_prints_one_short_line() {
    let line = request(
        &RequestOutcome::Beat,
        Capacity {
            read: 0.0,
            write: 1.0,
        },
    );
    assert_snapshot!(line, @r#"{"Beats":1.0,"Stage":"dev","WriteUnits":1.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"Beats","Unit":"Count"},{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
}

#[test]
fn a_refused_beat_counts_in_total_and_by_reason() {
    let outcome = RequestOutcome::Refused {
        reason: "unauthenticated".to_owned(),
        count: 1,
    };
    let line = request(
        &outcome,
        Capacity {
            read: 0.5,
            write: 0.0,
        },
    );
    assert_snapshot!(line, @r#"{"ReadUnits":0.5,"Reason":"unauthenticated","RefusedBeats":1.0,"Stage":"dev","_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"],["Stage","Reason"]],"Metrics":[{"Name":"RefusedBeats","Unit":"Count"}],"Namespace":"Heartbeat"},{"Dimensions":[["Stage"]],"Metrics":[{"Name":"ReadUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
}

#[test]
fn other_requests_print_a_line_only_when_they_used_capacity() {
    assert_eq!(
        of_request("dev", at(0), &RequestOutcome::Other, Capacity::default()),
        None
    );
    let line = request(
        &RequestOutcome::Other,
        Capacity {
            read: 0.0,
            write: 1.0,
        },
    );
    assert_snapshot!(line, @r#"{"Stage":"dev","WriteUnits":1.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000000000}}"#);
}

#[test]
fn an_incomplete_sweep_does_not_count_as_completed() {
    let report = SweepReport {
        began: at(0),
        ended: at(2),
        hosts: 100_000,
        decided: [(Kind::Missing, 3), (Kind::Recovered, 1)].into(),
        accepted: 2,
        unknown: 1,
        refused: 1,
        unreadable: 1,
        ..SweepReport::default()
    };
    let line = |completed| {
        let pass = Pass {
            report: report.clone(),
            completed,
        };
        of_pass(
            "prod",
            &pass,
            Capacity {
                read: 1_562.5,
                write: 12.0,
            },
        )
        .unwrap()
    };
    assert_snapshot!(line(true), @r#"{"Claims":4.0,"HostsFailing":0.0,"HostsHeld":0.0,"HostsMissing":0.0,"HostsPaused":0.0,"HostsScanned":100000.0,"NoticesAccepted":2.0,"NoticesBatched":0.0,"NoticesEchoed":0.0,"NoticesRefused":1.0,"NoticesUnknown":1.0,"ReadUnits":1562.5,"RegionsUnheard":0.0,"SecondCopies":0.0,"Stage":"prod","SweepCompleted":1.0,"SweepSeconds":2.0,"UnreadableItems":1.0,"WriteUnits":12.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Stage"]],"Metrics":[{"Name":"SweepCompleted","Unit":"Count"},{"Name":"HostsScanned","Unit":"Count"},{"Name":"Claims","Unit":"Count"},{"Name":"NoticesAccepted","Unit":"Count"},{"Name":"NoticesRefused","Unit":"Count"},{"Name":"NoticesUnknown","Unit":"Count"},{"Name":"NoticesEchoed","Unit":"Count"},{"Name":"NoticesBatched","Unit":"Count"},{"Name":"SecondCopies","Unit":"Count"},{"Name":"HostsHeld","Unit":"Count"},{"Name":"HostsMissing","Unit":"Count"},{"Name":"HostsFailing","Unit":"Count"},{"Name":"HostsPaused","Unit":"Count"},{"Name":"RegionsUnheard","Unit":"Count"},{"Name":"UnreadableItems","Unit":"Count"},{"Name":"SweepSeconds","Unit":"Seconds"},{"Name":"ReadUnits","Unit":"Count"},{"Name":"WriteUnits","Unit":"Count"}],"Namespace":"Heartbeat"}],"Timestamp":1700000002000}}"#);
    let line: Value = serde_json::from_str(&line(false)).unwrap();
    assert_eq!(line["SweepCompleted"], 0.0);
}

/// Each metric and each dimension is a member, metrics are numbers, dimensions text.
#[test]
fn lines_follow_the_embedded_metric_format() {
    let lines = [
        request(
            &RequestOutcome::Refused {
                reason: "x".to_owned(),
                count: 1,
            },
            Capacity {
                read: 1.0,
                write: 1.0,
            },
        ),
        of_pass(
            "prod",
            &Pass {
                report: SweepReport::default(),
                completed: true,
            },
            Capacity {
                read: 1.0,
                write: 1.0,
            },
        )
        .unwrap(),
    ];
    for line in lines {
        assert!(!line.contains('\n'));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["_aws"]["Timestamp"].is_u64());
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for set in directive["Dimensions"].as_array().unwrap() {
                let names = set.as_array().unwrap();
                assert!(
                    names
                        .iter()
                        .all(|name| line[name.as_str().unwrap()].is_string())
                );
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            assert!(
                metrics
                    .iter()
                    .all(|metric| line[metric["Name"].as_str().unwrap()].is_number())
            );
        }
    }
}

#[test]
fn capacity_is_the_difference_of_two_readings() {
    let usage = |read_millis, write_millis| Usage {
        read_millis,
        write_millis,
        ..Usage::default()
    };
    let capacity = Capacity::between(&usage(500, 1_000), &usage(2_000, 4_500));
    assert_eq!(
        capacity,
        Capacity {
            read: 1.5,
            write: 3.5
        }
    );
}

#[test]
fn every_metric_is_listed_once() {
    let mut names: Vec<_> = emitted().into_iter().map(|(name, ..)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
