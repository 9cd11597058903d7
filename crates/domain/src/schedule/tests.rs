use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(zone: &Zone, local: &str) -> Timestamp {
    let local: jiff::civil::DateTime = local.parse().unwrap();
    let millis = local.to_zoned(zone.0.clone()).unwrap().timestamp();
    Timestamp::from_millis(millis.as_millisecond()).unwrap()
}

/// The next times of `schedule` after `from`, by the clocks of `zone`, with their offsets from UTC.
fn next(schedule: &str, zone_name: &str, from: &str, count: usize) -> String {
    let (schedule, zone): (Schedule, _) = (schedule.parse().unwrap(), zone(zone_name));
    let next = |at: &Timestamp| schedule.next(*at, &zone);
    let times = std::iter::successors(next(&at(&zone, from)), next).take(count);
    let shown = times.map(|at| zone.zoned(at).strftime("%d %H:%M%:z").to_string());
    shown.collect::<Vec<_>>().join(", ")
}

/// Where clocks go forward, back, and by half an hour.
#[test]
fn daylight_saving_is_what_jobs_do_under_cron() {
    let cases = [
        // Europe/Berlin, 2026-03-29: 02:00 to 03:00 is skipped.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "29 03:00+02:00, 30 02:30+02:00",
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:30",
            "29 01:00+01:00, 29 03:00+02:00",
        ),
        (
            "*/15 2 * * *",
            "Europe/Berlin",
            "2026-03-29T01:45",
            "30 02:00+02:00, 30 02:15+02:00",
        ),
        (
            "0 4 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00",
            "29 04:00+02:00, 30 04:00+02:00",
        ),
        // 2026-10-25: 02:00 to 03:00 comes twice.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "25 02:30+02:00, 26 02:30+01:00",
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25T01:30",
            "25 02:00+02:00, 25 02:00+01:00",
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T02:15",
            "25 02:30+02:00, 25 02:00+01:00",
        ),
        (
            "0 4 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00",
            "25 04:00+01:00, 26 04:00+01:00",
        ),
        // New York does so at other dates.
        (
            "15 2 * * *",
            "America/New_York",
            "2026-03-07T12:00",
            "08 03:00-04:00, 09 02:15-04:00",
        ),
        (
            "15 1 * * *",
            "America/New_York",
            "2026-10-31T12:00",
            "01 01:15-04:00, 02 01:15-05:00",
        ),
        // Midnight itself was skipped.
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00",
            "04 01:00-02:00, 05 00:00-02:00",
        ),
        // By half an hour.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00",
            "04 02:30+11:00, 05 02:15+11:00",
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00",
            "05 01:45+11:00, 06 01:45+10:30",
        ),
        (
            "@daily",
            "UTC",
            "2026-03-28T12:00",
            "29 00:00+00:00, 30 00:00+00:00",
        ),
    ];
    for (schedule, zone, from, expected) in cases {
        assert_eq!(next(schedule, zone, from, 2), expected, "{schedule} {zone}");
    }
}

