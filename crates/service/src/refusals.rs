//! Requests that were refused for their key, by the address that sent them: those that send many are asked to wait, and
//! the log says once a minute and address how many there were.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hb_domain::{Timestamp, limits};

use crate::auth::Refusal;
use crate::rate::RateLimit;

/// How often an address is logged.
const EVERY: Duration = Duration::from_mins(1);

/// Addresses that are logged by themselves within a minute, so that a flood from many fills neither memory nor log.
const ADDRESSES: usize = 100;

/// What sent a request: its address, of IPv6 its network, because a client may have all addresses of a /64
/// (RFC 6177, section 2); `None` where the server does not know.
type Source = Option<IpAddr>;

/// What was refused of a source since that was last logged.
#[derive(Clone, Copy)]
struct Refused {
    logged: Timestamp,
    count: u64,
    last: Refusal,
}

/// The refused requests of a process.
pub struct Refusals {
    limit: RateLimit<IpAddr>,
    counts: Mutex<BTreeMap<Source, Refused>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            limit: RateLimit::new(NonZeroU32::new(limits::REFUSALS_PER_SECOND), 1),
            counts: Mutex::default(),
        }
    }
}

impl Refusals {
    /// A request of `client` was refused at `now`. Returns how long the client should wait, when it sends many that
    /// have no valid key.
    pub fn add(&self, client: Option<IpAddr>, why: Refusal, now: Timestamp) -> Option<Duration> {
        let network = client.map(network);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        log(&mut counts, now);
        // Beyond, all of them are one.
        let listed = counts.contains_key(&network) || counts.len() < ADDRESSES;
        let source = network.filter(|_| listed);
        if let Some(refused) = counts.get_mut(&source) {
            refused.count += 1;
            refused.last = why;
        } else {
            tracing::warn!("refused a request {}: {why}", from(source));
            let new = Refused {
                logged: now,
                count: 0,
                last: why,
            };
            counts.insert(source, new);
        }
        drop(counts);
        match why {
            Refusal::TooMany(_) => None,
            _ => self.limit.take(network?, now).err(),
        }
    }

    /// Logs what was refused in the minute before `now`. Called now and then, so that the last minute of a flood is
    /// logged as well.
    pub fn log(&self, now: Timestamp) {
        log(
            &mut self.counts.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        );
    }
}

/// Logs the sources whose minute is over. One that sent nothing in it is forgotten.
fn log(counts: &mut BTreeMap<Source, Refused>, now: Timestamp) {
    counts.retain(|source, refused| {
        let over = refused.logged.is_ahead(now) || now.since(refused.logged) >= EVERY;
        if over && refused.count > 0 {
            let Refused { count, last, .. } = *refused;
            tracing::warn!(
                "refused {count} more requests {} in a minute, the last one for: {last}",
                from(*source)
            );
            *refused = Refused {
                logged: now,
                count: 0,
                ..*refused
            };
            return true;
        }
        !over
    });
}

fn from(source: Source) -> String {
    match source {
        Some(IpAddr::V6(network)) => format!("from {network}/64"),
        Some(address) => format!("from {address}"),
        None => "from other addresses".to_owned(),
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis).unwrap()
    }

    fn counts(refusals: &Refusals) -> Vec<(Source, u64)> {
        let counts = refusals.counts.lock().unwrap();
        counts
            .iter()
            .map(|(source, refused)| (*source, refused.count))
            .collect()
    }

    #[test]
    fn each_address_is_counted_until_its_minute_is_over() {
        let refusals = Refusals::default();
        let [one, other] = ["10.0.0.1", "::ffff:10.0.0.2"].map(|text| text.parse().ok());
        for millis in [0, 1, 2] {
            refusals.add(one, Refusal::Absent, at(millis));
        }
        refusals.add(other, Refusal::Malformed, at(3));
        let second = "10.0.0.2".parse().ok();
        assert_eq!(counts(&refusals), [(one, 2), (second, 0)]);
        refusals.log(at(59_999));
        assert_eq!(counts(&refusals), [(one, 2), (second, 0)]);
        refusals.log(at(60_003));
        assert_eq!(
            counts(&refusals),
            [(one, 0)],
            "logged, and the silent one is forgotten"
        );
        refusals.log(at(-120_000));
        assert_eq!(
            counts(&refusals),
            [],
            "nothing waits for a clock that went back"
        );
    }

    #[test]
    fn a_flood_from_many_addresses_is_one_line() {
        let refusals = Refusals::default();
        for n in 0..1_000_u32 {
            refusals.add(Some(IpAddr::V4(n.into())), Refusal::Absent, at(0));
        }
        let counts = counts(&refusals);
        assert_eq!(counts.len(), ADDRESSES + 1);
        assert_eq!(counts[0], (None, 1_000 - 1 - ADDRESSES as u64));
    }

    #[test]
    fn who_sends_many_without_a_key_is_to_wait_and_nobody_else() {
        let refusals = Refusals::default();
        let ask = |text: &str, why| refusals.add(text.parse().ok(), why, at(0));
        for _ in 0..limits::REFUSALS_PER_SECOND {
            assert_eq!(ask("2001:db8::1", Refusal::Malformed), None);
        }
        assert!(
            ask("2001:db8::2", Refusal::Malformed).is_some(),
            "the same network"
        );
        assert_eq!(ask("2001:db8:0:1::1", Refusal::Malformed), None);
        for _ in 0..50 {
            let key = hb_domain::KeyId::from_random([1; 7]);
            assert_eq!(
                ask("10.0.0.1", Refusal::TooMany(key)),
                None,
                "its own limit counts"
            );
        }
    }
}
