//! Deliveries that fail for long: later ones pass, and a digest that is too large goes in parts.

use std::time::Duration;

use hb_domain::{Filter, Kind, NoticeId};

use super::World;
use super::queue::{LEASE, ME, OTHER, dead, digest, name, notice};
use crate::ports::{CONSOLE, Content, DeliveryOutcome, LeasedDelivery};

const PAUSE: Duration = Duration::from_mins(5);

impl World {
    /// Leases the only delivery of the console that is due, and fails it: it yields, and may be tried after `pause`.
    async fn fail_yielding(&self, pause: Duration) -> String {
        let leased = self.lease(ME, CONSOLE).await;
        let [only] = &leased[..] else {
            panic!("one is due: {leased:?}")
        };
        self.settle(only, ME, self.yielding(pause)).await;
        name(only)
    }

    fn yielding(&self, pause: Duration) -> DeliveryOutcome {
        DeliveryOutcome::Retry {
            due: self.now().plus(pause),
            refused: false,
            yields: true,
            error: "refused".to_owned(),
        }
    }

    /// Leases one, which is delivered. Returns its name and what it overtook.
    async fn deliver(&self) -> (String, Vec<String>) {
        let leased = self.lease(ME, CONSOLE).await;
        let overtaken = self
            .settle(&leased[0], ME, DeliveryOutcome::Delivered)
            .await;
        (name(&leased[0]), overtaken)
    }
}

fn split() -> DeliveryOutcome {
    DeliveryOutcome::Split {
        error: "too large".to_owned(),
    }
}

fn id(leased: &LeasedDelivery) -> NoticeId {
    match &leased.delivery.as_ref().unwrap().content {
        Content::Notice(notice) => notice.id.clone(),
        Content::Confirmation(_) => panic!("a notice"),
    }
}

pub async fn a_delivery_that_yields_lets_those_behind_it_be_tried_once(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("a", 2, Kind::Recovered),
    ];
    world.publish(&notices).await;
    let first = world.lease(ME, CONSOLE).await;
    world.settle(&first[0], ME, world.retry(PAUSE)).await;
    assert_eq!(
        world.lease_names(ME, CONSOLE).await,
        [""; 0],
        "it does not yield yet"
    );
    for _ in 0..2 {
        world.pass(PAUSE).await;
        assert_eq!(world.fail_yielding(PAUSE).await, "a missing");
        world.pass(Duration::from_secs(1)).await;
        let recovered = world.fail_yielding(Duration::ZERO).await;
        assert_eq!(recovered, "a recovered");
        // Not again before the first one was tried again, which goes first when the endpoint works.
        world
            .pass(PAUSE.saturating_sub(Duration::from_millis(1_001)))
            .await;
        assert_eq!(world.lease_names(ME, CONSOLE).await, [""; 0]);
        world.pass(Duration::from_millis(1)).await;
    }
    assert_eq!(world.deliver().await, ("a missing".to_owned(), vec![]));
    assert_eq!(world.deliver().await, ("a recovered".to_owned(), vec![]));
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (0, 2, 0));
}

pub async fn a_later_notice_that_is_delivered_ends_the_earlier_one(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("a", 2, Kind::Recovered),
        notice("a", 3, Kind::Missing),
    ];
    world.publish(&notices).await;
    world.fail_yielding(PAUSE).await;
    let overtaken = vec!["main/a#1/missing".to_owned()];
    assert_eq!(world.deliver().await, ("a recovered".to_owned(), overtaken));
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (1, 1, 1));
    let error = tally.last_error.unwrap();
    assert_eq!(error, "a later notice was delivered first; before: refused");
    assert_eq!(world.deliver().await.0, "a missing");
    world.pass(PAUSE).await;
    assert_eq!(world.due().await, [], "it is not delivered late");
}

