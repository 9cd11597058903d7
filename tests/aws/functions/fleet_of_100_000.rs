//! A fleet as large as the smallest function takes: 100,000 hosts in 128 MB, while pages fail at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use hb_service::ports::Heartbeats;
use serde_json::json;

use super::function::{Function, told};
use super::sweep::{World, heard};
use crate::faults::{BROKEN, THROTTLED, dice};

const HOSTS: usize = 100_000;
/// One in so many is silent.
const SILENT: usize = 500;
/// What the smallest function has.
const MEMORY_KIB: u64 = 128 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_fleet_fits_into_the_smallest_function_and_failing_pages_lose_nobody() {
    let world = World::new().await;
    let heartbeats = world.heartbeats();
    let beats = (0..HOSTS).map(|i| {
        // First heard long before the last sweep, so that nobody is news.
        let mut heard = heard(
            &format!("host-{i:06}.fleet.example.com"),
            Duration::from_hours(1),
        );
        if i % SILENT > 0 {
            heard.heartbeat.last = heard.heartbeat.last.plus(Duration::from_mins(59));
        }
        heard
    });
    let record = async |heard| heartbeats.record(&heard).await.unwrap();
    stream::iter(beats).for_each_concurrent(64, record).await;

    let function = Function::start("sweep", &world.front, &[]).await;
    let (failed, counted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (throttled, broken, count) = (dice(30), dice(10), (failed.clone(), counted.clone()));
    world.account.fail(move |operation| {
        if operation != "Scan" {
            return None;
        }
        count.1.fetch_add(1, Ordering::SeqCst);
        let fault = throttled()
            .then_some(THROTTLED)
            .or_else(|| broken().then_some(BROKEN))?;
        count.0.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    });
    let done = function
        .invoke_for(&json!({}), Duration::from_secs(110))
        .await
        .unwrap();
    let (pass, peak) = (&done["passes"][0], function.peak_kib());
    let processor = function.processor();
    let (failed, counted) = (
        failed.load(Ordering::SeqCst),
        counted.load(Ordering::SeqCst),
    );
    let millis = pass["ended"].as_i64().unwrap() - pass["began"].as_i64().unwrap();
    println!(
        "{HOSTS} hosts: {millis} ms, {processor:?} of processors, {counted} scans of which {failed} failed, {peak} KiB at most"
    );
    assert!(failed > 0, "otherwise this shows less");
    let silent = HOSTS / SILENT;
    let counts = told(pass, ["hosts", "unreadable", "missing", "accepted"]);
    assert_eq!(counts, json!([HOSTS, 0, silent, 1]), "{pass}");
    let [digest] = &world.account.accepted()[..] else {
        panic!("one message for all")
    };
    let message: serde_json::Value = serde_json::from_str(&digest["Message"]).unwrap();
    let told: serde_json::Value =
        serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&told["count"], told["hosts"].as_array().unwrap().len()),
        (&json!(silent), silent)
    );
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}
