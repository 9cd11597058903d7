//! Reminders of what is still missing or failing.

use std::time::Duration;

use hb_domain::{
    Digest, Entry, Fleet, FleetRecord, FleetSettings, Kind, Notice, NoticeId, Publication, Signal,
};
use hb_service::SweepSettings;
use hb_service::ports::{Clock, Ledger, Segment};

use crate::races::change;
use crate::{Bench, host};

const DAY: u64 = 86_400;

impl Bench {
    /// Sweeps for so many seconds, as a machine that reminds people once a day. Returns the reminders.
    async fn reminders(&self, seconds: u64) -> Vec<Notice> {
        let before = self.memory.published().len();
        for _ in 0..seconds / 3_600 {
            self.pass(3_600);
            self.sweep_and_remind().await;
        }
        let sent = self.memory.published().split_off(before);
        sent.into_iter()
            .filter(|notice| notice.reminder.is_some())
            .collect()
    }

    async fn sweep_and_remind(&self) {
        let settings = SweepSettings {
            groups: FleetSettings {
                repeat_interval: None,
                ..FleetSettings::AT_ONCE
            },
            ..SweepSettings::local()
        };
        self.sweep().with_settings(settings).run().await.unwrap();
    }

    /// Hosts of which people know that they are missing since now, and one that is failing.
    async fn in_trouble(missing: &[&str]) -> Self {
        let bench = Self::new();
        let year = Duration::from_hours(24 * 365);
        bench.signal("failing", year, Signal::Ok).await;
        for name in missing {
            bench.beat(name).await;
        }
        bench.sweep_and_remind().await;
        bench.pass(1);
        bench.signal("failing", year, Signal::Fail).await;
        bench.sweep_and_remind().await;
        bench.pass(100);
        bench.sweep_and_remind().await;
        bench
    }
}

fn names(notice: &Notice) -> Vec<&str> {
    notice.host_ids().map(hb_domain::HostId::as_str).collect()
}

#[tokio::test]
async fn people_are_reminded_once_a_day_until_it_is_over() {
    let bench = Bench::in_trouble(&["a", "b"]).await;
    assert_eq!(bench.reminders(DAY - 3_600).await, []);
    let first = bench.reminders(3_600).await;
    assert_eq!(first.len(), 1);
    assert_eq!(names(&first[0]), ["failing", "a", "b"], "the longest first");
    assert_eq!(first[0].kind, Kind::Missing);
    assert_eq!(bench.reminders(DAY - 3_600).await, []);
    bench.beat_every("a", Duration::from_hours(1_000)).await;
    let second = bench.reminders(3_600).await;
    assert_eq!(
        second.iter().map(names).collect::<Vec<_>>(),
        [["failing", "b"]]
    );
    for name in ["b", "failing"] {
        bench.beat_every(name, Duration::from_hours(1_000)).await;
    }
    assert_eq!(bench.reminders(3 * DAY).await, []);
    let open = Ledger::<Digest>::open(&*bench.memory, Segment::WHOLE, None).await;
    assert_eq!(open.unwrap().items, [], "each reminder is closed");
}

#[tokio::test]
async fn what_is_acknowledged_or_paused_is_left_out_and_counted() {
    let bench = Bench::in_trouble(&["a", "b", "c"]).await;
    change(&bench.memory, &host("a"), |entry: Entry| {
        let now = entry.basis;
        entry.acknowledged(now, None)
    });
    change(&bench.memory, &host("b"), |entry: Entry| {
        let now = entry.basis;
        entry.paused(now, None).ok()
    });
    let sent = bench.reminders(DAY).await;
    assert_eq!(
        sent.iter().map(names).collect::<Vec<_>>(),
        [["failing", "c"]]
    );
    assert_eq!(sent[0].reminder.unwrap().acknowledged, 1);
}

#[tokio::test]
async fn a_fleet_may_have_none() {
    let bench = Bench::in_trouble(&["a"]).await;
    change(&bench.memory, &Fleet::main(), |mut record: FleetRecord| {
        record.settings.repeat_interval = Duration::ZERO.try_into().ok();
        Some(record)
    });
    assert_eq!(bench.reminders(2 * DAY).await, []);
}

/// A sweep ended after each step of a reminder: the next one goes on.
#[tokio::test]
async fn a_reminder_that_was_begun_is_sent_once() {
    let bench = Bench::in_trouble(&["a"]).await;
    bench.pass(DAY);
    let id = NoticeId::of_bytes([9; 32]);
    let begun = |record: FleetRecord| {
        Some(FleetRecord {
            reminded: Some(bench.clock.now()),
            reminder: Some(id.clone()),
            ..record
        })
    };
    change(&bench.memory, &Fleet::main(), begun);
    let sent = bench.reminders(3_600).await;
    assert_eq!(
        sent.iter().map(|notice| &notice.id).collect::<Vec<_>>(),
        [&id]
    );
    assert_eq!(fleet(&bench).await.reminder, None);
    // Its digest was there, and the record not yet without it.
    change(&bench.memory, &Fleet::main(), begun);
    assert_eq!(bench.reminders(3_600).await, []);
    assert_eq!(fleet(&bench).await.reminder, None);
}

/// The trouble of that time is over, and another one is new.
#[tokio::test]
async fn a_reminder_of_what_is_over_is_dropped() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep_and_remind().await;
    bench.pass(100);
    change(&bench.memory, &Fleet::main(), |record: FleetRecord| {
        Some(FleetRecord {
            reminder: Some(NoticeId::of_bytes([9; 32])),
            ..record
        })
    });
    assert!(fleet(&bench).await.reminder.is_some());
    assert_eq!(bench.reminders(7_200).await, []);
    assert_eq!(fleet(&bench).await.reminder, None);
}

#[tokio::test]
async fn a_reminder_that_the_topic_refuses_is_sent_later() {
    let bench = Bench::in_trouble(&["a"]).await;
    bench.pass(DAY);
    bench
        .memory
        .next_publications([Publication::Refused("no".to_owned())]);
    bench.sweep_and_remind().await;
    let sent = bench.reminders(3_600).await;
    assert_eq!(sent.len(), 1);
    assert_eq!(names(&sent[0]), ["failing", "a"]);
}

async fn fleet(bench: &Bench) -> FleetRecord {
    let stored = Ledger::<FleetRecord>::load(&*bench.memory, &Fleet::main()).await;
    stored.unwrap().unwrap().record
}