#[test]
fn fields_mean_what_they_mean_to_cron() {
    let cases = [
        // Either the day of the month or the day of the week.
        (
            "0 0 1 * 1",
            "30 00:00+00:00, 01 00:00+00:00, 07 00:00+00:00",
        ),
        (
            "0 0 * * 7",
            "29 00:00+00:00, 06 00:00+00:00, 13 00:00+00:00",
        ),
        (
            "0 0 * * sun",
            "29 00:00+00:00, 06 00:00+00:00, 13 00:00+00:00",
        ),
        (
            "0 0 * * 5-7",
            "27 00:00+00:00, 28 00:00+00:00, 29 00:00+00:00",
        ),
        (
            "1-30/7 0 * nov *",
            "24 00:01+00:00, 24 00:08+00:00, 24 00:15+00:00",
        ),
        (
            "5,10 0 ? * *",
            "24 00:05+00:00, 24 00:10+00:00, 25 00:05+00:00",
        ),
        (
            "0 0 29 2 *",
            "29 00:00+00:00, 29 00:00+00:00, 29 00:00+00:00",
        ),
        ("@hourly", "24 01:00+00:00, 24 02:00+00:00, 24 03:00+00:00"),
        (
            "@Midnight",
            "25 00:00+00:00, 26 00:00+00:00, 27 00:00+00:00",
        ),
        ("@weekly", "29 00:00+00:00, 06 00:00+00:00, 13 00:00+00:00"),
        (
            "@annually",
            "01 00:00+00:00, 01 00:00+00:00, 01 00:00+00:00",
        ),
        (
            "  0   12 *  * * ",
            "24 12:00+00:00, 25 12:00+00:00, 26 12:00+00:00",
        ),
    ];
    for (schedule, expected) in cases {
        assert_eq!(
            next(schedule, "UTC", "2026-11-24T00:00", 3),
            expected,
            "{schedule}"
        );
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_the_reason() {
    let long = "1,".repeat(60) + "1 * * * *";
    let refused = [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "5/15 * * * *",
        "@reboot",
        "ä * * * *",
        "0 0 30 2 *",
        "0 0 */2 * 1",
        "0 0 1 * */2",
        &long,
        "0 0 * * 8",
        "\u{1b}[2J * * * *",
    ];
    let said = refused.map(|text| text.parse::<Schedule>().unwrap_err().to_string());
    let said = said.map(|said| {
        said.replace(
            "not a schedule of cron, such as '0 2 * * *' for 2 o'clock each day: ",
            "",
        )
    });
    insta::assert_snapshot!(said.join("\n"), @r#"
    it is empty
    it has five fields: minute, hour, day of month, month, day of week
    it has five fields: minute, hour, day of month, month, day of week
    number out of bounds
    step cannot be zero
    range out of bounds
    invalid step syntax: single number steps like "5/15" are not allowed. Use "*/15" for wildcard steps or "X-Y/15" for range steps
    it has five fields: minute, hour, day of month, month, day of week
    it has a character that no field may have
    no day of the next years is in the schedule
    day of month */2 and day of week 1 together mean either of them, or both, depending on the cron; write one of them as *
    day of month 1 and day of week */2 together mean either of them, or both, depending on the cron; write one of them as *
    it has more than 100 characters
    number out of bounds
    it has a character that no field may have
    "#);
    let zones = ["", "Berlin", "../etc/passwd", "CET-1CEST", "\u{1b}[2J"];
    let said = zones.map(|text| text.parse::<Zone>().unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"), @r#"
    there is no time zone "": write a name of the IANA database, such as Europe/Berlin or UTC
    there is no time zone "Berlin": write a name of the IANA database, such as Europe/Berlin or UTC
    there is no time zone "../etc/passwd": write a name of the IANA database, such as Europe/Berlin or UTC
    there is no time zone "CET-1CEST": write a name of the IANA database, such as Europe/Berlin or UTC
    there is no time zone "[2J": write a name of the IANA database, such as Europe/Berlin or UTC
    "#);
}

#[test]
fn schedules_and_zones_are_stored_as_they_were_written() {
    let schedule: Schedule = " 0 2  * * MON ".parse().unwrap();
    assert_eq!(serde_json::json!(schedule), "0 2 * * MON");
    let zone: Zone = serde_json::from_str("\"europe/berlin\"").unwrap();
    assert_eq!(serde_json::json!(zone), "Europe/Berlin");
    assert!(serde_json::from_str::<Schedule>("\"61 * * * *\"").is_err());
}

proptest! {
    #[test]
    fn the_last_time_is_the_one_before_the_next(
        schedule in prop::sample::select(vec!["30 2 * * *", "*/15 * * * *", "0 */6 * * *", "0 2 * * 0", "15 1,2,3 * * *", "0 0 1 * *"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        seconds in 1_700_000_000_i64..1_900_000_000,
    ) {
        let (schedule, zone): (Schedule, _) = (schedule.parse().unwrap(), zone.parse::<Zone>().unwrap());
        let now = Timestamp::from_millis(seconds * 1_000).unwrap();
        let next = schedule.next(now, &zone).unwrap();
        prop_assert!(next > now);
        let last = schedule.last(now, &zone).unwrap();
        prop_assert!(last <= now);
        prop_assert_eq!(schedule.next(last, &zone), Some(next), "{} {}", last, now);
        prop_assert_eq!(schedule.last(last, &zone), Some(last));
    }
}
