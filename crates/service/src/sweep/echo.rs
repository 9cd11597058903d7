//! Echoes: the topic's own copies of notices, which settle publishes of unknown outcome.

use hb_domain::{Digest, Echoed, Entry, Subject};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Echo, PortResult};
use crate::swap::{Kept, Update, update};

/// Most batches of echoes in one sweep, so that a queue that fills as fast as it empties does not hold up a sweep.
const BATCHES: u32 = 1_000;

impl Pass<'_> {
    /// Records what the topic accepted.
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
            // Only what is recorded: an echo that is lost here would become a second copy.
            let receipts: Vec<_> = page.items.into_iter().map(|echo| echo.receipt).collect();
            self.sweep.ports.echoes.acknowledge(&receipts).await?;
        }
        Ok(())
    }

    async fn echo(&self, echo: &Echo) -> PortResult<Vec<Step>> {
        let now = self.sweep.ports.clock.now();
        let attempt = echo.attempt;
        let (notice, step) = match &echo.subject {
            Subject::Host(key, epoch) => {
                let rule = |entry: Entry| entry.echoed(*epoch, attempt, now);
                let notice = format!("the notice of {key}, epoch {epoch}");
                (notice, self.record_echo(key, rule).await?)
            }
            Subject::Digest(id) => {
                let rule = |digest: Digest| digest.echoed(attempt, now);
                (format!("digest {id}"), self.record_echo(id, rule).await?)
            }
        };
        Ok(match step {
            Echoed::Accepted(()) => vec![Step::Echoed],
            Echoed::SecondCopy => vec![Step::SecondCopy(format!("{notice}: attempt {attempt}"))],
            Echoed::Known => vec![],
        })
    }

    /// What an echo came to. It is an error, so that the echo is not acknowledged, when others change the record at
    /// every try.
    async fn record_echo<T: Kept>(
        &self,
        key: &T::Key,
        rule: impl Fn(T) -> Echoed<T>,
    ) -> PortResult<Echoed<()>> {
        let rule = |current: Option<T>| match current.map_or(Echoed::Known, &rule) {
            Echoed::Accepted(next) => Ok(next),
            Echoed::SecondCopy => Err(Echoed::SecondCopy),
            Echoed::Known => Err(Echoed::Known),
        };
        match update(&self.sweep.ports, key, rule).await? {
            Update::Done(_) => Ok(Echoed::Accepted(())),
            Update::Declined(_, echoed) => Ok(echoed),
            Update::Contended(error) => Err(error),
        }
    }
}
