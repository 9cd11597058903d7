//! A receiver record that cannot be read: it is reported, and no silence is judged without it.

use hb_domain::{Caveat, Entry, Kind, Receiver, Region, Signal};
use hb_service::admin::HostAdmin;
use hb_service::doctor::{Doctor, Expectations, Verdict};
use hb_service::ports::{Clock, Ledger};
use hb_service::testing::memory::auditor;
use std::time::Duration;

use crate::coverage::MARK;
use crate::races::{change, entry};
use crate::{Bench, host};

const OTHER: &str = "us-east-1";

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// Stores the receiver of a region, which just received a canary, and makes its record unreadable.
async fn spoil_receiver(bench: &Bench, region: &Region) {
    let receiver =
        Receiver::new(region.clone()).with_canary(bench.clock.now(), Duration::from_secs(7));
    bench
        .memory
        .swap(&receiver, None, uuid::Uuid::nil())
        .await
        .unwrap();
    bench.memory.spoil_record::<Receiver>(region);
}

#[tokio::test]
async fn an_unreadable_receiver_record_is_reported_and_holds_silent_hosts_for_15_minutes() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.beat(name).await;
    }
    bench.sweep().run().await.unwrap();
    bench.pass(130);
    for name in ["a", "b"] {
        bench.beat(name).await;
    }
    spoil_receiver(&bench, &Region::local()).await;
    bench.sweep().run().await.unwrap();
    // The server was down for an hour. The blackout is in the record that cannot be read.
    bench.pass(3_600);
    bench
        .signal("b", Duration::from_mins(1), Signal::Fail)
        .await;
    let report = bench.sweep().run().await.unwrap();
    assert_eq!((report.decided[Kind::Missing], report.held), (0, 1));
    assert_eq!(
        report.decided[Kind::Failing],
        2,
        "of b, and of the receiver"
    );
    assert_eq!(report.unreadable, 1);
    assert!(
        report.troubles[0].contains("table receivers") && report.troubles[0].contains("local"),
        "{:?}",
        report.troubles
    );
    bench.pass(15 * 60 - 1);
    let report = bench.sweep().run().await.unwrap();
    assert_eq!((report.decided[Kind::Missing], report.held), (0, 2));
    bench.pass(1);
    let report = bench.sweep().run().await.unwrap();
    assert_eq!(
        (report.decided[Kind::Missing], report.unreadable),
        (2, 1),
        "a hold ends after its time although it cannot be recorded"
    );
    assert!(bench.last(Kind::Missing).text().ends_with(MARK));
}

#[tokio::test]
async fn silence_carries_a_caveat_while_the_receiver_record_of_another_region_is_unreadable() {
    for canaries_arrive in [false, true] {
        let bench = Bench::new();
        bench.beat("a").await;
        bench.sweep().run().await.unwrap();
        spoil_receiver(&bench, &region(OTHER)).await;
        bench.pass(61);
        if canaries_arrive {
            for n in 0..hb_domain::limits::CANARIES {
                let canary = hb_domain::HostId::canary(n).to_string();
                bench
                    .signal_in(region(OTHER), &canary, Duration::from_mins(1), Signal::Ok)
                    .await;
            }
        }
        let report = bench.sweep().run().await.unwrap();
        assert_eq!((report.decided[Kind::Missing], report.unreadable), (1, 1));
        let entry = bench.memory.load(&host("a")).await.unwrap().unwrap();
        let entry: Entry = entry.record;
        let last = entry.history.last().unwrap();
        assert_eq!(
            (last.kind, &last.caveat),
            (
                Kind::Missing,
                &Some(Caveat::RegionUnreachable(region(OTHER)))
            )
        );
    }
}

#[tokio::test]
async fn a_region_with_an_unreadable_receiver_record_is_still_waited_for() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    spoil_receiver(&bench, &region(OTHER)).await;
    for n in 0..hb_domain::limits::CANARIES {
        let canary = hb_domain::HostId::canary(n).to_string();
        bench
            .signal_in(region(OTHER), &canary, Duration::from_mins(1), Signal::Ok)
            .await;
    }
    bench.pass(61);
    assert_eq!(
        bench.sweep().run().await.unwrap().decided[Kind::Missing],
        0,
        "its beat may be under way, as a canary is"
    );
}

#[tokio::test]
async fn admins_see_that_a_receiver_record_is_unreadable() {
    let bench = Bench::new();
    bench.beat("a").await;
    spoil_receiver(&bench, &Region::local()).await;
    let doctor = Doctor {
        ports: bench.ports(),
        expectations: Expectations::local(),
    };
    let admin = HostAdmin {
        ports: bench.ports(),
        region: Region::local(),
        auditor: auditor(&bench.ports()),
    };
    let listing = admin.listing(None).await.unwrap();
    let shown = admin.show(&host("a")).await.unwrap();
    for unreadable in [listing.unreadable_receivers(), &shown.unreadable_receivers] {
        assert_eq!(unreadable.len(), 1);
        assert_eq!(unreadable[0].key, "local");
    }
    let findings = doctor.examine(bench.clock.now()).await;
    let finding = findings
        .iter()
        .find(|finding| finding.thing == "receivers")
        .unwrap();
    assert_eq!(finding.verdict, Verdict::Problem);
    assert!(finding.cause.contains("local"), "{finding:?}");
    assert!(
        !findings.iter().any(|finding| finding.thing == "canaries"),
        "nothing is known of them: {findings:?}"
    );
}

#[tokio::test]
async fn a_new_region_relies_on_no_sweep_of_a_region_whose_record_is_unreadable() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.pass(600);
    bench.beat("a").await;
    spoil_receiver(&bench, &Region::local()).await;
    let mut new = bench.sweep();
    new.settings.region = region("us-east-1");
    let report = new.run().await.unwrap();
    assert_eq!(report.decided[Kind::Registered], 1, "{report:?}");
}

#[tokio::test]
async fn a_recheck_waits_for_a_region_whose_record_is_unreadable() {
    let bench = Bench::new();
    bench.beat("a").await;
    bench.sweep().run().await.unwrap();
    change(&bench.memory, &host("a"), |entry: Entry| {
        Some(Entry {
            needs_recheck: true,
            ..entry
        })
    });
    spoil_receiver(&bench, &region(OTHER)).await;
    bench.sweep().run().await.unwrap();
    let rechecked = entry(&bench, "a").await;
    assert!(rechecked.needs_recheck, "it may have received a failure");
    assert_eq!(rechecked.rechecked_in, [Region::local()].into());
}
