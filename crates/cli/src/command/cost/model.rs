//! The monthly use of each service by a fleet, and its cost. No I/O.
//!
//! `tests/aws` compares the use with what emulated AWS meters; `docs/costs.md` explains the figures.

use std::time::Duration;

use hb_domain::limits;

use super::prices::{Bytes, Counts, DATA, Price, Prices};

/// A month as AWS counts it: 730 hours.
const MONTH: Duration = Duration::from_hours(730);
const MINUTES: f64 = 730.0 * 60.0;
const DAYS: f64 = 730.0 / 24.0;
/// DynamoDB fetches the key of a table anew every five minutes, for each connection that is in use (developer guide,
/// "`DynamoDB` encryption at rest: How it works").
const KEY_PERIODS: f64 = MINUTES / 5.0;

/// Seconds that a warm beat takes, the network to DynamoDB included; a pass of the sweep without hosts and for each host, and
/// a start of it at most (`docs/development.md`); and three canaries.
const BEAT_SECONDS: f64 = 0.005;
const PASS_SECONDS: f64 = 1.5;
const HOST_SECONDS: f64 = 80e-6;
const SWEEP_SECONDS: f64 = 70.0;
const CANARY_SECONDS: f64 = 0.5;
/// Hosts beat by cron, so together: ten times as many environments as an even load needs.
const TOGETHER: f64 = 10.0;

/// Bytes that an eventually consistent scan reads for a unit; and its parts, each of which is at least half a unit.
const UNIT_BYTES: f64 = 8192.0;
const SEGMENTS: f64 = 4.0;
/// Units of a pass beside the scan: 19 queries of open records at a half, the last sweep and the checkpoint.
const PASS_READS: f64 = 11.5;
/// Units of a notice: claim, lease, release and, a minute later, a recheck, each in the ledger and in its index; and the record
/// of the fleet, likewise.
const NOTICE_WRITES: f64 = 10.0;
/// The host twice, its echo, and the open records once more, which 16 queries list; and the record of the fleet
/// in a minute of the trouble, in each of which a pass looks if people are to be reminded.
const NOTICE_READS: f64 = 15.0;
/// Requests to the queue for the echo of a notice: sent, received, deleted.
const ECHO: f64 = 3.0;
/// Requests to KMS for a notice: to encrypt, and to decrypt it (SNS developer guide, "Estimating AWS KMS costs").
const NOTICE_DECRYPTS: f64 = 2.0;
/// Tables that each function uses.
const INGEST_TABLES: f64 = 2.0;
const SWEEP_TABLES: f64 = 4.0;
/// What SNS may put before the text of an SMS: the topic's name, `Heartbeat> `.
const SMS_PREFIX: usize = 11;
/// Checkers in each region from which Route 53 checks: it has two ranges of addresses there.
const CHECKERS: f64 = 2.0;
/// DynamoDB adds so much to an item that it stores (developer guide, "`DynamoDB` item sizes and formats").
const ITEM_BYTES: f64 = 100.0;
/// What is left of a log that is kept (`CloudWatch` price page, its examples).
const COMPRESSED: f64 = 0.15;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) hosts: u64,
    /// Between two beats of a host.
    pub(crate) interval: Duration,
    pub(crate) regions: u8,
    pub(crate) sweep_every: Duration,
    pub(crate) keys: u64,
    pub(crate) notices: u64,
    pub(crate) sms: u64,
    pub(crate) canaries: bool,
    /// Whether the service has a name of its own, which Route 53 checks.
    pub(crate) name: bool,
    /// Whether `CloudFront` and WAF stand before it.
    pub(crate) edge: bool,
}

/// What happens in a month, in all regions together.
#[derive(Clone, Debug)]
pub(crate) struct Month {
    pub(crate) hosts: f64,
    pub(crate) regions: f64,
    pub(crate) keys: f64,
    pub(crate) beats: f64,
    /// Beats for which the key is read.
    pub(crate) key_reads: f64,
    /// Starts of the sweep, and its passes.
    pub(crate) sweeps: f64,
    pub(crate) passes: f64,
    /// Starts of the function that sends canaries.
    pub(crate) canaries: f64,
    /// Requests of Route 53.
    pub(crate) checks: f64,
    pub(crate) notices: f64,
    pub(crate) sms: f64,
    /// Of `ingest`.
    pub(crate) environments: f64,
    pub(crate) name: bool,
    pub(crate) edge: bool,
}

