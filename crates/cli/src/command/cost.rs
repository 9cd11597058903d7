//! `hb cost`: what a fleet would cost on AWS.

use std::time::Duration;

use clap::Args;
use hb_domain::Timestamp;
use serde::Serialize;

use crate::args::{Format, duration};
use crate::exit::Failure;
use crate::output::{self, Row};
use crate::prices::{self, Item};

/// A fleet.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// How many hosts.
    #[arg(long, value_name = "N")]
    hosts: u64,
    /// How often each of them beats.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    interval: Duration,
    /// In how many regions, 1 or 2.
    #[arg(long = "regions", value_name = "R", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    in_regions: u8,
}

/// A line of the bill as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CostRow {
    item: &'static str,
    dollars_a_month: f64,
}

impl CostRow {
    fn new(Item { what, dollars }: &Item) -> Self {
        Self {
            item: what,
            dollars_a_month: (dollars * 100.0).round() / 100.0,
        }
    }
}

impl Row for CostRow {
    const HEAD: &'static [&'static str] = &["ITEM", "USD A MONTH"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        vec![self.item.to_owned(), format!("{:.2}", self.dollars_a_month)]
    }
}

/// Runs the command; nothing is asked of AWS.
pub(crate) fn run(format: Format, cost: &Cost) -> Result<(), Failure> {
    let mut items = prices::monthly(cost.hosts, cost.interval, cost.in_regions);
    items.push(Item {
        what: "total",
        dollars: prices::total(&items),
    });
    let rows: Vec<_> = items.iter().map(CostRow::new).collect();
    output::rows(format, &rows, Timestamp::MIN)?;
    output::remark(prices::SOURCE);
    Ok(())
}
