//! What AWS charges, and what the templates have of it: one file, which tests hold against the page and the templates.

use std::sync::LazyLock;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Data {
    /// Where these prices apply.
    pub(crate) region: String,
    pub(crate) counts: Counts,
    pub(crate) bytes: Bytes,
    pub(crate) prices: Prices,
}

/// How many of a thing a stage has in a region.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Counts {
    pub(crate) metrics: u32,
    /// For which refused beats are counted besides: a metric each, as long as there are any.
    pub(crate) reasons: u32,
    pub(crate) alarms: u32,
    /// Of these, those of canaries, and those of the other region's canaries.
    pub(crate) canary_alarms: u32,
    pub(crate) other_region_alarms: u32,
    pub(crate) composites: u32,
    pub(crate) canary_composites: u32,
    pub(crate) dashboards: u32,
    pub(crate) keys: u32,
    /// What `edge.yaml` has, once.
    pub(crate) edge_keys: u32,
    pub(crate) edge_alarms: u32,
    pub(crate) edge_rules: u32,
    /// From where Route 53 checks, and how often each of its checkers does.
    pub(crate) checking_regions: u32,
    pub(crate) check_seconds: u32,
    pub(crate) memory_mb: u32,
    pub(crate) log_days: u32,
}

/// How large a thing is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Bytes {
    /// The answer to a beat, with its headers, in TLS.
    pub(crate) answer: f64,
    /// What the gateway sends in a handshake of TLS: mostly Amazon's certificates. `curl` makes one for each beat.
    pub(crate) handshake: f64,
    /// Lines of the log: of the gateway for a request, and of metrics for a beat, a pass of the sweep, and canaries.
    pub(crate) gateway_line: f64,
    pub(crate) beat_line: f64,
    pub(crate) pass_line: f64,
    pub(crate) canary_line: f64,
    /// Items of a host, of which DynamoDB stores 100 bytes more.
    pub(crate) heartbeat: f64,
    pub(crate) entry: f64,
}

/// Besides, the file has for each what the page says of it, and when and where it was looked up. Without a source it is of
/// 2025, and nothing newer was found.
#[derive(Debug, Deserialize)]
pub(crate) struct Price {
    /// What is counted.
    pub(crate) unit: String,
    /// How many a unit has.
    pub(crate) per: f64,
    /// Of a unit, in US dollars.
    pub(crate) dollars: f64,
    /// The price from this many units a month and region on.
    #[serde(default)]
    pub(crate) then: Vec<(f64, f64)>,
    /// So many units a month cost no account anything, however old it is.
    #[serde(default)]
    pub(crate) free: f64,
}

impl Price {
    /// What so many units cost in one region.
    pub(crate) fn of(&self, units: f64) -> f64 {
        let starts = std::iter::once((0.0, self.dollars)).chain(self.then.iter().copied());
        let ends = self.then.iter().map(|(from, _)| *from);
        starts
            .zip(ends.chain([f64::INFINITY]))
            .map(|((from, dollars), to)| (units.min(to) - from).max(0.0) * dollars)
            .sum()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) writes: Price,
    pub(crate) reads: Price,
    pub(crate) stored: Price,
    pub(crate) restorable: Price,
    pub(crate) requests: Price,
    pub(crate) starts: Price,
    pub(crate) time: Price,
    pub(crate) logged: Price,
    pub(crate) kept: Price,
    pub(crate) metrics: Price,
    pub(crate) alarms: Price,
    pub(crate) composites: Price,
    pub(crate) dashboards: Price,
    pub(crate) keys: Price,
    pub(crate) decrypts: Price,
    pub(crate) publishes: Price,
    pub(crate) emails: Price,
    pub(crate) sms: Price,
    pub(crate) queue: Price,
    pub(crate) schedules: Price,
    pub(crate) zones: Price,
    pub(crate) checks: Price,
    pub(crate) https: Price,
    pub(crate) out: Price,
    pub(crate) between: Price,
    pub(crate) cdn_requests: Price,
    pub(crate) cdn_out: Price,
    pub(crate) acls: Price,
    pub(crate) rules: Price,
    pub(crate) inspections: Price,
}

/// The file. A test reads it, so that it can be read.
pub(crate) static DATA: LazyLock<Data> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json")).expect("prices.json has these members")
});