impl Month {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let (hosts, keys) = (fleet.hosts as f64, fleet.keys as f64);
        let regions = f64::from(fleet.regions);
        let beats = hosts * MONTH.as_secs_f64() / fleet.interval.as_secs_f64();
        let together = beats / MONTH.as_secs_f64() * BEAT_SECONDS * TOGETHER;
        let environments = together.ceil().max(regions);
        let sweeps = MINUTES * regions;
        let asked = 60.0 / fleet.sweep_every.as_secs_f64();
        let fit = SWEEP_SECONDS / pass_seconds(hosts);
        let counts = &DATA.counts;
        let checks =
            f64::from(counts.checking_regions) * CHECKERS / f64::from(counts.check_seconds);
        Self {
            hosts,
            regions,
            keys,
            beats,
            key_reads: beats.min(keys * environments * MINUTES),
            sweeps,
            passes: sweeps * asked.min(fit).ceil(),
            canaries: if fleet.canaries { sweeps } else { 0.0 },
            checks: if fleet.name {
                checks * MONTH.as_secs_f64() * regions
            } else {
                0.0
            },
            notices: fleet.notices as f64,
            sms: fleet.sms as f64,
            environments,
            name: fleet.name,
            edge: fleet.edge,
        }
    }

    /// Each use of a service that costs something, with its cause.
    pub(crate) fn bill(&self) -> Vec<Item> {
        let mut bill = Bill {
            month: self,
            counts: &DATA.counts,
            bytes: &DATA.bytes,
            prices: &DATA.prices,
            uses: Vec::new(),
        };
        bill.beats();
        bill.sweeps();
        bill.canaries();
        bill.checks();
        bill.notices();
        bill.edge();
        bill.standing();
        bill.items()
    }
}

/// A line of the bill.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) cause: &'static str,
    pub(crate) price: &'static Price,
    /// Of the price's units.
    pub(crate) amount: f64,
    pub(crate) dollars: f64,
}

/// What AWS gives for nothing of this, if the account uses it for nothing else.
pub(crate) fn free(items: &[Item]) -> f64 {
    let of_one = |item: &Item| {
        let all = total(items, item.price);
        item.price.free.min(all) * item.price.dollars * item.amount / all
    };
    items.iter().map(of_one).sum()
}

fn total(items: &[Item], price: &Price) -> f64 {
    let same = items.iter().filter(|item| item.price.unit == price.unit);
    same.map(|item| item.amount).sum()
}

fn pass_seconds(hosts: f64) -> f64 {
    PASS_SECONDS + hosts * HOST_SECONDS
}

/// How many messages the text of an SMS takes: 160 characters of GSM 03.38, or 153 in each of several.
pub(crate) fn parts(characters: usize) -> usize {
    if characters <= 160 {
        1
    } else {
        characters.div_ceil(153)
    }
}

struct Bill<'a> {
    month: &'a Month,
    counts: &'static Counts,
    bytes: &'static Bytes,
    prices: &'static Prices,
    uses: Vec<(&'static str, &'static Price, f64)>,
}

