//! What every [`DeliveryQueue`] must do, together with the topic and the subscriptions of its store. Its clock must
//! be one that `sleep` moves.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use hb_domain::{Digest, DigestStage, Filter, Kind, Protocol, SubscriptionId, Timestamp, limits};

use super::queue::{LEASE, ME, OTHER, dead, digest, name, notice, notice_id};
use super::{World, at, missing};
use crate::ports::{CONSOLE, Content, DeliveryOutcome, Tally};

/// Runs every case about deliveries, as `contract_suite!` runs the others.
#[macro_export]
macro_rules! delivery_contract {
    ($fresh:path) => {
        $crate::contract_suite!($fresh:
            an_accepted_notice_is_delivered_once_to_each_subscription_that_wants_it,
            a_lease_excludes_others_until_it_expires,
            a_lease_takes_as_many_as_wanted_and_none_that_is_running,
            a_lane_delivers_in_the_order_of_acceptance,
            a_digest_is_in_the_lanes_of_all_its_hosts,
            a_subscription_gets_of_a_digest_only_the_hosts_that_it_covers,
            a_retry_is_due_at_its_instant,
            a_delivery_that_a_wrong_clock_dated_is_due,
            a_delivery_counts_as_tried_only_when_it_was,
            a_try_of_a_wrong_clock_holds_nothing,
            a_success_makes_the_retries_of_its_subscription_due,
            a_dead_delivery_is_not_due_and_frees_its_lane,
            a_failure_without_the_lease_is_ignored_and_a_success_counts,
            a_removed_subscription_loses_its_open_deliveries,
            a_webhook_keeps_what_it_has_and_its_secrets_rotate,
            a_tally_says_since_when_deliveries_fail_and_when_the_last_was_given_up,
            only_old_settled_deliveries_are_cleaned,
            only_old_closed_digests_are_cleaned,
            a_delivery_that_yields_lets_those_behind_it_be_tried_once,
            a_later_notice_that_is_delivered_ends_the_earlier_one,
            a_digest_loses_the_hosts_that_a_later_notice_overtook,
            a_delivery_waits_until_all_before_it_yield,
            of_a_lane_one_delivery_is_sent_at_a_time,
            a_later_notice_may_pass_one_that_has_yielded_already,
            a_digest_that_is_too_large_is_sent_in_parts,
            a_digest_behind_one_that_yields_is_sent_in_parts_without_a_pause,
            a_part_is_repeated_whatever_the_receiver_took_meanwhile,
            a_lost_part_keeps_its_hosts_in_their_lanes,
            an_added_delivery_is_announced_once);
    };
}

pub async fn an_accepted_notice_is_delivered_once_to_each_subscription_that_wants_it(world: World) {
    let recovered = Filter {
        kinds: vec![Kind::Recovered],
        ..Filter::default()
    };
    world.subscribe("all", Filter::default()).await;
    world.subscribe("recovered", recovered).await;
    assert_eq!(world.due().await, []);
    let missing = notice("web", 1, Kind::Missing);
    world.publish(&[missing.clone(), missing.clone()]).await;
    world.subscribe("late", Filter::default()).await;
    world.publish(&[missing]).await;
    let due = ["all", CONSOLE].map(|id| id.parse().unwrap());
    assert_eq!(world.due().await, due);
    let leased = world.lease(ME, "all").await;
    let [leased] = &leased[..] else {
        panic!("{leased:?}")
    };
    let delivery = leased.delivery.as_ref().unwrap();
    assert_eq!(delivery.endpoint.address(), "https://example.com/all");
    assert_eq!((leased.failed, leased.tries.from), (0, world.now()));
    let console = world.lease(ME, CONSOLE).await;
    let endpoint = &console[0].delivery.as_ref().unwrap().endpoint;
    assert_eq!(endpoint.protocol(), Protocol::Console);
    assert_eq!(world.due().await, []);
}

pub async fn a_lease_excludes_others_until_it_expires(world: World) {
    world.publish(&[notice("web", 1, Kind::Missing)]).await;
    assert_eq!(world.lease_names(ME, CONSOLE).await, ["web missing"]);
    world
        .pass(LEASE.saturating_sub(Duration::from_millis(1)))
        .await;
    assert_eq!(world.lease_names(OTHER, CONSOLE).await, [""; 0]);
    world.pass(Duration::from_millis(1)).await;
    assert_eq!(world.due().await, [CONSOLE.parse().unwrap()]);
    assert_eq!(world.lease_names(OTHER, CONSOLE).await, ["web missing"]);
}

