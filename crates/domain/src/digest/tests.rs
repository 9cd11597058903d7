use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::beat::Interval;
use crate::host::Region;
use crate::incarnation::Incarnation;
use crate::message::Message;
use crate::notice::Notice;
use crate::pending::Phase;
use crate::transition::{State, Transition};

const POLICY: DeliveryPolicy = DeliveryPolicy {
    lease: Duration::from_secs(10),
    echo_wait: Duration::from_mins(3),
};
const ME: Uuid = Uuid::from_u128(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000).unwrap()
}

fn id(n: u8) -> NoticeId {
    NoticeId::of_bytes([n; 32])
}

/// A missing host with its notice pending.
fn failing(name: &str, message: &str) -> Entry {
    let mut entry = missing(name);
    entry.state = State::Failing;
    let last = entry.history.last_mut().unwrap();
    (last.kind, last.message) = (Kind::Failing, Some(Message::from(message.to_owned())));
    entry
}

fn missing(name: &str) -> Entry {
    let transition = Transition {
        grace: None,
        epoch: 1,
        kind: Kind::Missing,
        since: at(0),
        last_beat: at(-60),
        interval: Interval::default(),
        message: None,
        at: at(1),
        caveat: None,
        key: None,
        withdrawn: false,
        accepted: None,
    };
    let entry = Entry::new(HostKey::new(Fleet::main(), name.parse().unwrap()));
    Entry {
        state: State::Missing,
        epoch: 1,
        pending: Some(Pending::new(at(1))),
        history: vec![transition],
        ..entry
    }
}

fn names(digest: &Digest) -> Vec<&str> {
    digest
        .members
        .iter()
        .map(|member| member.host.as_str())
        .collect()
}

/// A digest that was built of `a`, `b` and `c`, where `c` joined too late.
fn built() -> (Digest, [Entry; 3]) {
    let entries = ["a", "b", "c"].map(missing);
    let open = Digest::new(id(1), &entries.each_ref(), at(2)).unwrap();
    assert_eq!(
        (open.stage, names(&open)),
        (DigestStage::Open, vec!["a", "b", "c"])
    );
    let [a, b, c] = entries;
    let [a, b] = [a, b].map(|entry| entry.batched(&open.id, at(2)).unwrap());
    let frozen = open
        .frozen(&[a.clone(), b.clone(), c.clone()], at(3))
        .unwrap();
    assert_eq!(
        (frozen.stage, names(&frozen)),
        (DigestStage::Ready, vec!["a", "b"])
    );
    let late = c.batched(&frozen.id, at(4)).unwrap();
    (frozen, [a, b, late])
}

fn accepted(digest: Digest) -> Digest {
    let leased = digest.leased(ME, at(5), &POLICY).unwrap();
    leased
        .published(ME, 1, &Publication::Accepted, at(6))
        .unwrap()
}

#[test]
fn hosts_are_released_with_the_acceptance_of_their_digest() {
    let (digest, [a, b, _]) = built();
    assert_eq!(a.clone().released(Some(&digest), at(5)), None);
    let accepted = accepted(digest);
    for entry in [a, b] {
        let released = entry.released(Some(&accepted), at(7)).unwrap();
        assert_eq!(released.pending, None);
        let expected = Acceptance {
            attempt: 1,
            at: at(6),
            digest: Some(id(1)),
        };
        assert_eq!(released.history[0].accepted, Some(expected));
    }
}

#[test]
fn a_host_that_joined_too_late_gets_its_notice_back_at_every_later_stage() {
    let (digest, [_, _, late]) = built();
    let accepted = accepted(digest.clone());
    let closed = accepted.clone().closed().unwrap();
    for stage in [Some(&digest), Some(&accepted), Some(&closed), None] {
        let orphan = late.clone().released(stage, at(7)).unwrap();
        assert_eq!(
            orphan.pending.unwrap().phase,
            Phase::Pending { not_before: at(7) }
        );
    }
    let open = Digest {
        stage: DigestStage::Open,
        ..digest
    };
    assert_eq!(
        late.released(Some(&open), at(7)),
        None,
        "it may still be listed"
    );
}

/// It lists an earlier transition of the host: its own notice was not in it.
#[test]
fn a_host_listed_with_another_epoch_gets_its_notice_back() {
    let (mut digest, [first, ..]) = built();
    assert!(digest.lists(&first));
    for member in &mut digest.members {
        member.epoch += 1;
    }
    assert!(!digest.lists(&first));
    let back = first.released(Some(&accepted(digest)), at(7)).unwrap();
    let pending = back.pending.unwrap();
    assert_eq!(pending.phase, Phase::Pending { not_before: at(7) });
}

