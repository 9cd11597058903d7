use super::*;

fn at(minutes: i64) -> Timestamp {
    // 2026-11-22T00:00:00Z, a Sunday.
    Timestamp::from_millis(1_795_305_600_000 + minutes * 60_000).unwrap()
}

fn minute(instant: Timestamp) -> i64 {
    (instant.as_millis() - at(0).as_millis()) / 60_000
}

fn key(host: &str) -> HostKey {
    HostKey::new(Fleet::main(), host.parse().unwrap())
}

fn once(since: i64, until: i64) -> Times {
    Times::Once(Blackout {
        since: at(since),
        until: at(until),
    })
}

fn nightly(cron: &str, minutes: u64) -> Times {
    Times::Repeated {
        cron: cron.parse().unwrap(),
        tz: Zone::default(),
        for_ms: minutes * 60_000,
    }
}

fn window(id: &str, prefixes: &[&str], times: Times) -> Window {
    Window {
        id: id.parse().unwrap(),
        host_prefixes: prefixes.iter().map(|one| one.parse().unwrap()).collect(),
        times,
        note: None,
    }
}

fn maintenance(windows: Vec<Window>, now: Timestamp) -> Maintenance {
    let record = FleetRecord {
        windows,
        ..FleetRecord::new(Fleet::main())
    };
    Maintenance::of([&record, &FleetRecord::new("lab".parse().unwrap())], now)
}

#[test]
fn a_window_covers_its_hosts_while_it_is_open() {
    let windows = vec![
        window("a", &["shop-1/"], once(10, 20)),
        window("b", &[], nightly("30 0 * * *", 60)),
        window("c", &["shop-1/"], once(15, 40)),
    ];
    let open = |host: &str, minute| {
        let maintenance = maintenance(windows.clone(), at(minute));
        let open = maintenance.open(&key(host));
        open.map(|(window, open)| (window.id.to_string(), open.until))
    };
    let is = |id: &str, until| Some((id.to_owned(), at(until)));
    assert_eq!(open("shop-1/pos", 9), None);
    assert_eq!(open("shop-1/pos", 10), is("a", 20));
    assert_eq!(open("shop-1/pos", 15), is("c", 40), "what closes last");
    assert_eq!(open("shop-1/pos", 30), is("b", 90));
    assert_eq!(open("shop-2/pos", 10), None);
    assert_eq!(open("shop-2/pos", 89), is("b", 90));
    assert_eq!(open("shop-2/pos", 90), None);
    assert_eq!(open("shop-2/pos", 24 * 60 + 31), is("b", 24 * 60 + 90));
    assert_eq!(open("hb:receiver", 31), None, "never the service itself");
    let lab = HostKey::new("lab".parse().unwrap(), "shop-1/pos".parse().unwrap());
    assert_eq!(maintenance(windows, at(31)).open(&lab), None);
}

#[test]
fn a_silent_host_has_every_opening_since_its_last_beat() {
    let windows = vec![
        window("a", &[], nightly("0 2 * * *", 120)),
        window("b", &[], once(200, 300)),
    ];
    let since = |from, now| {
        let maintenance = maintenance(windows.clone(), at(now));
        let mut open = maintenance.blackouts(&key("web"), at(from));
        open.sort_by_key(|open| open.since);
        open.iter()
            .map(|open| (minute(open.since), minute(open.until)))
            .collect::<Vec<_>>()
    };
    assert_eq!(since(0, 119), []);
    assert_eq!(since(0, 121), [(120, 240)]);
    assert_eq!(since(130, 210), [(120, 240), (200, 300)]);
    assert_eq!(since(300, 1_440), []);
    assert_eq!(
        since(299, 3_001),
        [(200, 300), (1_560, 1_680), (3_000, 3_120)]
    );
}

#[test]
fn a_year_of_nights_is_looked_at_and_not_more() {
    let every_minute = Times::Repeated {
        cron: "* * * * *".parse().unwrap(),
        tz: Zone::default(),
        for_ms: 1_000,
    };
    let now = Timestamp::from_millis(at(1_000_000).as_millis() + 500).unwrap();
    let maintenance = super::Maintenance::of(
        [&FleetRecord {
            windows: vec![window("a", &[], every_minute)],
            ..FleetRecord::new(Fleet::main())
        }],
        now,
    );
    assert_eq!(
        maintenance.blackouts(&key("web"), at(0)).len(),
        limits::OPENINGS
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = [
        window("a", &[], once(20, 20)),
        window("a", &[], once(20, 10)),
        window("a", &[], once(-20, 0)),
        window("a", &[], once(0, 31 * 24 * 60)),
        window("a", &[], nightly("0 2 * * *", 0)),
        window("a", &[], nightly("0 2 * * *", 24 * 60)),
        window("a", &[], nightly("0,10 2 * * *", 10)),
        window("a", &["x/"; 10], once(0, 10)),
    ];
    let said = refused.map(|window| window.check(at(0)).unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"), @r"
    the window would end at 2026-11-22T00:20:00Z, which is not after its beginning at 2026-11-22T00:20:00Z
    the window would end at 2026-11-22T00:10:00Z, which is not after its beginning at 2026-11-22T00:20:00Z
    the window ended at 2026-11-22T00:00:00Z, which is in the past
    a window is open for 1 s to 30 d, not 31 d
    a window is open for 1 s to 30 d, not 0 s
    the window would be open for 1 d at a time and open again after 1 d, so that it never closed; pause the hosts instead, or write a shorter --for
    the window would be open for 10 min at a time and open again after 10 min, so that it never closed; pause the hosts instead, or write a shorter --for
    a window has at most 9 host prefixes, not 10
    ");
    for fits in [
        once(0, 1),
        once(-20, 1),
        nightly("0 2 * * *", 23 * 60),
        nightly("0,10 2 * * *", 9),
    ] {
        assert_eq!(window("a", &[], fits).check(at(0)), Ok(()));
    }
}

#[test]
fn a_fleet_has_a_hundred_windows_that_are_not_over() {
    let long_ago = i64::try_from(limits::WINDOW_KEPT.as_secs() / 60).unwrap();
    let mut record = FleetRecord::new(Fleet::main());
    for n in 0..limits::WINDOWS {
        let times = if n == 0 { once(0, 1) } else { once(0, 2) };
        let one = window(&format!("w{n}"), &[], times);
        record = record.with_window(one, at(0)).unwrap();
    }
    let more = || window("more", &[], nightly("0 2 * * *", 5));
    let full = record
        .clone()
        .with_window(more(), at(long_ago))
        .unwrap_err();
    assert!(
        full.to_string()
            .starts_with("fleet main has 100 maintenance windows"),
        "{full}"
    );
    let record = record.with_window(more(), at(long_ago + 1)).unwrap();
    assert_eq!(record.windows.len(), 100);
    let without = record.without_window(&"w1".parse().unwrap()).unwrap();
    assert_eq!(without.windows.len(), 99);
    assert_eq!(without.without_window(&"w1".parse().unwrap()), None);
}

#[test]
fn stored_windows_read_back() {
    let samples = [
        r#"{"id":"abc","hostPrefixes":["shop-1/"],"since":1795305600000,"until":1795309200000,"note":"new tills"}"#,
        r#"{"id":"abc","cron":"0 2 * * 0","tz":"Europe/Berlin","forMs":7200000}"#,
    ];
    for sample in samples {
        let window: Window = serde_json::from_str(sample).unwrap();
        assert_eq!(serde_json::to_string(&window).unwrap(), sample);
    }
}