pub async fn a_lease_takes_as_many_as_wanted_and_none_that_is_running(world: World) {
    let notices = ["a", "b", "c"].map(|host| notice(host, 1, Kind::Missing));
    world.publish(&notices).await;
    let (queue, now) = (world.queue(), world.now());
    let wanted = BTreeMap::from([(CONSOLE.parse().unwrap(), 2)]);
    let first = queue.lease(wanted.clone(), Vec::new(), ME, now, now.plus(LEASE));
    let first = first.await.unwrap();
    assert_eq!(first.len(), 2);
    world.pass(LEASE).await;
    // Their own senders may still be storing the outcome.
    let running = first.iter().map(|leased| leased.number).collect();
    let now = world.now();
    let second = queue.lease(wanted, running, ME, now, now.plus(LEASE));
    let names: Vec<_> = second.await.unwrap().iter().map(name).collect();
    assert_eq!(names, ["c missing"]);
}

pub async fn a_lane_delivers_in_the_order_of_acceptance(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("a", 2, Kind::Recovered),
        notice("b", 1, Kind::Missing),
    ];
    world.publish(&notices).await;
    let first = world.lease(ME, "hook").await;
    let names: Vec<_> = first.iter().map(name).collect();
    assert_eq!(names, ["a missing", "b missing"]);
    world
        .settle(&first[0], ME, DeliveryOutcome::Delivered)
        .await;
    assert_eq!(world.lease_names(ME, "hook").await, ["a recovered"]);
    // The lanes of another subscription are its own.
    let console = world.lease_names(ME, CONSOLE).await;
    assert_eq!(console, ["a missing", "b missing"]);
}

pub async fn a_digest_is_in_the_lanes_of_all_its_hosts(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        digest("one", Kind::Recovered, &[("a", 2), ("b", 1)]),
        notice("b", 2, Kind::Missing),
        notice("c", 1, Kind::Missing),
    ];
    world.publish(&notices).await;
    let first = world.lease(ME, CONSOLE).await;
    let names: Vec<_> = first.iter().map(name).collect();
    assert_eq!(names, ["a missing", "c missing"], "b waits for the digest");
    world
        .settle(&first[1], ME, DeliveryOutcome::Delivered)
        .await;
    assert_eq!(world.lease_names(ME, CONSOLE).await, [""; 0]);
    world
        .settle(&first[0], ME, DeliveryOutcome::Delivered)
        .await;
    let second = world.lease(ME, CONSOLE).await;
    let names: Vec<_> = second.iter().map(name).collect();
    assert_eq!(names, ["a+b recovered"]);
    world
        .settle(&second[0], ME, DeliveryOutcome::Delivered)
        .await;
    assert_eq!(world.lease_names(ME, CONSOLE).await, ["b missing"]);
}

/// And so it does not wait for what another host has in its lane.
pub async fn a_subscription_gets_of_a_digest_only_the_hosts_that_it_covers(world: World) {
    let of_site = |site: &str| Filter {
        host_prefixes: vec![site.parse().unwrap()],
        ..Filter::default()
    };
    world.subscribe("one", of_site("one/")).await;
    world.subscribe("three", of_site("three/")).await;
    let digest = digest(
        "all",
        Kind::Missing,
        &[("a", 1), ("one/a", 1), ("one/b", 1), ("two/a", 1)],
    );
    world
        .publish(&[notice("two/a", 0, Kind::Failing), digest.clone()])
        .await;
    let leased = world.lease(ME, "one").await;
    let names: Vec<_> = leased.iter().map(name).collect();
    assert_eq!(names, ["one/a+one/b missing"]);
    let Content::Notice(notice) = &leased[0].delivery.as_ref().unwrap().content else {
        panic!("a notice was published")
    };
    assert_eq!(notice.id, digest.id, "it is still this one");
    world
        .settle(&leased[0], ME, DeliveryOutcome::Delivered)
        .await;
    assert_eq!(world.tally("one").await.delivered, 1);
    assert_eq!(world.due().await, [CONSOLE.parse().unwrap()]);
    assert_eq!(world.tally("three").await, Tally::default());
}

pub async fn a_retry_is_due_at_its_instant(world: World) {
    let accepted = world.now();
    world.publish(&[notice("web", 1, Kind::Missing)]).await;
    let pause = Duration::from_secs(4);
    let first = world.lease(ME, CONSOLE).await;
    world.settle(&first[0], ME, world.retry(pause)).await;
    let tally = world.tally(CONSOLE).await;
    assert_eq!(
        (tally.due, tally.last_error.as_deref()),
        (1, Some("refused"))
    );
    world
        .pass(pause.saturating_sub(Duration::from_millis(1)))
        .await;
    assert_eq!(
        (world.due().await, world.lease(ME, CONSOLE).await.len()),
        (vec![], 0)
    );
    world.pass(Duration::from_millis(1)).await;
    let again = world.lease(OTHER, CONSOLE).await;
    assert_eq!((again[0].failed, again[0].tries.from), (1, accepted));
    world
        .settle(&again[0], OTHER, DeliveryOutcome::Delivered)
        .await;
    let delivered = Tally {
        delivered: 1,
        ..Tally::default()
    };
    assert_eq!(world.tally(CONSOLE).await, delivered);
}