#[test]
fn a_digest_that_no_host_joined_is_closed_without_a_notice() {
    let entry = missing("a");
    let digest = Digest::new(id(1), &[&entry], at(2))
        .unwrap()
        .frozen(&[entry], at(3))
        .unwrap();
    assert_eq!(
        (digest.stage, digest.pending, digest.members),
        (DigestStage::Closed, None, vec![])
    );
}

#[test]
fn a_digest_is_frozen_once_and_closed_only_after_acceptance() {
    let (digest, _) = built();
    assert_eq!(digest.clone().frozen(&[], at(9)), None);
    assert_eq!(digest.clone().closed(), None);
    let closed = accepted(digest.clone()).closed().unwrap();
    assert!(digest.is_open() && !closed.is_open());
    assert_eq!(closed.members, [], "the list is gone");
}

#[test]
fn an_open_digest_is_abandoned_after_its_builders_lease() {
    let open = Digest::new(id(1), &[&missing("a")], at(2)).unwrap();
    assert!(!open.is_abandoned(at(11), &POLICY));
    assert!(open.is_abandoned(at(12), &POLICY));
    assert!(!built().0.is_abandoned(at(99), &POLICY), "it is frozen");
    let dated_by_a_wrong_clock = [-58, -59].map(|now| open.is_abandoned(at(now), &POLICY));
    assert_eq!(dated_by_a_wrong_clock, [false, true]);
}

#[test]
fn a_digests_notice_is_leased_published_and_echoed_like_a_hosts() {
    let (digest, _) = built();
    let leased = digest.leased(ME, at(5), &POLICY).unwrap();
    assert_eq!(leased.clone().leased(ME, at(6), &POLICY), None);
    let unknown = leased
        .published(ME, 1, &Publication::Unknown(String::new()), at(6))
        .unwrap();
    assert_eq!(unknown.stage, DigestStage::Ready);
    let Echoed::Accepted(accepted) = unknown.echoed(1, at(7)) else {
        panic!("the acceptance was not known")
    };
    assert_eq!(accepted.stage, DigestStage::Accepted);
    assert_eq!(accepted.clone().echoed(1, at(8)), Echoed::Known);
    assert_eq!(accepted.echoed(2, at(8)), Echoed::SecondCopy);
}

#[test]
fn a_digest_does_not_take_a_notice_in_doubt() {
    let leased = missing("a").leased(ME, at(2), &POLICY).unwrap();
    assert!(leased.is_in_doubt() && !missing("a").is_in_doubt());
    assert_eq!(leased.clone().batched(&id(1), at(2)), None);
    let unknown = leased
        .published(1, ME, 1, &Publication::Unknown(String::new()), at(3))
        .unwrap();
    assert_eq!(unknown.clone().batched(&id(1), at(999)), None);
    let again = unknown.leased(ME, at(999), &POLICY).unwrap();
    let refused = again
        .published(1, ME, 2, &Publication::Refused(String::new()), at(999))
        .unwrap();
    assert!(
        refused.is_in_doubt(),
        "the first attempt may have been accepted"
    );
    assert_eq!(refused.batched(&id(1), at(9_999)), None);
    let once = missing("a").leased(ME, at(2), &POLICY).unwrap();
    let refused = once
        .published(1, ME, 1, &Publication::Refused(String::new()), at(2))
        .unwrap();
    assert_eq!(refused.clone().batched(&id(1), at(3)), None, "it pauses");
    assert!(
        refused.batched(&id(1), at(4)).is_some(),
        "nothing was ever accepted"
    );
}

#[test]
fn an_echo_accepts_only_the_notice_of_its_own_epoch_and_incarnation() {
    let entry = missing("a");
    let of = |entry: &Entry| Notice::of(entry, &Region::local()).unwrap().id;
    let id = of(&entry);
    assert_eq!(entry.clone().echoed(2, &id, 1, at(5)), Echoed::Known);
    let restored = entry.clone().of_incarnation(&Incarnation {
        id: Uuid::from_u128(7),
    });
    assert_eq!(restored.clone().echoed(1, &id, 1, at(5)), Echoed::Known);
    let Echoed::Accepted(_) = restored.clone().echoed(1, &of(&restored), 1, at(5)) else {
        panic!("it was pending")
    };
    let Echoed::Accepted(accepted) = entry.echoed(1, &id, 1, at(5)) else {
        panic!("it was pending")
    };
    assert_eq!(accepted.clone().echoed(1, &id, 1, at(6)), Echoed::Known);
    assert_eq!(accepted.echoed(1, &id, 2, at(6)), Echoed::SecondCopy);
}

