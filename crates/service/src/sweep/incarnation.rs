//! The incarnation of the stored data, which is part of the ids of notices.

use hb_domain::{Entry, Incarnation};

use super::Pass;
use crate::ports::{PortError, PortResult, Record};
use crate::swap::{Update, update};

impl Pass<'_> {
    /// The claim with the incarnation of the stored data in its notice.
    pub(super) async fn of_incarnation(&self, claim: Entry) -> PortResult<Entry> {
        let incarnation = self.incarnation.get_or_try_init(|| self.draw_incarnation());
        Ok(match incarnation.await? {
            Some(incarnation) => claim.of_incarnation(incarnation),
            None => claim,
        })
    }

    /// The incarnation of the stored data, drawn now if there is none. One that cannot be read is left out: that stops no
    /// notice.
    async fn draw_incarnation(&self) -> PortResult<Option<Incarnation>> {
        let ports = &self.sweep.ports;
        let drawn = Incarnation {
            id: ports.ids.token(),
        };
        let rule = |known: Option<Incarnation>| match known {
            None => Ok(drawn.clone()),
            Some(known) => Err(known),
        };
        match update(ports, drawn.key(), rule).await {
            Ok(Update::Done(stored)) => Ok(Some(stored.record)),
            Ok(Update::Declined(_, known)) => Ok(Some(known)),
            Err(error @ PortError::Unreadable { .. }) => {
                tracing::error!("ids of notices are as of an earlier version: {error}");
                Ok(None)
            }
            Ok(Update::Contended(error)) | Err(error) => Err(error),
        }
    }
}
