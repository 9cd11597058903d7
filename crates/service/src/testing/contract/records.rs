use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Fleet, Interval, Key, KeyId, KeyLimits, Kind, Protocol,
    Region, Scope, Secret, Severity, Signal, Subscription, SubscriptionId, SubscriptionState,
    Timestamp, Token, Webhook,
};

use super::{World, at, heard, host};
use crate::ports::{Checkpoint, CompletedSweep, Position, every_page};

/// In seconds.
const DAY: i64 = 86_400;

/// The key of a token, without any limit: of all hosts of the fleet `main`.
#[must_use]
pub fn key_of(token: &Token) -> Key {
    Key {
        id: *token.id(),
        name: "test".parse().unwrap(),
        hash: token.secret().hash(),
        fleet: Fleet::main(),
        scope: Scope::Ingest,
        host_prefixes: Vec::new(),
        created: Timestamp::MIN,
        expires: None,
        revoked: None,
        used: None,
        limits: KeyLimits::default(),
        hosts: 0,
    }
}

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
        used: None,
        limits: KeyLimits::default(),
        hosts: 0,
    }
}

/// A key in a form that can be compared.
fn shown(key: &Key) -> String {
    format!("{key:?}")
}

/// Keys are read back whole, each id is taken once, and a revoked key keeps its first revocation.
pub async fn keys_are_created_revoked_and_listed(world: World) {
    let store = &world.ports.keys;
    let keys: Vec<_> = (0..250).map(key).collect();
    for key in &keys {
        assert!(store.create(key).await.unwrap());
    }
    let renamed = Key {
        name: "other".parse().unwrap(),
        ..key(3)
    };
    assert!(!store.create(&renamed).await.unwrap());
    let moved = Key {
        fleet: Fleet::main(),
        host_prefixes: Vec::new(),
        ..key(3)
    };
    assert!(
        !store.create(&moved).await.unwrap(),
        "an id is not reused for a key with more rights"
    );
    let read = store.load(&key(3).id).await.unwrap().unwrap();
    assert_eq!(shown(&read), shown(&key(3)));
    assert!(read.hash.fits(&Secret::from_random([3; 32])));
    let unknown = KeyId::from_random([255; 7]);
    assert!(store.load(&unknown).await.unwrap().is_none());

    for (at_second, first) in [(50, 50), (60, 50)] {
        let revoked = store.revoke(&key(3).id, at(at_second)).await.unwrap();
        let expected = Key {
            revoked: Some(at(first)),
            ..key(3)
        };
        assert_eq!(shown(&revoked.unwrap()), shown(&expected));
    }
    assert!(store.revoke(&unknown, at(50)).await.unwrap().is_none());

    let (listed, _) = every_page(|after| store.list(after)).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|key| key.id).collect();
    let mut ids: Vec<_> = keys.into_iter().map(|key| key.id).collect();
    ids.sort();
    assert_eq!(listed, ids);
}

/// A key keeps the earliest expiry and the last day of its use.
pub async fn keys_keep_the_earliest_expiry_and_the_last_day_of_use(world: World) {
    let id = key(1).id;
    assert!(world.ports.keys.create(&key(1)).await.unwrap());
    for (requested, expires) in [(60, 60), (90, 60), (30, 30)] {
        let expired = world
            .ports
            .keys
            .expire(&id, at(requested))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(expired.expires, Some(at(expires)));
    }
    let unknown = KeyId::from_random([255; 7]);
    assert!(
        world
            .ports
            .keys
            .expire(&unknown, at(1))
            .await
            .unwrap()
            .is_none()
    );
    world.ports.keys.note_use(&unknown, at(1)).await.unwrap();
    assert!(
        world.ports.keys.load(&unknown).await.unwrap().is_none(),
        "recording a use creates no key"
    );
    for (used, noted) in [(10, 10), (2 * DAY, 2 * DAY), (DAY, 2 * DAY)] {
        world.ports.keys.note_use(&id, at(used)).await.unwrap();
        let read: Option<Timestamp> = world.ports.keys.load(&id).await.unwrap().unwrap().used;
        assert_eq!(read, Some(at(noted).day()));
    }
}

/// Subscriptions are read back whole, in the order of their ids, until they are removed.
pub async fn subscriptions_are_added_listed_and_removed(world: World) {
    let subscription = |n: u8| Subscription {
        id: SubscriptionId::from_random([n; 5]),
        endpoint: Endpoint::parse(Protocol::Https, &format!("https://example.com/hook?n={n}"))
            .unwrap(),
        filter: if n == 0 {
            Filter::default()
        } else {
            Filter {
                fleet: Some(Fleet::main()),
                kinds: vec![Kind::Missing, Kind::Recovered],
                severities: vec![Severity::Critical],
                host_prefixes: vec!["restaurant-17/".parse().unwrap()],
            }
        },
        webhook: Webhook::default(),
        created: at(i64::from(n)),
    };
    let token = ConfirmationToken::from_random([7; 20]);
    let mut expected: Vec<_> = (0..150).map(subscription).collect();
    for subscription in &expected {
        assert!(
            world
                .ports
                .subscriptions
                .add(subscription, &token)
                .await
                .unwrap()
        );
    }
    assert!(
        !world
            .ports
            .subscriptions
            .add(&subscription(0), &token)
            .await
            .unwrap()
    );
    assert!(
        world
            .ports
            .subscriptions
            .remove(&subscription(7).id)
            .await
            .unwrap()
    );
    assert!(
        !world
            .ports
            .subscriptions
            .remove(&subscription(7).id)
            .await
            .unwrap()
    );
    expected.remove(7);
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    let (listed, _) = every_page(|after| world.ports.subscriptions.list(after))
        .await
        .unwrap();
    assert_eq!(listed, expected);
    let states = world.ports.subscriptions.states().await.unwrap();
    assert!(
        expected
            .iter()
            .all(|known| states.get(&known.id) == Some(&SubscriptionState::Confirmed))
    );
}

