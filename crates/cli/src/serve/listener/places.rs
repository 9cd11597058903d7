//! Who gets one of the places for connections. No stranger takes those of the machines that send beats.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::time::Instant;

use super::connection::Connection;

/// How many networks are remembered that sent a valid key.
const KNOWN: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// An address, as far as places are concerned: of IPv6 the 64 bits that one customer has (RFC 6177, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let bits = v6.to_bits() & !u128::from(u64::MAX);
                Self(Ipv6Addr::from_bits(bits).into())
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

/// What is known of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Stranger,
    /// Beats were accepted from its network.
    Known,
    /// A trusted proxy, which speaks for many.
    Proxy,
}

/// How many places there are: for all, for all strangers, for one network of strangers, and for one that is known. What
/// strangers cannot have is reserved for the others. An office or a site may have one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    all: usize,
}

impl Limits {
    pub(crate) fn new(all: usize) -> Self {
        Self { all: all.max(16) }
    }

    pub(crate) fn all(self) -> usize {
        self.all
    }

    fn of_network(self, standing: Standing) -> usize {
        match standing {
            Standing::Stranger => self.all / 16,
            Standing::Known => self.all / 2,
            Standing::Proxy => self.all,
        }
    }

    fn of_strangers(self) -> usize {
        self.all / 4 * 3
    }
}

/// The places, and who has them.
pub(crate) struct Places {
    limits: Limits,
    shut_out: ShutOut,
    state: Mutex<State>,
}

/// Counts connections of known networks and proxies that got no place: their beats could not get in.
#[derive(Clone, Default)]
pub(crate) struct ShutOut(Arc<AtomicU64>);

impl ShutOut {
    /// How many since the last time that somebody asked.
    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

struct State {
    /// By number, in the order in which they came.
    taken: BTreeMap<u64, Arc<Connection>>,
    of_network: HashMap<Network, BTreeSet<u64>>,
    strangers: usize,
    next: u64,
    known: LruCache<Network, ()>,
    lost: Lost,
}

/// Connections that were closed for want of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// They waited, and others took their places.
    pub(crate) displaced: u64,
    /// They got none, because all others were being answered.
    pub(crate) refused: u64,
}

impl Places {
    pub(crate) fn new(limits: Limits, shut_out: ShutOut) -> Self {
        Self {
            limits,
            shut_out,
            state: Mutex::new(State {
                taken: BTreeMap::new(),
                of_network: HashMap::new(),
                strangers: 0,
                next: 0,
                known: LruCache::unbounded(),
                lost: Lost::default(),
            }),
        }
    }

    /// A place for a connection from `address`, if need be that of the oldest one that waits: of its network when that has
    /// all of its places, else of a stranger or, for one that is known, of any. `None` when none of these waits.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        is_proxy: bool,
        now: Instant,
    ) -> Option<Place> {
        let network = Network::from(address);
        let mut state = self.state();
        let standing = match state.known.get(&network) {
            _ if is_proxy => Standing::Proxy,
            Some(()) => Standing::Known,
            None => Standing::Stranger,
        };
        let connection = Arc::new(Connection::new(network, standing, now));
        if !state.make_room(self.limits, &connection) {
            state.lost.refused += 1;
            if standing != Standing::Stranger {
                self.shut_out.0.fetch_add(1, Ordering::Relaxed);
            }
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.add(number, connection.clone());
        drop(state);
        Some(Place {
            number,
            connection,
            places: self.clone(),
        })
    }

    /// A beat was accepted from there.
    pub(crate) fn remember(&self, network: Network) {
        let mut state = self.state();
        state.known.put(network, ());
        if state.known.len() > KNOWN.get() {
            state.known.pop_lru();
        }
    }

    /// Closes the connections that no request has come on.
    pub(crate) fn close_unused(&self) {
        let state = self.state();
        let unused = state.taken.values().filter(|other| other.is_unused());
        unused.for_each(|other| other.displace());
    }

    /// What was lost since the last time that somebody asked.
    pub(crate) fn take_lost(&self) -> Lost {
        std::mem::take(&mut self.state().lost)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is a place for `new`, perhaps after another one has lost its own.
    fn make_room(&mut self, limits: Limits, new: &Connection) -> bool {
        let waits = |number: &u64| self.taken[number].waits();
        let mine = self.of_network.get(&new.network);
        let is_stranger = new.standing == Standing::Stranger;
        let oldest =
            if let Some(mine) = mine.filter(|mine| mine.len() >= limits.of_network(new.standing)) {
                mine.iter().copied().find(waits)
            } else if self.taken.len() >= limits.all
                || is_stranger && self.strangers >= limits.of_strangers()
            {
                // Strangers first: what is known gives way to none of them.
                let stranger = |number: &u64| self.taken[number].standing == Standing::Stranger;
                let mut all = self.taken.keys().copied();
                let oldest = all.find(|number| stranger(number) && waits(number));
                oldest.or_else(|| {
                    self.taken
                        .keys()
                        .copied()
                        .find(|number| !is_stranger && waits(number))
                })
            } else {
                return true;
            };
        let Some(number) = oldest else {
            return false;
        };
        self.lost.displaced += 1;
        if let Some(other) = self.remove(number) {
            other.displace();
        }
        true
    }

    fn add(&mut self, number: u64, connection: Arc<Connection>) {
        self.of_network
            .entry(connection.network)
            .or_default()
            .insert(number);
        self.strangers += usize::from(connection.standing == Standing::Stranger);
        self.taken.insert(number, connection);
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.taken.remove(&number)?;
        self.strangers -= usize::from(connection.standing == Standing::Stranger);
        if let Some(numbers) = self.of_network.get_mut(&connection.network) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_network.remove(&connection.network);
            }
        }
        Some(connection)
    }
}

