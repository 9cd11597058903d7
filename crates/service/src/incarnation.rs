//! The incarnation of the stored data, which is part of the ids of notices, and tells a database from any other.

use hb_domain::Incarnation;

use crate::ports::{PortError, PortResult, Ports, Record};
use crate::swap::{Update, update};

/// The incarnation of the stored data, drawn now if there is none. One that cannot be read is left out: that stops no
/// notice.
pub async fn incarnation(ports: &Ports) -> PortResult<Option<Incarnation>> {
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