#[test]
fn the_keys_of_a_digest_are_those_of_its_members() {
    let keys: Vec<_> = built().0.keys().map(|key| key.to_string()).collect();
    assert_eq!(keys, ["main/a", "main/b"]);
}

#[test]
fn a_members_size_is_an_upper_bound_of_its_json() {
    let member = Member::of(&missing("web-01")).unwrap();
    let said = Member::of(&failing("web-01", "a \"quote\"")).unwrap();
    let plain = json!({"hostId": member.host, "since": member.since.to_string(), "failing": true});
    let with_reason = json!({
        "hostId": said.host, "since": said.since.to_string(), "failing": true,
        "message": "a \"quote\"",
    });
    for (member, json) in [(member, plain), (said, with_reason)] {
        let length = json.to_string().len() + 1;
        let reckoned = member.bytes();
        assert!(
            length <= reckoned && reckoned <= length + ".000".len(),
            "{length}, {reckoned}"
        );
    }
}

#[test]
fn a_failing_host_keeps_its_reason_in_few_words() {
    let long = format!("exit 3: {}\nsecond line", "ü".repeat(200));
    let entries = [
        failing("a", "exit 17: no tape"),
        failing("b", &long),
        failing("c", ""),
    ];
    let digest = Digest::new(id(1), &entries.each_ref(), at(2)).unwrap();
    let reasons: Vec<_> = digest
        .members
        .iter()
        .map(|member| member.reason.as_deref())
        .collect();
    let cut = format!("exit 3: {}...", "?".repeat(89));
    assert_eq!(reasons, [Some("exit 17: no tape"), Some(&cut), None]);
    let stored = serde_json::to_string(&digest).unwrap();
    assert!(
        stored.contains(r#",false,false,"exit 17: no tape"],"#),
        "{stored}"
    );
    assert_eq!(serde_json::from_str::<Digest>(&stored).unwrap(), digest);
    let still = Member::still(&entries[0], entries[0].history.last().unwrap());
    assert_eq!(
        (still.failing, still.reason.as_deref()),
        (true, Some("exit 17: no tape"))
    );
}

#[test]
fn a_host_that_beat_again_is_marked_and_stored_so() {
    let all = [missing("web-01"), missing("web-02"), missing("web-03")];
    let digest = Digest::new(id(1), &all.iter().collect::<Vec<_>>(), at(2)).unwrap();
    let since = digest.members[0].since;
    let later = since.plus(Duration::from_millis(1));
    let digest = digest.with_back(|host| match host.as_str() {
        "web-01" => Some(since),
        "web-02" => Some(later),
        _ => None,
    });
    let back: Vec<_> = digest.members.iter().map(|member| member.back).collect();
    assert_eq!(back, [false, true, false]);
    let stored = serde_json::to_string(&digest).unwrap();
    assert!(
        stored.contains(&format!(r#"["web-01",1,{}],"#, since.as_millis())),
        "{stored}"
    );
    assert_eq!(serde_json::from_str::<Digest>(&stored).unwrap(), digest);
}

/// The bytes of the members of a digest, of their sites with their sizes, and of what SNS filters on, at least.
fn bytes<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> usize {
    let hosts = entries.clone().map(|entry| &entry.key.host);
    let sites: BTreeSet<_> = hosts.clone().filter_map(HostId::site).collect();
    let of_all: BTreeMap<_, _> = sites.into_iter().map(|site| (site, u32::MAX)).collect();
    let prefixes: BTreeSet<_> = hosts.flat_map(HostId::site_prefixes).collect();
    let json = |value: serde_json::Value| value.to_string().len();
    let members = entries.map(|entry| Member::of(entry).unwrap().bytes());
    members.sum::<usize>() + json(json!(of_all)) + json(json!(prefixes)) - 4
}

fn take<'a>(room: &mut Room<'a>, entry: &'a Entry) -> bool {
    room.take(&entry.key.host, Member::of(entry).unwrap().bytes())
}

proptest! {
    #[test]
    fn parts_contain_all_hosts_and_respect_the_limits(
        lengths in prop::collection::vec((1..=200_usize, 0..=40_usize), 1..6_000),
    ) {
        let name = |(length, site): &(usize, usize)| match site {
            0 => "x".repeat(*length),
            _ => format!("s/{}/{}", "s".repeat(*site), "x".repeat((*length).min(150))),
        };
        let entry = |of: &(usize, usize)| match of.1 % 2 {
            0 => missing(&name(of)),
            _ => failing(&name(of), &"\"".repeat(of.0)),
        };
        let entries: Vec<_> = lengths.iter().map(entry).collect();
        let entries: Vec<_> = entries.iter().collect();
        let parts = digest_parts(&entries);
        prop_assert_eq!(parts.concat().len(), entries.len());
        for part in &parts {
            prop_assert!((1..=limits::DIGEST_HOSTS).contains(&part.len()));
            prop_assert!(bytes(part.iter().copied()) <= limits::DIGEST_BYTES);
        }
        for (part, after) in parts.iter().zip(&parts[1..]) {
            let mut room = Room::default();
            prop_assert!(part.iter().all(|entry| take(&mut room, entry)));
            prop_assert!(!take(&mut room, after[0]), "it had room");
        }
    }
}

#[test]
fn a_digest_knows_the_size_of_sites_with_several_of_its_hosts_until_it_is_closed() {
    let entries = ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2", "d"].map(missing);
    let open = Digest::new(id(1), &entries.each_ref(), at(2)).unwrap();
    let size = |site: &str| (site != "c").then_some(7);
    let open = open.with_sites(size);
    assert_eq!(open.sites, BTreeMap::from([("a".to_owned(), 7)]));
    let joined = entries.map(|entry| entry.batched(&id(1), at(2)).unwrap());
    let frozen = open.frozen(&joined, at(3)).unwrap();
    assert_eq!(frozen.sites.len(), 1);
    assert_eq!(accepted(frozen).closed().unwrap().sites, BTreeMap::new());
}

#[test]
fn a_reminder_lists_the_longest_trouble_first_and_counts_what_does_not_fit() {
    let member = |n: usize, failing| Member {
        since: at(i64::try_from(n % 7_919).unwrap()),
        failing,
        ..Member::of(&missing(&format!("web-{n:04}"))).unwrap()
    };
    let remind = |members: Vec<Member>| {
        let unlisted = Reminder {
            more: 5,
            acknowledged: 3,
        };
        Digest::reminding(id(1), Fleet::main(), members, unlisted, at(9_000))
    };
    let all = (0..limits::DIGEST_HOSTS + 10)
        .rev()
        .map(|n| member(n, n == 0));
    let digest = remind(all.collect()).unwrap();
    assert_eq!(
        (digest.kind, digest.stage),
        (Kind::Missing, DigestStage::Ready)
    );
    let reminder = digest.reminder.unwrap();
    assert_eq!(
        digest.members.len() + reminder.more,
        limits::DIGEST_HOSTS + 15
    );
    assert_eq!(reminder.acknowledged, 3);
    assert!(digest.members.is_sorted_by_key(|member| member.since));
    assert_eq!(digest.members[0].since, at(0));
    assert_eq!(remind(vec![member(1, true)]).unwrap().kind, Kind::Failing);
    assert_eq!(remind(vec![]), None);
    // A failing host that beats is not back.
    let beats = digest.with_back(|_| Some(at(9_000)));
    let back = beats.members.iter().map(|member| member.back);
    assert_eq!(back.filter(|back| !back).count(), 1);
    let stored = serde_json::to_string(&beats).unwrap();
    assert_eq!(serde_json::from_str::<Digest>(&stored).unwrap(), beats);
}

/// One key that names its hosts so that they come first does not push those of others out of the text.
#[test]
fn texts_name_hosts_of_each_key_in_turn() {
    let of_key = |name: String, key: Option<u8>| {
        let mut entry = missing(&name);
        entry.history[0].key = key.map(|key| KeyId::from_random([key; 7]));
        entry.batched(&id(1), at(2)).unwrap()
    };
    let mut entries: Vec<_> = (0..50)
        .map(|n| of_key(format!("00-{n:02}"), Some(1)))
        .collect();
    entries.push(of_key("web-01".to_owned(), Some(2)));
    entries.push(of_key("web-02".to_owned(), None));
    let all: Vec<_> = entries.iter().collect();
    let digest = Digest::new(id(1), &all, at(2)).unwrap();
    let digest = digest.frozen(&entries, at(3)).unwrap();
    let names = names(&digest);
    assert_eq!(names[..5], ["00-00", "web-01", "web-02", "00-01", "00-02"]);
    assert!(names[limits::DIGEST_NAMES..].is_sorted());
    assert!(entries.iter().all(|entry| digest.lists(entry)));
    assert!(!digest.lists(&missing("00-50")));
}
