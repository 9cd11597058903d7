//! The contract suite: what every adapter of the ports must do, written once and run by each of them.
//!
//! An adapter crate passes the macro a function that returns a fresh [`World`]:
//!
//! ```text
//! hb_service::contract_suite!(fresh_world);
//! ```
//!
//! Each case becomes a test.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a failed assertion is what a test is for"
)]

mod audit;
mod beats;
mod clocks;
mod deliveries;
mod entries;
mod notices;
mod passing;
mod queue;
mod records;
mod subscribed;
mod sweeps;

use std::any::Any;
use std::time::Duration;

use futures::future::BoxFuture;
use hb_domain::{
    Beat, Entry, Fleet, Heartbeat, HostKey, Interval, Message, Region, Rules, Signal, Timestamp,
    decide,
};

pub use audit::*;
pub use beats::*;
pub use clocks::*;
pub use deliveries::*;
pub use entries::*;
pub use notices::*;
pub use passing::*;
pub use queue::{digest, notice, notice_id};
pub use records::*;
pub use subscribed::*;
pub use sweeps::*;

use crate::ports::{Heard, Ports};

/// An empty store, as all its ports.
pub struct World {
    pub ports: Ports,
    /// Makes the heartbeats and the ledger entry of a host unreadable.
    pub spoil: Box<dyn Fn(HostKey) -> BoxFuture<'static, ()> + Send + Sync>,
    /// How many hosts the paging case stores: 100,000, or fewer where an emulator would take minutes.
    pub fleet_size: usize,
    /// Kept until the end of the test, such as the store's folder.
    pub keep: Box<dyn Any + Send>,
}

/// Runs every case of the suite against the worlds that `$fresh` returns: `async fn fresh() -> World`, or
/// `Option<World>` where the store may not be installed, which the function must report.
#[macro_export]
macro_rules! contract_suite {
    ($fresh:path) => {
        $crate::contract_suite!($fresh:
            newer_beat_wins, heartbeats_of_two_regions_are_separate_and_adjacent, a_scan_finds_every_host_once, a_scan_resumes_after_a_host,
            a_beat_replaces_one_of_a_wrong_clock, instants_of_a_wrong_clock_are_mended,
            six_seconds_at_another_year_hide_nothing, a_clock_set_back_hides_nothing,
            unreadable_heartbeats_are_reported_and_skipped, forgetting_keeps_a_newer_beat, a_working_store_passes_its_checks,
            an_entry_is_swapped_as_a_whole, a_swap_needs_the_expected_version, one_of_64_concurrent_writers_wins,
            a_lost_reply_is_recognised, an_incarnation_is_drawn_once, a_heartbeat_is_stored_whole,
            starts_and_logs_are_kept_beside_the_beats, only_open_entries_are_listed,
            unreadable_entries_are_reported_and_skipped, keys_are_created_revoked_and_listed,
            keys_keep_the_earliest_expiry_and_the_last_day_of_use,
            a_full_key_gets_no_new_hosts,
            subscriptions_are_added_listed_and_removed, the_last_completed_sweep_is_recorded, the_last_checkpoint_is_recorded,
            acts_are_recorded_once_and_listed_in_order,
            silence_and_recovery_cause_one_notice_each, concurrent_sweeps_claim_each_transition_once,
            digests_and_receivers_are_swapped_like_entries, every_accepted_notice_has_an_echo,
            many_notices_are_delivered_in_digests, an_echo_settles_a_publish_of_unknown_outcome);
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

/// An instant, in seconds after the start of the tests.
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
        interval,
        signal,
        message,
        ..Beat::ok(at(seconds))
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
