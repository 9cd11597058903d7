//! The contract suite: what every adapter of the ports must do, told once and run by each of them.
//!
//! An adapter crate writes a function that gives a fresh [`World`] and names it in the macro:
//!
//! ```text
//! hb_service::contract_suite!(fresh_world);
//! ```
//!
//! Each case becomes a test of its own. A failed case panics: this module is for tests only.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod beats;
mod deliveries;
mod entries;
mod records;
mod sweeps;
mod telling;

use std::any::Any;
use std::time::Duration;

use futures::future::BoxFuture;
use hb_domain::{
    Beat, Entry, Fleet, Heartbeat, HostKey, Interval, Message, Region, Rules, Signal, Timestamp,
    decide,
};

pub use beats::*;
pub use deliveries::*;
pub use entries::*;
pub use records::*;
pub use sweeps::*;
pub use telling::*;

use crate::ports::{Heard, Ports};

/// One empty store, behind all its ports.
pub struct World {
    /// The ports of the store.
    pub ports: Ports,
    /// Makes what is stored of a host unreadable: its heartbeats and its ledger entry.
    pub spoil: Box<dyn Fn(HostKey) -> BoxFuture<'static, ()> + Send + Sync>,
    /// How many hosts the paging case stores: 100,000, or fewer where an emulator would take minutes.
    pub fleet_size: usize,
    /// What must live as long as the store, such as its folder.
    pub keep: Box<dyn Any + Send>,
}

/// Runs every case of the suite against the worlds that `$fresh` gives: `async fn fresh() -> World`, or
/// `Option<World>` where the store may not be installed; it must say so itself.
#[macro_export]
macro_rules! contract_suite {
    ($fresh:path) => {
        $crate::contract_suite!($fresh:
            newer_beat_wins, regions_are_kept_apart_and_follow_each_other, a_scan_finds_every_host_once, a_scan_goes_on_behind_a_host,
            unreadable_heartbeats_are_told_and_skipped, forgetting_spares_a_newer_beat, a_store_in_order_passes_its_check,
            an_entry_is_swapped_as_a_whole, a_swap_needs_the_expected_version, of_64_writers_one_wins,
            a_lost_reply_is_recognised, only_open_entries_are_listed_page_by_page,
            unreadable_entries_are_told_and_skipped, keys_are_created_revoked_and_listed,
            keys_expire_early_and_know_the_day_of_their_use,
            subscriptions_are_added_listed_and_removed, the_last_completed_sweep_is_remembered,
            silence_is_told_once_and_so_is_the_return, of_two_sweeps_at_once_one_claims,
            digests_and_receivers_are_swapped_like_entries, every_accepted_notice_has_an_echo,
            many_at_once_are_told_in_digests, what_nobody_was_sure_of_is_closed_by_its_echo);
    };
    ($fresh:path: $($case:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(world) = ::std::option::Option::<$crate::testing::contract::World>::from($fresh().await) {
                    $crate::testing::contract::$case(world).await;
                }
            }
        )+
    };
}

/// An instant, some seconds into the stories of this suite.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000).unwrap()
}

fn host(name: &str) -> HostKey {
    HostKey::new(Fleet::main(), name.parse().unwrap())
}

/// A beat of `name` with an interval of a minute.
fn heard(name: &str, region: &str, seconds: i64, signal: Signal) -> Heard {
    let message =
        (signal == Signal::Fail).then(|| Message::from(format!("fäiled at {seconds}\n\"'%_")));
    let interval = Interval::try_from(Duration::from_mins(1)).unwrap();
    let heartbeat = Heartbeat::new(Beat {
        at: at(seconds),
        interval,
        signal,
        message,
    });
    Heard {
        key: host(name),
        region: region.parse::<Region>().unwrap(),
        heartbeat,
    }
}

/// The entry of `name` with a pending `missing`.
fn missing(name: &str) -> Entry {
    let beats = heard(name, "local", 0, Signal::Ok).heartbeat;
    decide(&Entry::new(host(name)), &beats, at(61), &Rules::default()).unwrap()
}