pub async fn a_digest_loses_the_hosts_that_a_later_notice_overtook(world: World) {
    let notices = [
        digest("one", Kind::Missing, &[("a", 1), ("b", 1)]),
        notice("a", 2, Kind::Recovered),
        notice("b", 2, Kind::Recovered),
    ];
    world.publish(&notices).await;
    let whole = world.lease(ME, CONSOLE).await;
    world.settle(&whole[0], ME, world.yielding(PAUSE)).await;
    let leased = world.lease(ME, CONSOLE).await;
    let names: Vec<_> = leased.iter().map(name).collect();
    assert_eq!(names, ["a recovered", "b recovered"]);
    world
        .settle(&leased[0], ME, DeliveryOutcome::Delivered)
        .await;
    world.settle(&leased[1], ME, world.yielding(PAUSE)).await;
    world.pass(PAUSE).await;
    let rest = world.lease(ME, CONSOLE).await;
    assert_eq!(rest.iter().map(name).collect::<Vec<_>>(), ["b missing"]);
    assert_eq!(
        id(&rest[0]),
        id(&whole[0]),
        "the receiver may have taken it"
    );
    world.settle(&rest[0], ME, world.yielding(PAUSE)).await;
    world.pass(PAUSE).await;
    world
        .settle(&leased[1], ME, DeliveryOutcome::Delivered)
        .await;
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (0, 2, 1));
}

pub async fn a_delivery_waits_until_all_before_it_yield(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("b", 1, Kind::Missing),
        digest("one", Kind::Recovered, &[("a", 2), ("b", 2)]),
    ];
    world.publish(&notices).await;
    let both = world.lease(ME, CONSOLE).await;
    world.settle(&both[0], ME, world.yielding(PAUSE)).await;
    world.settle(&both[1], ME, world.retry(PAUSE)).await;
    assert_eq!(world.lease_names(ME, CONSOLE).await, [""; 0]);
    world.pass(PAUSE).await;
    let both = world.lease(ME, CONSOLE).await;
    world.settle(&both[1], ME, world.yielding(PAUSE)).await;
    assert_eq!(
        world.lease_names(ME, CONSOLE).await,
        [""; 0],
        "the first is being sent"
    );
    world.settle(&both[0], ME, world.yielding(PAUSE)).await;
    let (name, overtaken) = world.deliver().await;
    assert_eq!((name.as_str(), overtaken.len()), ("a+b recovered", 2));
}

pub async fn of_a_lane_one_delivery_is_sent_at_a_time(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("a", 2, Kind::Recovered),
        notice("b", 1, Kind::Missing),
    ];
    world.publish(&notices).await;
    let both = world.lease(ME, CONSOLE).await;
    world.settle(&both[0], ME, world.yielding(PAUSE)).await;
    let second = world.lease(ME, CONSOLE).await;
    assert_eq!(name(&second[0]), "a recovered");
    // A success makes the first one due while the second is being sent: it must not arrive after that.
    world.settle(&both[1], ME, DeliveryOutcome::Delivered).await;
    assert_eq!(world.lease_names(OTHER, CONSOLE).await, [""; 0]);
    world.pass(LEASE).await;
    assert_eq!(
        world.lease_names(OTHER, CONSOLE).await,
        ["a missing"],
        "the first that is due"
    );
}

pub async fn a_later_notice_may_pass_one_that_has_yielded_already(world: World) {
    world.publish(&[notice("a", 1, Kind::Missing)]).await;
    world.fail_yielding(PAUSE).await;
    world.pass(Duration::from_secs(1)).await;
    world.publish(&[notice("a", 2, Kind::Recovered)]).await;
    let (name, overtaken) = world.deliver().await;
    assert_eq!((name.as_str(), overtaken.len()), ("a recovered", 1));
}

