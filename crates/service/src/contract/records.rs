use hb_domain::{
    Endpoint, Filter, Fleet, Key, KeyId, Kind, Protocol, Region, Scope, Secret, Subscription, SubscriptionId,
};

use super::{World, at};
use crate::manage::every_page;
use crate::ports::CompletedSweep;

fn key(n: u8) -> Key {
    Key {
        id: KeyId::from_random([n; 7]),
        name: "nightly bäckup".parse().unwrap(),
        hash: Secret::from_random([n; 32]).hash(),
        fleet: "lab".parse().unwrap(),
        scope: Scope::Read,
        host_prefixes: vec!["web-".parse().unwrap(), "db".parse().unwrap()],
        created: at(i64::from(n)),
        expires: n.is_multiple_of(2).then(|| at(100)),
        revoked: None,
    }
}

/// All of a key that can be compared.
fn shown(key: &Key) -> String {
    format!("{key:?}")
}

/// Keys come back whole, are taken once, and stay revoked as of the first time.
pub async fn keys_are_created_revoked_and_listed(world: World) {
    let keys: Vec<_> = (0..250).map(key).collect();
    for key in &keys {
        assert!(world.keys.create(key).await.unwrap());
    }
    assert!(!world.keys.create(&Key { name: "other".parse().unwrap(), ..key(3) }).await.unwrap());
    let read = world.keys.load(&key(3).id).await.unwrap().unwrap();
    assert_eq!(shown(&read), shown(&key(3)));
    assert!(read.hash.fits(&Secret::from_random([3; 32])));
    assert!(world.keys.load(&KeyId::from_random([255; 7])).await.unwrap().is_none());

    for (at_second, first) in [(50, 50), (60, 50)] {
        let revoked = world.keys.revoke(&key(3).id, at(at_second)).await.unwrap().unwrap();
        assert_eq!(shown(&revoked), shown(&Key { revoked: Some(at(first)), ..key(3) }));
    }
    assert!(world.keys.revoke(&KeyId::from_random([255; 7]), at(50)).await.unwrap().is_none());

    let (listed, _) = every_page(|after| world.keys.list(after)).await.unwrap();
    let mut ids: Vec<_> = keys.into_iter().map(|key| key.id).collect();
    ids.sort();
    assert_eq!(listed.into_iter().map(|key| key.id).collect::<Vec<_>>(), ids);
}

/// Subscriptions come back whole, in the order of their ids, until they are removed.
pub async fn subscriptions_are_added_listed_and_removed(world: World) {
    let subscription = |n: u8| Subscription {
        id: SubscriptionId::from_random([n; 5]),
        endpoint: Endpoint::parse(Protocol::Https, &format!("https://example.com/hook?n={n}")).unwrap(),
        filter: if n == 0 {
            Filter::default()
        } else {
            Filter { fleet: Some(Fleet::main()), kinds: vec![Kind::Missing, Kind::Recovered] }
        },
        created: at(i64::from(n)),
    };
    let mut expected: Vec<_> = (0..150).map(subscription).collect();
    for subscription in &expected {
        assert!(world.subscriptions.add(subscription).await.unwrap());
    }
    assert!(!world.subscriptions.add(&subscription(0)).await.unwrap());
    assert!(world.subscriptions.remove(&subscription(7).id).await.unwrap());
    assert!(!world.subscriptions.remove(&subscription(7).id).await.unwrap());
    expected.remove(7);
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    let (listed, _) = every_page(|after| world.subscriptions.list(after)).await.unwrap();
    assert_eq!(listed, expected);
}

/// Per region, the sweep that began last.
pub async fn the_last_completed_sweep_is_remembered(world: World) {
    let sweep = |seconds| CompletedSweep { began: at(seconds), ended: at(seconds + 1), hosts: 3 };
    let (here, there) = (Region::local(), "eu-west-1".parse().unwrap());
    assert_eq!(world.system.last_sweep(&here).await.unwrap(), None);
    for seconds in [10, 30, 20] {
        world.system.record_sweep(&here, &sweep(seconds)).await.unwrap();
    }
    assert_eq!(world.system.last_sweep(&here).await.unwrap(), Some(sweep(30)));
    assert_eq!(world.system.last_sweep(&there).await.unwrap(), None);
}