/// The checkpoint of the last round is kept, unless a wrong clock recorded it.
pub async fn the_last_checkpoint_is_recorded(world: World) {
    let checkpoint = |seconds| Checkpoint {
        began: at(seconds),
        positions: vec![Position::Start, Position::End],
    };
    let (system, region) = (&world.ports.system, Region::local());
    assert_eq!(system.checkpoint(&region).await.unwrap(), None);
    // At 31, one of 91 is kept, but one of 92 is replaced.
    for (now, began, kept) in [
        (30, 30, 30),
        (31, 20, 30),
        (31, 91, 91),
        (31, 30, 91),
        (99, 92, 92),
        (31, 30, 30),
    ] {
        let began = checkpoint(began);
        let saved = system.record_checkpoint(&region, &began, at(now));
        saved.await.unwrap();
        assert_eq!(
            system.checkpoint(&region).await.unwrap(),
            Some(checkpoint(kept))
        );
    }
}

/// The sweep that began last is kept, for each region, unless a wrong clock recorded it.
pub async fn the_last_completed_sweep_is_recorded(world: World) {
    let sweep = |seconds| CompletedSweep {
        began: at(seconds),
        ended: at(seconds + 1),
        hosts: 3,
        program: "0.1.0 (0d10dc84c91f)".to_owned(),
    };
    let (here, there) = (Region::local(), "eu-west-1".parse().unwrap());
    assert_eq!(world.ports.system.last_sweep(&here).await.unwrap(), None);
    for seconds in [10, 30, 20] {
        world
            .ports
            .system
            .record_sweep(&here, &sweep(seconds))
            .await
            .unwrap();
    }
    assert_eq!(
        world.ports.system.last_sweep(&here).await.unwrap(),
        Some(sweep(30))
    );
    assert_eq!(world.ports.system.last_sweep(&there).await.unwrap(), None);
    // One that ended at 31 does not replace one that began at 91, but one of 92.
    for (began, replaced) in [(91, false), (92, true)] {
        for seconds in [began, 30] {
            let system = &world.ports.system;
            system.record_sweep(&here, &sweep(seconds)).await.unwrap();
        }
        let expected = sweep(if replaced { 30 } else { began });
        assert_eq!(
            world.ports.system.last_sweep(&here).await.unwrap(),
            Some(expected)
        );
    }
}

/// A key with all the hosts that it may have gets no new one, whatever the others send, until it has fewer or may have
/// more.
pub async fn a_full_key_gets_no_new_hosts(world: World) {
    let ports = &world.ports;
    let id = key(1).id;
    let limits = KeyLimits {
        hosts: Some(10),
        interval: Some(Interval::default()),
    };
    let open = Key { limits, ..key(1) };
    assert!(ports.keys.create(&open).await.unwrap());
    let beat = async |n: u32, seconds| {
        let mut heard = heard(&format!("host-{n}"), "local", seconds, Signal::Ok);
        heard.heartbeat.key = Some(id);
        // As the sweep counts, where the store does not.
        let key = ports.keys.load(&id).await.unwrap().unwrap();
        ports.heartbeats.record_with(&heard, &key).await.unwrap()
    };
    for n in 0..10 {
        assert!(beat(n, 1).await);
    }
    let full = ports.keys.note_hosts(&id, 10).await.unwrap().unwrap();
    assert_eq!((full.hosts, full.limits), (10, limits));
    assert!(!beat(10, 2).await, "a new host");
    assert_eq!(ports.heartbeats.load(&host("host-10")).await.unwrap(), []);
    assert!(beat(9, 3).await, "a known one");
    let moved = heard("host-9", "local", 4, Signal::Ok);
    ports.heartbeats.record(&moved).await.unwrap();
    let rest = ports.keys.note_hosts(&id, 9).await.unwrap().unwrap();
    assert_eq!(rest.hosts, 9, "host-9 beats with another key");
    assert!(beat(10, 5).await && beat(9, 6).await);
    ports
        .heartbeats
        .forget(&host("host-0"), at(9))
        .await
        .unwrap();
    ports.keys.note_hosts(&id, 10).await.unwrap();
    assert!(!beat(11, 7).await);
    let more = KeyLimits {
        hosts: Some(11),
        interval: None,
    };
    let key = ports.keys.limit(&id, &more).await.unwrap().unwrap();
    assert_eq!((key.hosts, key.limits), (10, more));
    assert!(beat(11, 8).await);
    let none = KeyLimits::default();
    let key = ports.keys.limit(&id, &none).await.unwrap().unwrap();
    assert_eq!(key.limits, none);
    let unknown = KeyId::from_random([255; 7]);
    assert!(ports.keys.limit(&unknown, &more).await.unwrap().is_none());
    assert!(ports.keys.note_hosts(&unknown, 1).await.unwrap().is_none());
    assert!(ports.keys.load(&unknown).await.unwrap().is_none());
}
