//! Parts of a digest, for a receiver that refuses the whole as too large.

use std::ops::Range;

use super::{About, Notice, NoticeId};
use crate::host::HostId;

impl Notice {
    /// The next try of this notice: which places of its list of hosts it has, and what is sent.
    ///
    /// The hosts before place `sent` are settled. `size` is how many places the last try had, while its outcome may be
    /// unknown: then the next try has the same places, and so the same id. Otherwise it has as many places as the
    /// receiver `took` last, or all. Hosts that do not `wait`, since they were sent or are of no interest, are left out,
    /// which does not change the id.
    #[must_use]
    pub fn next_part(
        &self,
        sent: usize,
        size: Option<usize>,
        took: Option<usize>,
        waits: impl Fn(&HostId) -> bool,
    ) -> (Range<usize>, Self) {
        let all = self.count();
        let places = |from: usize, size: usize| from..from.saturating_add(size.max(1)).min(all);
        let waiting: Vec<_> = (0..)
            .zip(self.host_ids())
            .filter(|(_, host)| waits(host))
            .collect();
        let first = |range: Range<usize>| {
            waiting
                .iter()
                .map(|(place, _)| *place)
                .find(|place| range.contains(place))
        };
        let last_try = size.map(|size| places(sent, size));
        let first_try = sent == 0 && size.is_none();
        let whole = (first_try && took.is_none_or(|took| took >= all)).then_some(0..all);
        let part = last_try
            .filter(|range| first(range.clone()).is_some())
            .or(whole)
            .unwrap_or_else(|| places(first(sent..all).unwrap_or(sent), took.unwrap_or(all)));
        let mut notice = self.part(part.clone());
        if let About::Digest(members) = &mut notice.about {
            members.retain(|member| waits(&member.host));
        }
        (part, notice)
    }

    /// The notice about the hosts at these places. A part of a digest has an id of its own, which follows from the
    /// digest and the places: a receiver that knows one part must not take another for a copy of it.
    fn part(&self, places: Range<usize>) -> Self {
        let mut part = self.clone();
        if let About::Digest(members) = &mut part.about
            && places.len() < members.len()
        {
            let identity = format!("{}/{}-{}", self.identity(), places.start, places.end);
            part.id = NoticeId::of(&identity);
            *members = members.get(places).unwrap_or_default().to_vec();
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Member;
    use crate::host::{Fleet, Region};
    use crate::time::Timestamp;
    use crate::transition::Kind;

    /// A digest of so many hosts, named by their places.
    fn digest(hosts: usize) -> Notice {
        let test = Notice::test(
            Fleet::main(),
            Kind::Missing,
            Region::local(),
            Timestamp::MIN,
        );
        let member = |place: usize| Member {
            host: place.to_string().parse().unwrap(),
            epoch: 1,
            since: Timestamp::MIN,
            back: false,
            failing: false,
            reason: None,
        };
        Notice {
            about: About::Digest((0..hosts).map(member).collect()),
            ..test
        }
    }

    fn hosts(notice: &Notice) -> Vec<String> {
        notice.host_ids().map(ToString::to_string).collect()
    }

    #[test]
    fn a_notice_that_was_never_too_large_is_sent_whole_under_its_own_id() {
        let whole = digest(3);
        assert_eq!(
            whole.next_part(0, None, None, |_| true),
            (0..3, whole.clone())
        );
        assert_eq!(
            whole.next_part(0, Some(3), Some(2), |_| true),
            (0..3, whole)
        );
        let host = Notice::test(
            Fleet::main(),
            Kind::Missing,
            Region::local(),
            Timestamp::MIN,
        );
        assert_eq!(host.next_part(0, None, Some(1), |_| true), (0..1, host));
    }

    #[test]
    fn a_host_that_no_longer_waits_is_left_out_under_the_same_id() {
        let whole = digest(4);
        let (places, rest) = whole.next_part(0, Some(4), None, |host| host.as_str() != "0");
        assert_eq!(
            (places, hosts(&rest)),
            (0..4, vec!["1".into(), "2".into(), "3".into()])
        );
        assert_eq!(rest.id, whole.id);
        let (places, rest) = whole.next_part(0, None, None, |host| host.as_str() == "2");
        assert_eq!((places, hosts(&rest)), (0..4, vec!["2".into()]));
        assert_eq!(rest.id, whole.id);
        // Not after it was too large: of those in the first half none waits.
        let (places, rest) = whole.next_part(0, Some(2), None, |host| host.as_str() == "2");
        assert_eq!((places, hosts(&rest)), (2..4, vec!["2".into()]));
        // Of a part of which none waits, the next host that does begins another.
        let (places, rest) = whole.next_part(0, Some(2), Some(2), |host| host.as_str() == "3");
        assert_eq!((places, hosts(&rest)), (3..4, vec!["3".into()]));
        assert_ne!(rest.id, whole.id);
    }

    proptest! {
        /// A receiver that takes up to `limit` hosts, and whose answers are lost at times, gets each host once under
        /// one id, however often a part is tried.
        #[test]
        fn each_host_is_in_exactly_one_part(
            all in 1_usize..60,
            limit in 1_usize..60,
            took in proptest::option::of(1_usize..60),
            lost in proptest::collection::vec(any::<bool>(), 200),
        ) {
            let whole = digest(all);
            let mut lost = lost.into_iter();
            let (mut sent, mut size) = (0, None);
            let mut ids = BTreeSet::new();
            let mut taken = Vec::new();
            for _ in 0..1000 {
                if sent == all {
                    break;
                }
                let (places, part) = whole.next_part(sent, size, took, |_| true);
                prop_assert_eq!(places.start, sent);
                prop_assert_eq!(part.count(), places.len());
                size = Some(places.len());
                if part.count() > limit {
                    size = Some(places.len().div_ceil(2));
                    continue;
                }
                if ids.insert(part.id.clone()) {
                    taken.extend(hosts(&part));
                }
                if lost.next() != Some(true) {
                    (sent, size) = (places.end, None);
                }
            }
            prop_assert_eq!(taken, hosts(&whole));
        }
    }
}
