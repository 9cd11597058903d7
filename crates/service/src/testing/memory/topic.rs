use std::collections::btree_map::Entry;

use async_trait::async_trait;
use hb_domain::{Notice, Publication};

use super::Memory;
use crate::ports::{Echo, Echoes, Page, PortResult, Topic};

#[async_trait]
impl Topic for Memory {
    async fn publish(&self, notice: &Notice) -> Publication {
        let mut tables = match self.call("topic") {
            Ok(tables) => tables,
            Err(error) => return Publication::Refused(error.to_string()),
        };
        tables.published.push(notice.clone());
        let outcome = if tables.outcomes.is_empty() {
            Publication::Accepted
        } else {
            tables.outcomes.remove(0)
        };
        if outcome == Publication::Accepted {
            let receipt = tables.published.len().to_string();
            tables.echoes.push(Echo {
                subject: notice.subject(),
                attempt: notice.attempt,
                receipt,
            });
            if let Entry::Vacant(first) = tables.accepted.entry(notice.identity()) {
                first.insert(notice.clone());
                tables.deliver(notice);
                self.added.notify_one();
            }
        }
        outcome
    }

    async fn check(&self) -> PortResult<()> {
        self.call("topic").map(|_| ())
    }
}

#[async_trait]
impl Echoes for Memory {
    async fn receive(&self, _: bool) -> PortResult<Page<Echo>> {
        let items = self.call("queue echo")?.echoes.clone();
        Ok(Page {
            items,
            ..Page::default()
        })
    }

    async fn acknowledge(&self, receipts: &[String]) -> PortResult<()> {
        self.call("queue echo")?
            .echoes
            .retain(|echo| !receipts.contains(&echo.receipt));
        Ok(())
    }
}
