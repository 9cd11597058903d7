//! `hb cost`: what a fleet costs on AWS. Does not connect to AWS.

mod prices;

use hb_domain::Timestamp;
use serde::Serialize;

use self::prices::Item;
use crate::args::Cost;
use crate::exit::Failure;
use crate::output::{self, Format, Row};

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