/// What is due later than any lease or pause is due at once, in one more lease.
pub async fn a_delivery_that_a_wrong_clock_dated_is_due(world: World) {
    let console: SubscriptionId = CONSOLE.parse().unwrap();
    world.pass(Duration::from_hours(24)).await;
    world.publish(&[notice("a", 1, Kind::Missing)]).await;
    let lease = async |now: Timestamp| {
        let wanted = [(console.clone(), 1)].into();
        let leased = world
            .queue()
            .lease(wanted, vec![], ME, now, now.plus(LEASE));
        leased.await.unwrap().len()
    };
    let back = |duration: Duration| world.now().minus(duration);
    let near = back(Duration::from_mins(5));
    assert_eq!(
        (world.queue().due(near).await.unwrap(), lease(near).await),
        (vec![], 0)
    );
    let far = back(Duration::from_hours(2));
    assert_eq!(
        world.queue().due(far).await.unwrap(),
        std::slice::from_ref(&console)
    );
    assert_eq!(
        (lease(far).await, lease(far).await),
        (1, 0),
        "the lease is of now"
    );
}

pub async fn a_delivery_counts_as_tried_only_when_it_was(world: World) {
    world.publish(&[notice("a", 1, Kind::Missing)]).await;
    let accepted = world.now();
    let from = async |now: Timestamp| {
        let wanted = [(CONSOLE.parse().unwrap(), 1)].into();
        let leased = world.queue().lease(wanted, vec![], ME, now, now);
        leased.await.unwrap()[0].tries.from
    };
    let days = |days: u64| Duration::from_hours(24) * u32::try_from(days).unwrap();
    let half = limits::DELIVERY_UNTRIED;
    assert_eq!(from(accepted.plus(half)).await, accepted);
    let late = accepted.plus(days(400));
    for _ in 0..2 {
        assert_eq!(from(late).await, late.minus(half));
    }
    let back = accepted.plus(days(2));
    assert_eq!(from(back).await, back, "it was of the future");
}

pub async fn a_try_of_a_wrong_clock_holds_nothing(world: World) {
    let kinds = [Kind::Missing, Kind::Recovered];
    let [first, second] =
        [(1, kinds[0]), (2, kinds[1])].map(|(epoch, kind)| notice("a", epoch, kind));
    world.publish(&[first, second]).await;
    let fails = async |now: Timestamp| {
        let wanted = [(CONSOLE.parse().unwrap(), 1)].into();
        let leased = world
            .queue()
            .lease(wanted, vec![], ME, now, now.plus(LEASE));
        let leased = leased.await.unwrap();
        let yields = DeliveryOutcome::Retry {
            due: now.plus(LEASE),
            refused: false,
            yields: true,
            error: "no".to_owned(),
        };
        let settled = world.queue().settle(&leased[0], ME, yields, now);
        settled.await.unwrap();
        name(&leased[0])
    };
    let wrong = world.now().plus(Duration::from_hours(2));
    for now in [wrong, world.now()] {
        assert_eq!(
            (fails(now).await.as_str(), fails(now).await.as_str()),
            ("a missing", "a recovered")
        );
    }
}

pub async fn a_success_makes_the_retries_of_its_subscription_due(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let notices = ["a", "b", "c"].map(|host| notice(host, 1, Kind::Missing));
    world.publish(&notices).await;
    let hook = world.lease(ME, "hook").await;
    let console = world.lease(ME, CONSOLE).await;
    let pause = Duration::from_mins(5);
    world.settle(&hook[0], ME, world.retry(pause)).await;
    world.settle(&console[0], ME, world.retry(pause)).await;
    assert_eq!(world.due().await, []);
    world.settle(&hook[1], ME, DeliveryOutcome::Delivered).await;
    // Neither what is leased nor the retry of another subscription.
    assert_eq!(world.lease_names(ME, "hook").await, ["a missing"]);
    assert_eq!(world.due().await, []);
}

