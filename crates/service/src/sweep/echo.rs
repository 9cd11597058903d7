//! Echoes: the topic's own copies of notices, which close what nobody was sure of.

use hb_domain::{Echoed, Subject};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Echo, Ledger, PortError, PortResult, Record, Swap};
use crate::swap::swap;

/// Most batches of echoes in one sweep, so that a queue that fills as fast as it empties keeps no sweep.
const BATCHES: u32 = 1_000;
/// How often an echo is tried anew when the record changed meanwhile.
const TRIES: u32 = 5;

impl Pass<'_> {
    /// Takes in what the topic accepted.
    pub(super) async fn echoes(&self, report: &mut SweepReport) -> Result<(), Stop> {
        for _ in 0..BATCHES {
            self.in_time()?;
            let page = self.sweep.ports.echoes.receive().await?;
            page.unreadable
                .iter()
                .for_each(|item| report.skip("queue echo", item));
            if page.items.is_empty() {
                return Ok(());
            }
            for echo in &page.items {
                for step in self.echo(echo).await? {
                    report.count(step)?;
                }
            }
            // Only what is written down: an echo that is lost here would be a second copy.
            let receipts: Vec<_> = page.items.into_iter().map(|echo| echo.receipt).collect();
            self.sweep.ports.echoes.acknowledge(&receipts).await?;
        }
        Ok(())
    }

    async fn echo(&self, echo: &Echo) -> PortResult<Vec<Step>> {
        let now = self.sweep.ports.clock.now();
        let attempt = echo.attempt;
        let (name, step) = match &echo.subject {
            Subject::Host(key, epoch) => {
                let echoed = |entry: hb_domain::Entry| entry.echoed(*epoch, attempt, now);
                (
                    format!("the notice of {key}, epoch {epoch}"),
                    self.heard(&*self.sweep.ports.ledger, key, echoed).await?,
                )
            }
            Subject::Digest(id) => {
                let echoed = |digest: hb_domain::Digest| digest.echoed(attempt, now);
                (
                    format!("digest {id}"),
                    self.heard(&*self.sweep.ports.digests, id, echoed).await?,
                )
            }
        };
        Ok(match step {
            Echoed::Accepted(()) => vec![Step::Echoed],
            Echoed::SecondCopy => vec![Step::SecondCopy(format!("{name}: attempt {attempt}"))],
            Echoed::Known => vec![],
        })
    }

    /// What an echo came to; an error when the record goes on changing, so that it is not acknowledged.
    async fn heard<T: Record>(
        &self,
        ledger: &dyn Ledger<T>,
        key: &T::Key,
        echoed: impl Fn(T) -> Echoed<T>,
    ) -> PortResult<Echoed<()>> {
        let mut stored = ledger.load(key).await?;
        for _ in 0..TRIES {
            let Some(current) = stored else {
                return Ok(Echoed::Known);
            };
            let next = match echoed(current.record) {
                Echoed::Accepted(next) => next,
                Echoed::SecondCopy => return Ok(Echoed::SecondCopy),
                Echoed::Known => return Ok(Echoed::Known),
            };
            match swap(ledger, &*self.sweep.ports.ids, &next, Some(current.version)).await? {
                Swap::Done(_) => return Ok(Echoed::Accepted(())),
                Swap::Conflict(newer) => stored = newer,
            }
        }
        Err(PortError::unavailable(
            format!("{key} of table {}", T::TABLE),
            "it goes on changing",
        ))
    }
}
