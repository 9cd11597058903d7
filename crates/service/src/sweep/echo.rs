//! Echoes: the topic's own copies of notices, which settle publishes of unknown outcome.

use std::collections::HashSet;

use hb_domain::{Digest, Echoed, Entry, Subject};

use super::report::Step;
use super::{Pass, Stop, SweepReport};
use crate::ports::{Echo, PortError, PortResult};
use crate::swap::{Kept, Update, update};

/// Most batches of echoes in one sweep, so that a queue that fills as fast as it empties does not hold up a sweep.
const BATCHES: u32 = 1_000;

impl Pass<'_> {
    /// Records what the topic accepted. `thorough` when a notice may be published again that an echo would settle.
    ///
    /// An echo whose record cannot be read is skipped and comes again: once the record is restored, its notice is not
    /// sent a second time; once it is removed, the echo is of no notice any more.
    pub(super) async fn echoes(
        &self,
        thorough: bool,
        report: &mut SweepReport,
    ) -> Result<(), Stop> {
        // The queue may return what was skipped at once, or hide it for a time.
        let mut skipped = HashSet::new();
        for _ in 0..BATCHES {
            self.in_time()?;
            let page = self.sweep.ports.echoes.receive(thorough).await?;
            let mut news = false;
            for item in page.unreadable {
                if !skipped.contains(&item.key) {
                    news = true;
                    report.skip("queue echo", &item);
                    skipped.insert(item.key);
                }
            }
            // Only what is recorded: an echo that is lost here would become a second copy.
            let mut recorded = Vec::new();
            for echo in page.items {
                if skipped.contains(&echo.receipt) {
                    continue;
                }
                news = true;
                match self.echo(&echo).await {
                    Ok(step) => {
                        step.map_or(Ok(()), |step| report.count(step))?;
                        recorded.push(echo.receipt);
                    }
                    Err(error @ PortError::Unreadable { .. }) => {
                        report.count(Step::Failed(error))?;
                        skipped.insert(echo.receipt);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if !recorded.is_empty() {
                self.sweep.ports.echoes.acknowledge(&recorded).await?;
            }
            if !news {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn echo(&self, echo: &Echo) -> PortResult<Option<Step>> {
        let now = self.sweep.ports.clock.now();
        let attempt = echo.attempt;
        let (notice, step) = match &echo.subject {
            Subject::Host(key, epoch, id) => {
                let rule = |entry: Entry| entry.echoed(*epoch, id, attempt, now);
                let notice = format!("the notice of {key}, epoch {epoch}");
                (notice, self.record_echo(key, rule).await?)
            }
            Subject::Digest(id) => {
                let rule = |digest: Digest| digest.echoed(attempt, now);
                (format!("digest {id}"), self.record_echo(id, rule).await?)
            }
        };
        Ok(match step {
            Echoed::Accepted(()) => Some(Step::Echoed),
            Echoed::SecondCopy => Some(Step::SecondCopy(format!("{notice}: attempt {attempt}"))),
            Echoed::Known => None,
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
