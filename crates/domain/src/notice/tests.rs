use proptest::prelude::*;
use uuid::Uuid;

use std::time::Duration;

use super::*;
use crate::beat::{Beat, Heartbeat, Signal};
use crate::coverage::Blackout;
use crate::decide::{Rules, decide};
use crate::digest::digest_parts;
use crate::filter::Filter;
use crate::incarnation::Incarnation;
use crate::limits;
use crate::pending::{Acceptance, DeliveryPolicy};

const AT_10: i64 = 1_769_853_720_000; // 2026-01-31T10:02:00Z

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn entry(fleet: &str, host: &str, signal: Signal, message: &str) -> Entry {
    let beat = Beat {
        signal,
        message: Some(Message::from(message.to_owned())),
        ..Beat::ok(at(AT_10 - 600_000))
    };
    let key = HostKey::new(fleet.parse().unwrap(), host.parse().unwrap());
    let now = if signal == Signal::Ok {
        at(AT_10 + 21_000)
    } else {
        at(AT_10 - 590_000)
    };
    decide(
        &Entry::new(key),
        &Heartbeat::new(beat),
        now,
        &Rules::default(),
    )
    .unwrap()
}

fn notice(entry: &Entry) -> Notice {
    Notice::of(entry, &Region::local()).unwrap()
}

fn missing() -> Notice {
    notice(&entry("main", "web-01", Signal::Ok, ""))
}

/// A delivered `missing`, then a beat 18 minutes after the deadline.
fn recovered() -> Notice {
    let missing = Entry {
        pending: None,
        ..entry("main", "web-01", Signal::Ok, "")
    };
    let now = at(AT_10 + 1_080_000);
    let beat = Beat::ok(now);
    notice(&decide(&missing, &Heartbeat::new(beat), now, &Rules::default()).unwrap())
}

/// A host that beat every 10 min, and then asks for a day.
fn slowed() -> Notice {
    let first = at(AT_10 - 600_000);
    let key = HostKey::new("main".parse().unwrap(), "web-01".parse().unwrap());
    let registered = decide(
        &Entry::new(key),
        &Heartbeat::new(Beat::ok(first)),
        first,
        &Rules::default(),
    );
    let registered = Entry {
        pending: None,
        ..registered.unwrap()
    };
    let beats = Heartbeat::new(Beat::ok(first)).merge(Heartbeat::new(Beat {
        interval: Interval::from_millis(86_400_000).unwrap(),
        ..Beat::ok(at(AT_10))
    }));
    notice(&decide(&registered, &beats, at(AT_10 + 9_000), &Rules::default()).unwrap())
}