pub async fn a_dead_delivery_is_not_due_and_frees_its_lane(world: World) {
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("a", 2, Kind::Recovered),
    ];
    world.publish(&notices).await;
    let first = world.lease(ME, CONSOLE).await;
    world.settle(&first[0], ME, dead()).await;
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.dead), (1, 1));
    assert_eq!(tally.last_error.as_deref(), Some("gone"));
    world.pass(LEASE).await;
    assert_eq!(world.lease_names(ME, CONSOLE).await, ["a recovered"]);
}

/// The first holder crashed or was too slow, and the lease went to another.
pub async fn a_failure_without_the_lease_is_ignored_and_a_success_counts(world: World) {
    world.publish(&[notice("web", 1, Kind::Missing)]).await;
    let first = world.lease(ME, CONSOLE).await;
    world.pass(LEASE).await;
    assert_eq!(world.lease(OTHER, CONSOLE).await.len(), 1);
    for outcome in [world.retry(Duration::ZERO), dead()] {
        world.settle(&first[0], ME, outcome).await;
        assert_eq!(world.due().await, [], "the other still holds the lease");
        let tally = world.tally(CONSOLE).await;
        assert_eq!((tally.due, tally.last_error), (1, None));
    }
    world
        .settle(&first[0], ME, DeliveryOutcome::Delivered)
        .await;
    // Settled is settled, whatever the other says.
    for outcome in [world.retry(Duration::ZERO), dead()] {
        world.settle(&first[0], OTHER, outcome).await;
        let tally = world.tally(CONSOLE).await;
        assert_eq!((tally.due, tally.delivered, tally.dead), (0, 1, 0));
    }
}

pub async fn a_removed_subscription_loses_its_open_deliveries(world: World) {
    world.subscribe("hook", Filter::default()).await;
    let notices = [
        notice("a", 1, Kind::Missing),
        notice("b", 1, Kind::Missing),
        notice("b", 2, Kind::Recovered),
    ];
    world.publish(&notices).await;
    let leased = world.lease(ME, "hook").await;
    world
        .settle(&leased[0], ME, DeliveryOutcome::Delivered)
        .await;
    let subscriptions = &world.ports.subscriptions;
    assert!(
        subscriptions
            .remove(&"hook".parse().unwrap())
            .await
            .unwrap()
    );
    let tally = world.tally("hook").await;
    assert_eq!((tally.due, tally.delivered), (0, 1));
    // Its send was under way.
    world
        .settle(&leased[1], ME, DeliveryOutcome::Delivered)
        .await;
    assert_eq!(world.tally("hook").await, tally);
    world.publish(&[notice("c", 1, Kind::Missing)]).await;
    assert_eq!(world.due().await, [CONSOLE.parse().unwrap()]);
    let console = CONSOLE.parse().unwrap();
    assert!(!subscriptions.remove(&console).await.unwrap());
    assert_eq!(world.tally(CONSOLE).await.due, 4);
}

pub async fn only_old_settled_deliveries_are_cleaned(world: World) {
    let notices = ["a", "b", "c"].map(|host| notice(host, 1, Kind::Missing));
    world.publish(&notices).await;
    let leased = world.lease(ME, CONSOLE).await;
    world
        .settle(&leased[0], ME, DeliveryOutcome::Delivered)
        .await;
    world.settle(&leased[1], ME, dead()).await;
    let accepted = world.now();
    assert!(!world.queue().clean(accepted).await.unwrap());
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (1, 1, 1));
    let after = accepted.plus(Duration::from_millis(1));
    assert!(!world.queue().clean(after).await.unwrap());
    let tally = world.tally(CONSOLE).await;
    assert_eq!((tally.due, tally.delivered, tally.dead), (1, 0, 0));
}

pub async fn only_old_closed_digests_are_cleaned(world: World) {
    let digests = &*world.ports.digests;
    let after = at(0).plus(Duration::from_millis(1));
    let stages = [
        ("open", DigestStage::Open, at(0), true),
        ("new", DigestStage::Closed, after, true),
        ("old", DigestStage::Closed, at(0), false),
    ];
    for (name, stage, created, _) in stages {
        let open = Digest::new(notice_id(name, 0), &[&missing(name)], created).unwrap();
        let digest = Digest { stage, ..open };
        digests.swap(&digest, None, ME).await.unwrap();
    }
    assert!(!world.queue().clean(after).await.unwrap());
    for (name, _, _, kept) in stages {
        let stored = digests.load(&notice_id(name, 0)).await.unwrap();
        assert_eq!(stored.is_some(), kept, "{name}");
    }
}

pub async fn an_added_delivery_is_announced_once(world: World) {
    assert!(world.queue().added().now_or_never().is_none());
    world.publish(&[notice("web", 1, Kind::Missing)]).await;
    assert!(world.queue().added().now_or_never().is_some());
    assert!(world.queue().added().now_or_never().is_none());
}
