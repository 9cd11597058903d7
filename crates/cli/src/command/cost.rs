//! `hb cost`: what a fleet costs on AWS. Does not connect to AWS.

mod model;
mod prices;

use hb_domain::Timestamp;
use serde::Serialize;

use self::model::{Fleet, Item, Month};
use self::prices::DATA;
use crate::args::Cost;
use crate::exit::Failure;
use crate::output::{self, Format, Row};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CostRow {
    /// What the cost is for, or `total`.
    item: &'static str,
    /// Absent from the total.
    amount: Option<f64>,
    unit: Option<&'static str>,
    dollars_a_month: f64,
}

impl CostRow {
    fn new(item: &Item) -> Self {
        Self {
            item: item.cause,
            amount: Some(rounded(item.amount, 3)),
            unit: Some(&item.price.unit),
            dollars_a_month: rounded(item.dollars, 2),
        }
    }
}

impl Row for CostRow {
    const HEAD: &'static [&'static str] = &["FOR", "      AMOUNT", "OF", "USD A MONTH"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let amount = self.amount.map(|amount| format!("{amount:>12.3}"));
        vec![
            self.item.to_owned(),
            amount.unwrap_or_default(),
            self.unit.unwrap_or_default().to_owned(),
            format!("{:>11.2}", self.dollars_a_month),
        ]
    }
}

fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

pub(crate) fn run(format: Format, cost: &Cost) -> Result<(), Failure> {
    let items = Month::of(&fleet(cost)).bill();
    output::rows(format, &rows(&items), Timestamp::MIN)?;
    output::remark(&remark(&items));
    Ok(())
}

fn fleet(cost: &Cost) -> Fleet {
    Fleet {
        hosts: cost.hosts,
        interval: cost.interval.duration(),
        regions: cost.in_regions,
        sweep_every: cost.sweep_every,
        keys: cost.keys,
        notices: cost.notices_a_month,
        sms: cost.sms_a_month,
        canaries: !cost.no_canaries,
        name: !cost.no_domain,
        edge: cost.edge,
    }
}

fn rows(items: &[Item]) -> Vec<CostRow> {
    let total = CostRow {
        item: "total",
        amount: None,
        unit: None,
        dollars_a_month: rounded(items.iter().map(|item| item.dollars).sum(), 2),
    };
    items.iter().map(CostRow::new).chain([total]).collect()
}

fn remark(items: &[Item]) -> String {
    format!(
        "list prices of {}, with their dates in docs/costs.md; what is free in every account would be {:.2} of it",
        DATA.region,
        model::free(items)
    )
}

#[cfg(test)]
mod tests;
