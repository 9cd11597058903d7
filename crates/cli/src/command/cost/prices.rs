//! The cost of a fleet on AWS: list prices, and the use of each service. No I/O.
//!
//! `docs/costs.md` explains the figures; a test compares the two.

use std::time::Duration;

/// The origin and date of the prices.
pub(super) const SOURCE: &str =
    "list prices of us-east-1 as of 2025, without free tiers, notices not included";

/// Prices in US dollars.
struct Prices {
    /// A million write units of DynamoDB, on demand, in each region that has the item.
    write_units: f64,
    /// A million read units, on demand.
    read_units: f64,
    /// A million requests through an HTTP API.
    requests: f64,
    /// A million starts of a function.
    starts: f64,
    /// A GB-second of a function on arm64.
    gb_second: f64,
    /// A GB of log taken in.
    log_gb: f64,
    /// A metric, an alarm, a key of KMS, each a month.
    metric: f64,
    alarm: f64,
    key: f64,
}

/// Source: the price pages of Amazon DynamoDB, API Gateway, AWS Lambda, Amazon CloudWatch and AWS KMS.
const PRICES: Prices = Prices {
    write_units: 0.625,
    read_units: 0.125,
    requests: 1.00,
    starts: 0.20,
    gb_second: 0.000_013_333_4,
    log_gb: 0.50,
    metric: 0.30,
    alarm: 0.10,
    key: 1.00,
};

/// A month as AWS counts it: 730 hours.
const MONTH: Duration = Duration::from_hours(730);
const MINUTES: f64 = 730.0 * 60.0;
/// Of the functions, in GB.
const MEMORY: f64 = 0.125;
/// Seconds that a warm beat takes, the network to DynamoDB included.
const BEAT_SECONDS: f64 = 0.005;
/// KB of log a beat: a line of metrics, and one of the gateway.
const BEAT_LOG_KB: f64 = 0.6;
/// Hosts in 4 KB, which an eventually consistent scan reads for half a unit (`docs/architecture.md`).
const HOSTS_READ: f64 = 49.0;
/// Queries of open records a sweep: 16 shards of entries, digests, receivers.
const QUERIES: f64 = 18.0;
/// Seconds of `sweep` and `canary` a minute.
const SWEEP_SECONDS: f64 = 2.0;
/// Canaries a minute: each is a beat.
const CANARIES: f64 = 3.0;
/// Metrics and alarms of a stage in a region: 21, and 2 composite ones, each of which costs as much as five.
const METRICS: f64 = 24.0;
const ALARMS: f64 = 31.0;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) what: &'static str,
    /// US dollars a month, in all regions.
    pub(super) dollars: f64,
}

/// The monthly cost of `hosts` that beat every `interval`, in one or two regions.
pub(super) fn monthly(hosts: u64, interval: Duration, regions: u8) -> Vec<Item> {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 hosts")]
    let hosts = hosts as f64;
    let regions = f64::from(regions);
    // Each beat comes to one region, and is written in all; canaries come to each.
    let millions = |beats: f64| beats / 1e6;
    let beats = millions(
        hosts * MONTH.as_secs_f64() / interval.as_secs_f64() + CANARIES * MINUTES * regions,
    );
    let scanned = hosts / HOSTS_READ * 0.5 + QUERIES * 0.5;
    let item = |what, dollars| Item { what, dollars };
    vec![
        item(
            "beats written and replicated",
            beats * PRICES.write_units * regions,
        ),
        item(
            "gateway and starts of ingest",
            beats * (PRICES.requests + PRICES.starts),
        ),
        item(
            "time of ingest",
            beats * 1e6 * BEAT_SECONDS * MEMORY * PRICES.gb_second,
        ),
        item(
            "log and metrics of beats",
            beats * BEAT_LOG_KB * PRICES.log_gb,
        ),
        item(
            "sweeps: reading",
            millions(scanned * MINUTES) * PRICES.read_units * regions,
        ),
        item(
            "sweeps: time",
            SWEEP_SECONDS * MINUTES * MEMORY * PRICES.gb_second * regions,
        ),
        item(
            "metrics, alarms, key",
            (METRICS * PRICES.metric + ALARMS * PRICES.alarm + PRICES.key) * regions,
        ),
    ]
}

pub(super) fn total(items: &[Item]) -> f64 {
    items.iter().map(|item| item.dollars).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/costs.md");

    #[test]
    fn beats_dominate_the_cost_of_a_large_fleet() {
        let ten_minutes = Duration::from_mins(10);
        let dollars = |hosts, regions| total(&monthly(hosts, ten_minutes, regions));
        let beats = 1_000_000.0 * MONTH.as_secs_f64() / 600.0 / 1e6;
        assert!((dollars(1_000_000, 1) / (beats * 2.13) - 1.0).abs() < 0.02);
        assert!(dollars(1_000, 2) > dollars(1_000, 1) * 1.5 && dollars(0, 1) < 12.0);
    }

    #[test]
    fn docs_costs_md_has_the_same_totals() {
        let rows: Vec<_> = PAGE
            .lines()
            .filter(|line| line.contains(" hosts, "))
            .collect();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let numbers: Vec<u64> = row
                .split(['|', ' '])
                .filter_map(|word| word.replace(',', "").parse().ok())
                .collect();
            let [hosts, minutes, one, two] = numbers[..] else {
                panic!("{row}")
            };
            for (regions, expected) in [(1, one), (2, two)] {
                let dollars = total(&monthly(hosts, Duration::from_mins(minutes), regions)).round();
                assert_eq!(dollars.to_string(), expected.to_string(), "{row}");
            }
        }
    }

    #[test]
    fn docs_costs_md_has_the_same_prices() {
        let Prices {
            write_units,
            read_units,
            requests,
            starts,
            gb_second,
            log_gb,
            metric,
            alarm,
            key,
        } = PRICES;
        let cells = [
            format!("| {write_units} |"),
            format!("| {read_units} |"),
            format!("| {requests:.2} | million requests |"),
            format!("| {starts:.2}; {:.2} |", gb_second * 1e6),
            format!("| {log_gb:.2}; {metric:.2}; {alarm:.2} |"),
            format!("| {key:.2} |"),
        ];
        for cell in cells {
            assert!(PAGE.contains(&cell), "{cell}");
        }
    }
}