pub async fn a_digest_that_is_too_large_is_sent_in_parts(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let five = ["a", "b", "c", "d", "e"].map(|host| (host, 1));
    world.publish(&[digest("one", Kind::Missing, &five)]).await;
    world.publish(&[notice("b", 2, Kind::Recovered)]).await;
    world.publish(&[notice("e", 2, Kind::Recovered)]).await;
    let mut ids = Vec::new();
    for (expected, outcome) in [
        ("a+b+c+d+e missing", split()),
        ("a+b+c missing", split()),
        ("a+b missing", DeliveryOutcome::Delivered),
        ("c+d missing", DeliveryOutcome::Delivered),
        ("e missing", DeliveryOutcome::Delivered),
    ] {
        let leased = world.lease(ME, "hook").await;
        // What waited for hosts of a part that was delivered is due as well.
        let part = leased
            .iter()
            .find(|leased| name(leased).ends_with("missing"))
            .unwrap();
        assert_eq!(name(part), expected);
        assert_eq!((part.failed, part.tries.failing), (0, None));
        ids.push(id(part));
        world.settle(part, ME, outcome).await;
        for other in leased.iter().filter(|other| other.number != part.number) {
            assert_eq!(name(other), "b recovered");
            world.settle(other, ME, DeliveryOutcome::Delivered).await;
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 5, "each part is a notice of its own");
    assert_eq!(world.lease_names(ME, "hook").await, ["e recovered"]);
    let tally = world.tally("hook").await;
    assert_eq!(
        (tally.delivered, tally.dead, tally.last_error),
        (2, 0, None)
    );
    // The next digest begins with the size that it took, to this subscription.
    let next = digest("two", Kind::Missing, &[("f", 1), ("g", 1), ("h", 1)]);
    world.publish(&[next]).await;
    assert_eq!(world.lease_names(ME, "hook").await, ["f+g missing"]);
    let console = world.lease_names(ME, CONSOLE).await;
    assert!(console.contains(&"f+g+h missing".to_owned()), "{console:?}");
}

pub async fn a_digest_behind_one_that_yields_is_sent_in_parts_without_a_pause(world: World) {
    let three = ["a", "b", "c"].map(|host| (host, 2));
    let notices = [
        notice("b", 1, Kind::Missing),
        digest("one", Kind::Recovered, &three),
    ];
    world.publish(&notices).await;
    world.fail_yielding(PAUSE).await;
    for (expected, outcome) in [
        ("a+b+c recovered", split()),
        ("a+b recovered", DeliveryOutcome::Delivered),
        ("c recovered", world.yielding(Duration::ZERO)),
    ] {
        world.pass(Duration::from_secs(1)).await;
        let leased = world.lease(ME, CONSOLE).await;
        let names: Vec<_> = leased.iter().map(name).collect();
        assert_eq!(names, [expected]);
        world.settle(&leased[0], ME, outcome).await;
    }
    assert_eq!(world.deliver().await.0, "c recovered");
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (0, 1, 1));
}

pub async fn a_part_is_repeated_whatever_the_receiver_took_meanwhile(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let first = digest("one", Kind::Missing, &[("a", 1), ("b", 1), ("c", 1)]);
    let second = digest("two", Kind::Missing, &[("d", 1), ("e", 1), ("f", 1)]);
    world.publish(&[first, second]).await;
    let both = world.lease(ME, "hook").await;
    // No answer to the first: the receiver may have taken it. The second is delivered in parts.
    world
        .settle(&both[0], ME, world.retry(Duration::ZERO))
        .await;
    world.settle(&both[1], ME, split()).await;
    let part = world.lease(ME, "hook").await;
    assert_eq!(name(&part[1]), "d+e missing");
    world.settle(&part[1], ME, DeliveryOutcome::Delivered).await;
    world
        .settle(&part[0], ME, world.retry(Duration::ZERO))
        .await;
    let again = world.lease(ME, "hook").await;
    let again = again
        .iter()
        .find(|leased| leased.number == both[0].number)
        .unwrap();
    assert_eq!((name(again), id(again)), (name(&both[0]), id(&both[0])));
}

pub async fn a_lost_part_keeps_its_hosts_in_their_lanes(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let hosts = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
    world.publish(&[digest("one", Kind::Missing, &hosts)]).await;
    world.publish(&[notice("a", 2, Kind::Recovered)]).await;
    let whole = world.lease(ME, "hook").await;
    world.settle(&whole[0], ME, split()).await;
    let part = world.lease(ME, "hook").await;
    assert_eq!(name(&part[0]), "a+b missing");
    // The process dies; another one sends the same part, and then both report success.
    world.pass(LEASE).await;
    let again = world.lease(OTHER, "hook").await;
    assert_eq!(
        (name(&again[0]), id(&again[0])),
        (name(&part[0]), id(&part[0]))
    );
    world
        .settle(&again[0], OTHER, DeliveryOutcome::Delivered)
        .await;
    world.settle(&part[0], ME, DeliveryOutcome::Delivered).await;
    let rest = world.lease(ME, "hook").await;
    let names: Vec<_> = rest.iter().map(name).collect();
    assert_eq!(names, ["c+d missing", "a recovered"]);
    // Given up, the rest frees its lanes.
    world.settle(&rest[0], ME, dead()).await;
    world.publish(&[notice("c", 2, Kind::Recovered)]).await;
    assert_eq!(world.lease_names(ME, "hook").await, ["c recovered"]);
}