#[test]
fn texts_of_a_raised_interval_say_what_it_was() {
    let notice = slowed();
    let texts = [
        notice.text(),
        notice.sms(),
        notice.subject_line(),
        notice.email(),
    ];
    insta::assert_snapshot!(texts.join("\n\n"), @r"
    SLOWED web-01: beats only every 1 d since 10:02 UTC; before, every 10 min

    SLOWED web-01: beats only every 1 d since 10:02 UTC; before, every 10 min. 57YZB1R1GB

    [hb] SLOWED web-01 since 10:02 UTC (57YZB1R1GB)

    SLOWED web-01: beats only every 1 d since 10:02 UTC; before, every 10 min

    host            web-01
    fleet           main
    since           2026-01-31 10:02 UTC
    last beat       2026-01-31 10:02 UTC
    interval        1 d

    look closer     hb host show web-01
    override        hb host set web-01 --interval INTERVAL
    notice          57YZB1R1GB
    ");
    assert_eq!(notice.severity(), crate::transition::Severity::Warning);
}

#[test]
fn json_of_a_host_has_every_field() {
    insta::assert_snapshot!(format!("{:#}", missing().json()), @r#"
    {
      "at": "2026-01-31T10:02:21Z",
      "attempt": 1,
      "count": 1,
      "digest": false,
      "fleet": "main",
      "hosts": [
        {
          "epoch": 1,
          "hostId": "web-01",
          "intervalMs": 600000,
          "lastBeat": "2026-01-31T09:52:00Z",
          "message": null,
          "since": "2026-01-31T10:02:00Z"
        }
      ],
      "id": "Y1Z3VVJ390",
      "kind": "missing",
      "severity": "critical",
      "text": "MISSING web-01: silent for 10 min, last beat 09:52 UTC",
      "version": 1
    }
    "#);
}

#[test]
fn line_subject_and_sms_name_host_kind_and_instant() {
    let failing = entry(
        "lab",
        "nightly/backup",
        Signal::Fail,
        "disk full\non /var \u{1b}[31m",
    );
    let again = failing
        .clone()
        .leased(Uuid::nil(), at(AT_10), &POLICY)
        .unwrap();
    let again = again
        .leased(Uuid::nil(), at(AT_10 + 86_400_000), &POLICY)
        .unwrap();
    for (notice, name) in [
        (missing(), "missing"),
        (recovered(), "recovered"),
        (notice(&again), "failing, again"),
    ] {
        let shown = format!(
            "{}\n{}\n{}",
            notice.text(),
            notice.subject_line(),
            notice.sms()
        );
        match name {
            "missing" => insta::assert_snapshot!(shown, @r"
            MISSING web-01: silent for 10 min, last beat 09:52 UTC
            [hb] MISSING web-01 since 10:02 UTC (Y1Z3VVJ390)
            MISSING web-01: silent for 10 min, last beat 09:52 UTC. Y1Z3VVJ390
            "),
            "recovered" => insta::assert_snapshot!(shown, @r"
            RECOVERED web-01: after 18 min missing, at 10:20 UTC
            [hb] RECOVERED web-01 at 10:20 UTC (HCMFWQBD34)
            RECOVERED web-01: after 18 min missing, at 10:20 UTC. HCMFWQBD34
            "),
            _ => insta::assert_snapshot!(shown, @r"
            FAILED nightly/backup (lab): disk full (09:52 UTC) (attempt 2, same id)
            [hb] FAILED nightly/backup (lab) at 09:52 UTC (MS93PC04QB)
            FAILED nightly/backup (lab): disk full (09:52 UTC). MS93PC04QB (attempt 2, same id)
            "),
        }
    }
}

#[test]
fn an_email_names_the_commands_to_show_and_pause_the_host() {
    insta::assert_snapshot!(notice(&entry("lab", "nightly", Signal::Fail, "disk full\n/var at 100 %")).email(), @r"
    FAILED nightly (lab): disk full (09:52 UTC)

    host            nightly
    fleet           lab
    since           2026-01-31 09:52 UTC
    last beat       2026-01-31 09:52 UTC
    interval        10 min

    The host says:
      > disk full
      > /var at 100 %

    look closer     hb host show nightly --fleet lab
    no reminders    hb host ack nightly --fleet lab
    no notices      hb host pause nightly --fleet lab --until 2h
    notice          VXFCCC3XYF
    ");
}

/// A frozen digest of `count` hosts, or as many as fit, whose names are `prefix` and a number.
fn digest(
    fleet: &str,
    prefix: &str,
    count: usize,
    caveat: Option<&Caveat>,
    attempts: u32,
) -> Notice {
    let names: Vec<_> = (0..count).map(|n| format!("{prefix}{n:02}")).collect();
    digest_of(fleet, &names, caveat, attempts)
}

/// A frozen digest of hosts with these names, or as many as fit; each site has eight hosts.
fn digest_of(fleet: &str, names: &[String], caveat: Option<&Caveat>, attempts: u32) -> Notice {
    let id = NoticeId::of_bytes([7; 32]);
    let mut entries: Vec<_> = names
        .iter()
        .map(|name| entry(fleet, name, Signal::Ok, ""))
        .collect();
    for entry in &mut entries {
        entry.history.last_mut().unwrap().caveat = caveat.cloned();
    }
    let all: Vec<_> = entries.iter().collect();
    let part = digest_parts(&all).swap_remove(0);
    let open = Digest::new(id.clone(), &part, at(AT_10 + 21_000)).unwrap();
    let join = |entry: &&Entry| (*entry).clone().batched(&id, at(AT_10 + 30_000)).unwrap();
    let joined: Vec<_> = part.iter().map(join).collect();
    let frozen = open.frozen(&joined, at(AT_10 + 31_000)).unwrap();
    let mut frozen = frozen.with_sites(|_| Some(8));
    frozen.pending.as_mut().unwrap().attempt = attempts;
    Notice::of_digest(&frozen, &Region::local()).unwrap()
}

#[test]
fn a_digest_counts_all_hosts_and_names_the_first() {
    let digest = digest("lab", "web-", 12, Some(&Caveat::ReceiverDown), 2);
    insta::assert_snapshot!(
        format!("{}\n{}\n{}\n\n{}", digest.text(), digest.subject_line(), digest.sms(), digest.email()), @r"
    MISSING 12 hosts in lab since 10:02 UTC: web-00, web-01, web-02, web-03, web-04 and 7 more (or the receiver is down) (attempt 2, same id)
    [hb] MISSING 12 hosts in lab since 10:02 UTC (0W3GE1R70W)
    MISSING 12 hosts (web-00, web-01, web-02 and 9 more) in lab since 10:02 UTC (or the receiver is down). 0W3GE1R70W (attempt 2, same id)

    MISSING 12 hosts in lab since 10:02 UTC: web-00, web-01, web-02, web-03, web-04 and 7 more (or the receiver is down) (attempt 2, same id)

    fleet           lab
    since           2026-01-31 10:02 UTC

      2026-01-31 10:02 UTC  web-00
      2026-01-31 10:02 UTC  web-01
      2026-01-31 10:02 UTC  web-02
      2026-01-31 10:02 UTC  web-03
      2026-01-31 10:02 UTC  web-04
      2026-01-31 10:02 UTC  web-05
      2026-01-31 10:02 UTC  web-06
      2026-01-31 10:02 UTC  web-07
      2026-01-31 10:02 UTC  web-08
      2026-01-31 10:02 UTC  web-09
      2026-01-31 10:02 UTC  web-10
      2026-01-31 10:02 UTC  web-11

    list            hb host list --status missing --fleet lab
    notice          0W3GE1R70W (attempt 2, same id)
    ");
}

/// Eight hosts of one site, three of another that has eight, one of a third, and one without.
fn of_sites() -> Notice {
    let names = |site: &str, hosts: std::ops::Range<u32>| {
        hosts.map(|n| format!("{site}/pos-{n}")).collect::<Vec<_>>()
    };
    let names = [
        names("restaurant-17", 0..8),
        names("restaurant-18", 3..6),
        names("restaurant-19", 1..2),
        vec!["web-01".to_owned()],
    ];
    digest_of("main", &names.concat(), None, 1)
}

#[test]
fn a_digest_is_written_by_site() {
    let mut digest = of_sites();
    let About::Digest(members) = &mut digest.about else {
        unreachable!()
    };
    members[0].back = true;
    members[11].back = true;
    insta::assert_snapshot!(
        format!("{}\n{}\n{}\n\n{}", digest.text(), digest.subject_line(), digest.sms(), digest.email()), @r"
    MISSING 13 hosts since 10:02 UTC, 2 back by now: restaurant-17 (all 8), restaurant-18 (3 of 8), restaurant-19/pos-1, web-01
    [hb] MISSING 13 hosts since 10:02 UTC, 2 back by now (0W3GE1R70W)
    MISSING 13 hosts (restaurant-17 all 8, restaurant-18 3 of 8, restaurant-19/pos-1, web-01) since 10:02 UTC. 0W3GE1R70W

    MISSING 13 hosts since 10:02 UTC, 2 back by now: restaurant-17 (all 8), restaurant-18 (3 of 8), restaurant-19/pos-1, web-01

    fleet           main
    since           2026-01-31 10:02 UTC

      2026-01-31 10:02 UTC  restaurant-17 (all 8, 1 back by now): pos-0, pos-1, pos-2, pos-3, pos-4, pos-5, pos-6, pos-7
      2026-01-31 10:02 UTC  restaurant-18 (3 of 8): pos-3, pos-4, pos-5
      2026-01-31 10:02 UTC  restaurant-19/pos-1  (is back)
      2026-01-31 10:02 UTC  web-01

    list            hb host list --status missing
    notice          0W3GE1R70W
    ");
    assert_eq!(
        digest.json()["sites"],
        serde_json::json!({"restaurant-17": 8, "restaurant-18": 8})
    );
    let unknown = Notice {
        sites: BTreeMap::from([("restaurant-17".to_owned(), 7)]),
        ..digest
    };
    // More than there were when they were counted, and a site that was not.
    insta::assert_snapshot!(unknown.text(), @"MISSING 13 hosts since 10:02 UTC, 2 back by now: restaurant-17 (all 8), restaurant-18 (3), restaurant-19/pos-1, web-01");
}

#[test]
fn a_reminder_says_what_is_still_so_and_for_how_long() {
    let mut digest = of_sites();
    let reminder = |more, acknowledged| Some(Reminder { more, acknowledged });
    digest.reminder = reminder(40, 2);
    digest.at = at(AT_10 + 2 * 86_400_000);
    let About::Digest(members) = &mut digest.about else {
        unreachable!()
    };
    members[0].failing = true;
    members[12].failing = true;
    let mut shown = vec![
        digest.text(),
        digest.subject_line(),
        digest.sms(),
        digest.email(),
    ];
    if let About::Digest(members) = &mut digest.about {
        members.truncate(1);
    }
    digest.reminder = reminder(0, 0);
    digest.kind = Kind::Failing;
    shown.extend([
        digest.text(),
        digest.subject_line(),
        digest.json()["hosts"].to_string(),
    ]);
    insta::assert_snapshot!(shown.join("\n"), @r#"
    STILL MISSING OR FAILING 53 hosts, the first since 2026-01-31 10:02 UTC: restaurant-17 (all 8), restaurant-18 (3 of 8), restaurant-19/pos-1, web-01 and 40 more hosts (2 more acknowledged)
    [hb] STILL MISSING OR FAILING 53 hosts, the first since 2026-01-31 10:02 UTC (0W3GE1R70W)
    STILL MISSING OR FAILING 53 hosts (restaurant-17 all 8, restaurant-18 3 of 8 and 42 more hosts) since 2026-01-31 10:02 UTC. 0W3GE1R70W
    STILL MISSING OR FAILING 53 hosts, the first since 2026-01-31 10:02 UTC: restaurant-17 (all 8), restaurant-18 (3 of 8), restaurant-19/pos-1, web-01 and 40 more hosts (2 more acknowledged)

    fleet           main
    since           2026-01-31 10:02 UTC

      2026-01-31 10:02 UTC  restaurant-17 (all 8, 1 failing): pos-0, pos-1, pos-2, pos-3, pos-4, pos-5, pos-6, pos-7
      2026-01-31 10:02 UTC  restaurant-18 (3 of 8): pos-3, pos-4, pos-5
      2026-01-31 10:02 UTC  restaurant-19/pos-1
      2026-01-31 10:02 UTC  web-01  (failing)
      and 40 more hosts

    list            hb host list --status missing --status failing
    no reminders    hb host ack HOST
    notice          0W3GE1R70W

    STILL FAILING 1 host at 1 site since 2026-01-31 10:02 UTC: restaurant-17/pos-0
    [hb] STILL FAILING 1 host at 1 site since 2026-01-31 10:02 UTC (0W3GE1R70W)
    [{"failing":true,"hostId":"restaurant-17/pos-0","since":"2026-01-31T10:02:00Z"}]
    "#);
    assert_eq!(
        digest.json()["reminder"],
        serde_json::json!({"more": 0, "acknowledged": 0})
    );
}

#[test]
fn a_recovery_follows_the_message_in_which_people_read_of_the_trouble() {
    let mut entry = entry("main", "web-01", Signal::Ok, "");
    let trouble = notice(&entry).id;
    let digest = NoticeId::of_bytes([9; 32]);
    let mut follows = |accepted: Option<Acceptance>| {
        entry.pending = None;
        entry.history.last_mut().unwrap().accepted = accepted;
        let now = at(AT_10 + 1_080_000);
        let beat = Heartbeat::new(Beat::ok(now));
        let recovered = decide(&entry, &beat, now, &Rules::default()).unwrap();
        notice(&recovered).follows
    };
    let accepted = |digest| Acceptance {
        attempt: 2,
        at: at(AT_10),
        digest,
    };
    let sent = |id: &NoticeId| Sent {
        id: id.clone(),
        attempt: 2,
    };
    assert_eq!(follows(None), None);
    assert_eq!(follows(Some(accepted(None))), Some(sent(&trouble)));
    let in_digest = accepted(Some(digest.clone()));
    assert_eq!(follows(Some(in_digest)), Some(sent(&digest)));
}

#[test]
fn readers_see_their_time_zone_and_the_whole_command() {
    let mut missing = missing();
    missing.region = "eu-west-1".parse().unwrap();
    missing.reader = Reader {
        tz: "Europe/Berlin".parse().unwrap(),
        hb: "hb --stage prod".to_owned(),
    };
    let texts = [
        missing.text(),
        missing.subject_line(),
        missing.sms(),
        missing.email(),
    ];
    insta::assert_snapshot!(texts.join("\n\n"), @r"
    MISSING web-01: silent for 10 min, last beat 10:52 CET

    [hb] MISSING web-01 since 11:02 CET (Y1Z3VVJ390)

    MISSING web-01: silent for 10 min, last beat 10:52 CET. Y1Z3VVJ390

    MISSING web-01: silent for 10 min, last beat 10:52 CET

    host            web-01
    fleet           main
    since           2026-01-31 11:02 CET
    last beat       2026-01-31 10:52 CET
    interval        10 min
    region          eu-west-1

    look closer     hb --stage prod host show web-01
    no reminders    hb --stage prod host ack web-01
    gone for good?  hb --stage prod host forget web-01
    notice          Y1Z3VVJ390
    ");
    let of_another_day = Notice {
        at: at(AT_10 + 14 * 3_600_000),
        ..missing
    };
    insta::assert_snapshot!(of_another_day.text(), @"MISSING web-01: silent for 14 h 10 min, last beat 2026-01-31 10:52 CET");
}

#[test]
fn what_admins_say_of_a_host_stands_in_its_notices() {
    let mut entry = entry("main", "web-01", Signal::Fail, "disk full");
    entry.details.note = "Tel. 0123, ask for Kim".parse().ok();
    for tag in ["site=north", "rack=7"] {
        entry.details = entry.details.with(tag.parse().unwrap()).unwrap();
    }
    let notice = notice(&entry);
    insta::assert_snapshot!(notice.text(), @"FAILED web-01: disk full (09:52 UTC); note: Tel. 0123, ask for Kim");
    insta::assert_snapshot!(notice.email(), @r"
    FAILED web-01: disk full (09:52 UTC); note: Tel. 0123, ask for Kim

    host            web-01
    fleet           main
    since           2026-01-31 09:52 UTC
    last beat       2026-01-31 09:52 UTC
    interval        10 min
    note            Tel. 0123, ask for Kim
    tags            rack=7, site=north

    The host says:
      > disk full

    look closer     hb host show web-01
    no reminders    hb host ack web-01
    no notices      hb host pause web-01 --until 2h
    notice          74N70QQZ1B
    ");
    insta::assert_snapshot!(notice.json()["hosts"][0], @r#"{"epoch":1,"hostId":"web-01","intervalMs":600000,"lastBeat":"2026-01-31T09:52:00Z","message":"disk full","note":"Tel. 0123, ask for Kim","since":"2026-01-31T09:52:00Z","tags":{"rack":"7","site":"north"}}"#);
}

#[test]
fn a_digest_of_failing_hosts_says_why() {
    let mut digest = of_sites();
    digest.kind = Kind::Failing;
    let About::Digest(members) = &mut digest.about else {
        panic!("not a digest")
    };
    for (n, member) in members.iter_mut().enumerate() {
        member.reason = (n % 2 == 0).then(|| format!("exit {n}: Cannot write"));
    }
    insta::assert_snapshot!(digest.email(), @r"
    FAILED 13 hosts since 10:02 UTC: restaurant-17 (all 8), restaurant-18 (3 of 8), restaurant-19/pos-1, web-01

    fleet           main
    since           2026-01-31 10:02 UTC

      2026-01-31 10:02 UTC  restaurant-17 (all 8): pos-0, pos-1, pos-2, pos-3, pos-4, pos-5, pos-6, pos-7
        restaurant-17/pos-0: exit 0: Cannot write
        restaurant-17/pos-2: exit 2: Cannot write
        restaurant-17/pos-4: exit 4: Cannot write
      2026-01-31 10:02 UTC  restaurant-18 (3 of 8): pos-3, pos-4, pos-5
        restaurant-18/pos-3: exit 8: Cannot write
        restaurant-18/pos-5: exit 10: Cannot write
      2026-01-31 10:02 UTC  restaurant-19/pos-1
      2026-01-31 10:02 UTC  web-01: exit 12: Cannot write

    list            hb host list --status failing
    notice          0W3GE1R70W
    ");
    insta::assert_snapshot!(digest.json()["hosts"][0], @r#"{"hostId":"restaurant-17/pos-0","message":"exit 0: Cannot write","since":"2026-01-31T10:02:00Z"}"#);
}

#[test]
fn a_digest_says_at_how_many_sites_its_hosts_are_when_all_are_at_one() {
    let of = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        digest_of("main", &names, None, 1).subject_line()
    };
    insta::assert_snapshot!([of(&["a/1", "a/2"]), of(&["a/1", "b/1"]), of(&["a/1", "b"])].join("\n"), @r"
    [hb] MISSING 2 hosts at 1 site since 10:02 UTC (0W3GE1R70W)
    [hb] MISSING 2 hosts at 2 sites since 10:02 UTC (0W3GE1R70W)
    [hb] MISSING 2 hosts since 10:02 UTC (0W3GE1R70W)
    ");
}

#[test]
fn json_of_a_digest_lists_every_member() {
    insta::assert_snapshot!(format!("{:#}", digest("main", "web-", 2, None, 1).json()), @r#"
    {
      "at": "2026-01-31T10:02:21Z",
      "attempt": 1,
      "count": 2,
      "digest": true,
      "fleet": "main",
      "hosts": [
        {
          "hostId": "web-00",
          "since": "2026-01-31T10:02:00Z"
        },
        {
          "hostId": "web-01",
          "since": "2026-01-31T10:02:00Z"
        }
      ],
      "id": "0W3GE1R70W",
      "kind": "missing",
      "severity": "critical",
      "text": "MISSING 2 hosts since 10:02 UTC: web-00, web-01",
      "version": 1
    }
    "#);
}

#[test]
fn the_caveat_is_in_every_rendering() {
    let caveat = Caveat::RegionUnreachable("us-east-1".parse().unwrap());
    let mut entry = entry("main", "web-01", Signal::Ok, "");
    entry.history.last_mut().unwrap().caveat = Some(caveat);
    let notice = notice(&entry);
    insta::assert_snapshot!(format!("{}\n{}", notice.text(), notice.sms()), @r"
    MISSING web-01: silent for 10 min, last beat 09:52 UTC (region us-east-1 is unreachable)
    MISSING web-01: silent for 10 min, last beat 09:52 UTC (region us-east-1 is unreachable). Y1Z3VVJ390
    ");
    assert_eq!(
        notice.json()["caveat"],
        serde_json::json!({"regionUnreachable": "us-east-1"})
    );
}

#[test]
fn a_blackout_is_in_the_text_and_makes_the_notice_a_warning() {
    let blackout = Blackout {
        since: at(AT_10 - 3_600_000),
        until: at(AT_10 - 3_300_000),
    };
    let mut entry = entry("main", "web-01", Signal::Ok, "");
    entry.history.last_mut().unwrap().caveat = Some(Caveat::Blackout(blackout));
    let notice = notice(&entry);
    insta::assert_snapshot!(format!("{}\n{}\n{}", notice.text(), notice.sms(), notice.json()["caveat"]), @r#"
    MISSING web-01: silent for 10 min, last beat 09:52 UTC (the service could not receive beats from 09:02 UTC to 09:07 UTC; a beat may have been lost)
    MISSING web-01 since 10:02 UTC (the service could not receive beats from 09:02 UTC to 09:07 UTC; a beat may have been lost). Y1Z3VVJ390
    {"blackout":{"since":"2026-01-31T09:02:00Z","until":"2026-01-31T09:07:00Z"}}
    "#);
    assert_eq!(
        (notice.severity(), &notice.json()["severity"]),
        (Severity::Warning, &serde_json::json!("warning"))
    );
    let only = |severity| Filter {
        severities: vec![severity],
        ..Filter::default()
    };
    assert!(only(Severity::Warning).lets_through(&notice));
    assert!(!only(Severity::Critical).lets_through(&notice));
}

const POLICY: DeliveryPolicy = DeliveryPolicy {
    lease: Duration::ZERO,
    echo_wait: Duration::ZERO,
};

#[test]
fn the_id_depends_on_host_epoch_and_kind_alone() {
    let first = missing();
    let again = entry("main", "web-01", Signal::Ok, "")
        .leased(Uuid::nil(), at(AT_10 + 30_000), &POLICY)
        .unwrap();
    assert_eq!(notice(&again).id, first.id);
    assert_eq!(first.identity(), "main/web-01#1/missing");
    for other in [notice(&entry("lab", "web-01", Signal::Ok, "")), recovered()] {
        assert_ne!(other.id, first.id);
    }
}

#[test]
fn the_id_depends_on_the_incarnation_and_stays_at_every_attempt() {
    let life = |n| Incarnation {
        id: Uuid::from_u128(n),
    };
    let of = |n| entry("main", "web-01", Signal::Ok, "").of_incarnation(&life(n));
    let ids = [notice(&of(1)).id, notice(&of(2)).id, missing().id];
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    let leased = of(1).leased(Uuid::nil(), at(AT_10 + 30_000), &POLICY);
    assert_eq!(notice(&leased.unwrap()).id, ids[0]);
    assert_eq!(notice(&of(1)).identity(), missing().identity());
}

fn within_limits(notice: &Notice) -> Result<(), TestCaseError> {
    let plain = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
    prop_assert!(
        notice.subject_line().len() <= limits::SUBJECT_CHARS && plain(&notice.subject_line())
    );
    prop_assert!(notice.sms().len() <= limits::SMS_BYTES && plain(&notice.sms()));
    prop_assert!(
        notice.subject_line().contains(notice.id.as_str())
            && notice.sms().contains(notice.id.as_str())
    );
    prop_assert!(
        notice.text().chars().count() <= limits::TEXT_CHARS && !notice.text().contains('\n')
    );
    prop_assert!(!notice.email().chars().any(|c| c.is_control() && c != '\n'));
    prop_assert!(notice.json().to_string().len() <= limits::NOTICE_BYTES);
    Ok(())
}

proptest! {
    #[test]
    fn texts_respect_their_limits(
        fleet in "[a-z0-9-]{1,32}", host in "[A-Za-z0-9._:@/-]{1,200}", message in any::<String>(),
        fail: bool, attempts in 1..u32::MAX,
    ) {
        let mut entry = entry(&fleet, &host, if fail { Signal::Fail } else { Signal::Ok }, &message);
        entry.pending.as_mut().unwrap().attempt = attempts;
        let caveat = fail.then_some(Caveat::ReceiverDown);
        entry.history.last_mut().unwrap().caveat.clone_from(&caveat);
        within_limits(&notice(&entry))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn texts_of_a_digest_respect_their_limits(
        fleet in "[a-z0-9-]{1,32}", prefix in "[A-Za-z0-9._:@/-]{1,190}", count in 1..=limits::DIGEST_HOSTS,
        attempts in 1..u32::MAX, receiver_down: bool, back: bool, a_site in 1..50_usize,
        reminder in prop::option::of((0..1_000_000_usize, 0..1_000_000_usize)), failing: bool,
    ) {
        let names: Vec<_> = (0..count).map(|n| format!("{prefix}{}/{n}", n / a_site)).collect();
        let mut digest = digest_of(&fleet, &names, receiver_down.then_some(&Caveat::ReceiverDown), attempts);
        if let About::Digest(members) = &mut digest.about {
            for member in members {
                member.back = back;
                member.failing = failing;
            }
        }
        digest.reminder = reminder.map(|(more, acknowledged)| Reminder { more, acknowledged });
        within_limits(&digest)?;
    }
}
