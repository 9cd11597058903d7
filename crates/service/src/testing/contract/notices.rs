use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use hb_domain::{
    Beat, Digest, DigestStage, Heartbeat, HostId, Notice, NoticeId, Publication, Receiver, Region,
    Signal, Subject,
};
use uuid::Uuid;

use super::sweeps::sweep;
use super::{World, at, heard, host, missing};
use crate::ports::{Echo, Heard, Segment, Swap, every_page};

fn id(n: u8) -> NoticeId {
    NoticeId::of_bytes([n; 32])
}

/// Digests and receivers are stored like entries, but not among them.
pub async fn digests_and_receivers_are_swapped_like_entries(world: World) {
    let (digests, receivers) = (&*world.ports.digests, &*world.ports.receivers);
    let entry = missing("web-01");
    world
        .ports
        .ledger
        .swap(&entry, None, Uuid::from_u128(1))
        .await
        .unwrap();
    let digest = Digest::new(id(1), &[&entry], at(70)).unwrap();
    assert_eq!(digests.load(&digest.id).await.unwrap(), None);
    let Swap::Done(version) = digests
        .swap(&digest, None, Uuid::from_u128(2))
        .await
        .unwrap()
    else {
        panic!("there is none yet")
    };
    let Swap::Conflict(Some(stored)) = digests
        .swap(&digest, None, Uuid::from_u128(3))
        .await
        .unwrap()
    else {
        panic!("there is one")
    };
    assert_eq!(
        (&stored.record, stored.version, stored.writer),
        (&digest, version, Uuid::from_u128(2))
    );
    let (open, _) = every_page(|after| digests.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    let closed = Digest {
        stage: DigestStage::Closed,
        members: Vec::new(),
        ..digest
    };
    digests
        .swap(&closed, Some(version), Uuid::from_u128(4))
        .await
        .unwrap();
    let (open, _) = every_page(|after| digests.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(open, []);
    assert_eq!(
        digests.load(&closed.id).await.unwrap().unwrap().record,
        closed
    );

    let regions: [Region; 2] = ["eu-west-1", "us-east-1"].map(|name| name.parse().unwrap());
    for region in regions.clone() {
        let receiver = Receiver::new(region);
        receivers
            .swap(&receiver, None, Uuid::from_u128(5))
            .await
            .unwrap();
    }
    let (open, _) = every_page(|after| receivers.open(Segment::WHOLE, after))
        .await
        .unwrap();
    let known: BTreeSet<_> = open
        .into_iter()
        .map(|stored| stored.record.region)
        .collect();
    assert_eq!(known, BTreeSet::from(regions));
    let (entries, _) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(
        entries.len(),
        1,
        "the ledger lists neither digests nor receivers"
    );
}

/// All echoes that can be received now.
async fn echoes(world: &World) -> Vec<Echo> {
    let mut echoes = Vec::new();
    loop {
        let page = world.ports.echoes.receive(true).await.unwrap();
        assert_eq!(page.unreadable, []);
        let receipts: Vec<_> = page.items.iter().map(|echo| echo.receipt.clone()).collect();
        if receipts.is_empty() {
            return echoes;
        }
        world.ports.echoes.acknowledge(&receipts).await.unwrap();
        echoes.extend(page.items);
    }
}

/// Each accepted notice, of a host or a digest, has an echo until that is acknowledged.
pub async fn every_accepted_notice_has_an_echo(world: World) {
    let entry = missing("web-01");
    let single = Notice::of(&entry, &Region::local()).unwrap();
    let batched = entry.clone().batched(&id(7), at(70)).unwrap();
    let digest = Digest::new(id(7), &[&entry], at(70))
        .unwrap()
        .frozen(&[batched], at(70))
        .unwrap();
    let many = Notice::of_digest(&digest, &Region::local()).unwrap();
    assert_eq!(echoes(&world).await, []);
    for notice in [&single, &many] {
        assert_eq!(
            world.ports.topic.publish(notice).await,
            Publication::Accepted
        );
    }
    let heard: BTreeSet<_> = echoes(&world)
        .await
        .into_iter()
        .map(|echo| (echo.subject, echo.attempt))
        .collect();
    let expected = [
        (Subject::Host(host("web-01"), 1, single.id.clone()), 1),
        (Subject::Digest(id(7)), 1),
    ];
    assert_eq!(heard, BTreeSet::from(expected));
    assert_eq!(echoes(&world).await, [], "acknowledged");
}

/// Several hosts of a fleet are one message, and so is their recovery; one host is a message of its own.
pub async fn many_notices_are_delivered_in_digests(world: World) {
    let (sweep, clock) = sweep(&world);
    let beat = async |fleet: &str, i: u32, seconds| {
        let mut heard = heard(&format!("host-{i}"), "local", seconds, Signal::Ok);
        heard.key.fleet = fleet.parse().unwrap();
        world.ports.heartbeats.record(&heard).await.unwrap();
    };
    let all = || (0..11).map(|i| if i < 10 { ("main", i) } else { ("lab", i) });
    let steps = [
        (1, true, "registered"),
        (62, false, "missing"),
        (120, true, "recovered"),
    ];
    for (seconds, beats, what) in steps {
        if beats {
            stream::iter(all())
                .for_each(|(fleet, i)| beat(fleet, i, seconds))
                .await;
        }
        clock.set(at(seconds));
        let report = sweep.run().await.unwrap();
        let decided = report.decided.total();
        assert_eq!(
            (decided, report.batched, report.accepted),
            (11, 10, 2),
            "{what}: {report:?}"
        );
        clock.set(at(seconds + 1));
        let quiet = sweep.run().await.unwrap();
        assert_eq!((quiet.accepted, quiet.second_copies), (0, 0), "{quiet:?}");
    }
    let (open, _) = every_page(|after| world.ports.digests.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(open, []);
    let (open, _) = every_page(|after| world.ports.ledger.open(Segment::WHOLE, after))
        .await
        .unwrap();
    assert_eq!(open, []);
}

/// A notice that was accepted without the sender learning of it is not published again.
pub async fn an_echo_settles_a_publish_of_unknown_outcome(world: World) {
    let (sweep, clock) = sweep(&world);
    // Registered, and leased by a process that crashed after it published.
    let beat = Beat::ok(at(0));
    let name: HostId = "web-01".parse().unwrap();
    let key = host(name.as_str());
    let heard = Heard {
        key: key.clone(),
        region: Region::local(),
        heartbeat: Heartbeat::new(beat),
    };
    world.ports.heartbeats.record(&heard).await.unwrap();
    clock.set(at(1));
    let entry = hb_domain::decide(
        &hb_domain::Entry::new(key.clone()),
        &heard.heartbeat,
        at(1),
        &hb_domain::Rules::default(),
    );
    let policy = sweep.settings.delivery;
    let leased = entry
        .unwrap()
        .leased(Uuid::from_u128(1), at(1), &policy)
        .unwrap();
    world
        .ports
        .ledger
        .swap(&leased, None, Uuid::from_u128(2))
        .await
        .unwrap();
    let notice = Notice::of(&leased, &Region::local()).unwrap();
    assert_eq!(
        world.ports.topic.publish(&notice).await,
        Publication::Accepted
    );
    let report = sweep.run().await.unwrap();
    assert_eq!((report.echoed, report.accepted), (1, 0), "{report:?}");
    let stored = world.ports.ledger.load(&key).await.unwrap().unwrap().record;
    assert_eq!(stored.pending, None);
    assert_eq!(stored.history[0].accepted.as_ref().unwrap().attempt, 1);
}