/// The place of a connection, until it is dropped.
pub(crate) struct Place {
    number: u64,
    pub(crate) connection: Arc<Connection>,
    pub(crate) places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.state().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    #[expect(clippy::disallowed_methods, reason = "some instant")]
    fn at(seconds: u64) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START + Duration::from_secs(seconds)
    }

    fn places(all: usize) -> Arc<Places> {
        Arc::new(Places::new(Limits::new(all), ShutOut::default()))
    }

    fn is_displaced(place: &Place) -> bool {
        !place.places.state().taken.contains_key(&place.number)
    }

    #[test]
    fn the_oldest_that_waits_gives_way_in_its_own_network() {
        let places = places(160);
        let held: Vec<_> = (0..10)
            .map(|second| places.admit(address(1), false, at(second)).unwrap())
            .collect();
        let other = places.admit(address(2), false, at(0)).unwrap();
        held[0].connection.asked(at(20));
        let _new = places.admit(address(1), false, at(21)).unwrap();
        let displaced: Vec<_> = held.iter().map(is_displaced).collect();
        assert_eq!(displaced.iter().position(|displaced| *displaced), Some(1));
        assert_eq!(displaced.iter().filter(|displaced| **displaced).count(), 1);
        assert!(!is_displaced(&other));
        let lost = Lost {
            displaced: 1,
            refused: 0,
        };
        assert_eq!(
            (places.take_lost(), places.take_lost()),
            (lost, Lost::default())
        );
    }

    #[test]
    fn none_that_is_being_answered_gives_way() {
        let places = places(160);
        let held: Vec<_> = (0..10)
            .map(|second| places.admit(address(1), false, at(second)).unwrap())
            .collect();
        for place in &held {
            place.connection.asked(at(20));
        }
        assert!(places.admit(address(1), false, at(21)).is_none());
        assert_eq!(places.take_lost().refused, 1);
        held[3].connection.answered(at(22));
        assert!(places.admit(address(1), false, at(23)).is_some());
    }

    #[test]
    fn strangers_leave_a_quarter_to_those_that_are_known() {
        let places = places(160);
        places.remember(address(200).into());
        let mut held = Vec::new();
        for last in 1..=16 {
            for _ in 0..10 {
                let place = places.admit(address(last), false, at(0)).unwrap();
                place.connection.asked(at(1));
                held.push(place);
                if held.len() == 120 {
                    break;
                }
            }
            if held.len() == 120 {
                break;
            }
        }
        assert!(
            places.admit(address(99), false, at(2)).is_none(),
            "a stranger more"
        );
        let known: Vec<_> = (0..40)
            .map(|_| places.admit(address(200), false, at(2)).unwrap())
            .collect();
        assert_eq!(places.take_lost().displaced, 0);
        drop((held, known));
        assert_eq!(places.state().strangers, 0);
        assert!(places.state().of_network.is_empty());
    }

    #[test]
    fn what_is_known_gives_way_to_no_stranger() {
        let places = places(160);
        places.remember(address(200).into());
        let known: Vec<_> = (0..80)
            .map(|_| places.admit(address(200), false, at(0)).unwrap())
            .collect();
        let mut strangers = Vec::new();
        for last in 1..=20 {
            strangers.extend((0..10).map(|_| places.admit(address(last), false, at(1)).unwrap()));
        }
        assert!(!known.iter().any(is_displaced));
        // A newcomer that is known displaces a stranger, although what is known has waited longer.
        places.remember(address(201).into());
        let _new = places.admit(address(201), false, at(2)).unwrap();
        assert!(!known.iter().any(is_displaced));
    }

    #[test]
    fn a_network_that_is_known_and_a_proxy_may_have_more() {
        for (is_known, is_proxy, most) in
            [(false, false, 10), (true, false, 80), (false, true, 160)]
        {
            let places = places(160);
            if is_known {
                places.remember(address(1).into());
            }
            let held: Vec<_> = (0..200)
                .map_while(|_| {
                    let place = places.admit(address(1), is_proxy, at(0))?;
                    place.connection.asked(at(1));
                    Some(place)
                })
                .collect();
            assert_eq!(held.len(), most, "known: {is_known}, proxy: {is_proxy}");
            let shut_out = places.shut_out.take();
            assert_eq!(shut_out, u64::from(is_known || is_proxy));
            assert_eq!(places.shut_out.take(), 0);
        }
    }

    #[test]
    fn one_customer_of_ipv6_is_one_network() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn no_more_places_are_taken_than_there_are(
            events in prop::collection::vec((0..6_u8, 0..4_u8), 1..400),
        ) {
            let places = places(32);
            let mut held: Vec<Place> = Vec::new();
            for (second, (from, what)) in events.into_iter().enumerate() {
                let now = at(u64::try_from(second).unwrap());
                match what {
                    0 => drop(held.pop()),
                    1 => held.iter().for_each(|place| place.connection.asked(now)),
                    2 => places.remember(address(from).into()),
                    _ => held.extend(places.admit(address(from), from == 5, now)),
                }
                held.retain(|place| !is_displaced(place));
                let state = places.state();
                prop_assert!(state.taken.len() <= 32);
                prop_assert!(state.strangers <= 24);
                prop_assert_eq!(state.taken.len(), held.len());
                prop_assert_eq!(state.of_network.values().map(BTreeSet::len).sum::<usize>(), held.len());
            }
        }
    }
}