impl Bill<'_> {
    /// Adds to the uses of one cause.
    fn add<const N: usize>(&mut self, cause: &'static str, uses: [(&'static Price, f64); N]) {
        self.uses
            .extend(uses.map(|(price, number)| (cause, price, number)));
    }

    /// Seconds of a function, in GB-seconds.
    fn time(&self, seconds: f64) -> (&'static Price, f64) {
        let memory = f64::from(self.counts.memory_mb) / 1024.0;
        (&self.prices.time, seconds * memory)
    }

    fn beats(&mut self) {
        let m = self.month;
        let (p, bytes) = (self.prices, self.bytes);
        let out = if m.edge { &p.cdn_out } else { &p.out };
        self.add(
            "beats",
            [
                (&p.writes, m.beats * m.regions),
                (&p.reads, m.key_reads),
                (&p.requests, m.beats),
                (&p.starts, m.beats),
                self.time(m.beats * BEAT_SECONDS),
                (&p.logged, m.beats * (bytes.gateway_line + bytes.beat_line)),
                (out, m.beats * (bytes.answer + bytes.handshake)),
                (&p.between, m.beats * bytes.heartbeat * (m.regions - 1.0)),
            ],
        );
        // The day of their last use.
        self.add("keys", [(&p.writes, m.keys * DAYS * m.regions)]);
    }

    fn sweeps(&mut self) {
        let m = self.month;
        let p = self.prices;
        let scan = (m.hosts * self.bytes.heartbeat / UNIT_BYTES).max(SEGMENTS / 2.0);
        let seconds = m.passes * pass_seconds(m.hosts);
        self.add(
            "sweeps",
            [
                (&p.reads, m.passes * (scan + PASS_READS)),
                (&p.writes, m.passes),
                (&p.queue, m.passes),
                (&p.starts, m.sweeps),
                (&p.schedules, m.sweeps),
                self.time(seconds.min(m.sweeps * SWEEP_SECONDS)),
                (&p.logged, m.passes * self.bytes.pass_line),
            ],
        );
    }

    fn canaries(&mut self) {
        let m = self.month;
        let (p, bytes) = (self.prices, self.bytes);
        let beats = f64::from(limits::CANARIES) * m.canaries;
        let line = bytes.gateway_line + bytes.beat_line;
        self.add(
            "canaries",
            [
                // The record of the receiver, and its place in the index.
                (&p.writes, (beats + 2.0 * m.canaries) * m.regions),
                // It is read before it is written, and by each pass.
                (&p.reads, m.canaries + m.passes * m.canaries / m.sweeps),
                (&p.requests, beats),
                (&p.starts, beats + m.canaries),
                (&p.schedules, m.canaries),
                self.time(beats * BEAT_SECONDS + m.canaries * CANARY_SECONDS),
                (&p.logged, beats * line + m.canaries * bytes.canary_line),
            ],
        );
    }

    /// Of Route 53: `ingest` answers them, after a look at table and topic if there was none for 30 s.
    fn checks(&mut self) {
        let (checks, p, bytes) = (self.month.checks, self.prices, self.bytes);
        self.add(
            "checks",
            [
                (&p.writes, checks),
                (&p.publishes, checks),
                (&p.requests, checks),
                (&p.starts, checks),
                self.time(checks * BEAT_SECONDS),
                (&p.logged, checks * (bytes.gateway_line + bytes.beat_line)),
                (&p.out, checks * (bytes.answer + bytes.handshake)),
            ],
        );
    }

    fn notices(&mut self) {
        let m = self.month;
        let p = self.prices;
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let parts = parts(limits::SMS_BYTES + SMS_PREFIX) as f64;
        self.add(
            "notices",
            [
                (&p.writes, m.notices * NOTICE_WRITES * m.regions),
                (&p.reads, m.notices * NOTICE_READS),
                (&p.publishes, m.notices),
                (&p.queue, m.notices * ECHO),
                (&p.decrypts, m.notices * NOTICE_DECRYPTS),
                (&p.emails, m.notices),
                (&p.sms, m.sms * parts),
            ],
        );
    }

    fn edge(&mut self) {
        let m = self.month;
        if !m.edge {
            return;
        }
        let p = self.prices;
        let rules = f64::from(self.counts.edge_rules);
        self.add(
            "edge",
            [
                (&p.acls, 1.0),
                (&p.rules, rules),
                (&p.inspections, m.beats),
                (&p.cdn_requests, m.beats),
                (&p.alarms, f64::from(self.counts.edge_alarms)),
            ],
        );
    }

    /// What stands there whether anything happens or not.
    fn standing(&mut self) {
        let month = self.month;
        let (p, counts, bytes) = (self.prices, self.counts, self.bytes);
        let regions = month.regions;
        let each = |count: u32| f64::from(count) * regions;
        let once = |there: bool, count: f64| if there { count } else { 0.0 };
        let canaries = month.canaries > 0.0;
        let items = bytes.heartbeat + bytes.entry + 2.0 * ITEM_BYTES;
        let logs = |(_, price, _): &&(_, &Price, _)| price.unit == p.logged.unit;
        let logged: f64 = self
            .uses
            .iter()
            .filter(logs)
            .map(|(_, _, bytes)| bytes)
            .sum();
        let kept = logged * COMPRESSED * f64::from(counts.log_days) / DAYS;
        let callers =
            month.environments * INGEST_TABLES + regions * SWEEP_TABLES + once(canaries, regions);
        let stored = month.hosts * items * regions;
        let of = |there: bool, count: u32| if there { count } else { 0 };
        let alarms = counts.alarms
            - of(!canaries, counts.canary_alarms)
            - of(!canaries || regions < 2.0, counts.other_region_alarms);
        let composites = counts.composites - of(!canaries, counts.canary_composites);
        let edge_stack = once(month.name || month.edge, f64::from(counts.edge_keys));
        self.add(
            "fixed",
            [
                (&p.stored, stored),
                (&p.restorable, stored),
                (&p.kept, kept),
                (&p.metrics, each(counts.metrics + counts.reasons)),
                (&p.alarms, each(alarms) + once(month.name, regions)),
                (&p.composites, each(composites)),
                (&p.dashboards, each(counts.dashboards)),
                (&p.keys, each(counts.keys) + edge_stack),
                (&p.decrypts, callers * KEY_PERIODS),
                (&p.zones, once(month.name, 1.0)),
                (&p.checks, once(month.name, regions)),
                (&p.https, once(month.name, regions)),
            ],
        );
    }

    /// The uses that there are, each with its part of what all of its kind cost.
    fn items(self) -> Vec<Item> {
        let regions = self.month.regions;
        let item = |(cause, price, number): (&'static str, &'static Price, f64)| Item {
            cause,
            price,
            amount: number / price.per,
            dollars: 0.0,
        };
        let used = self.uses.into_iter().filter(|(_, _, number)| *number > 0.0);
        let mut items: Vec<_> = used.map(item).collect();
        for at in 0..items.len() {
            let all = total(&items, items[at].price);
            let Item { price, amount, .. } = items[at];
            items[at].dollars = price.of(all / regions) * regions * amount / all;
        }
        items
    }
}
