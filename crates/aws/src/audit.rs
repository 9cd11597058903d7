//! What admins did, in DynamoDB.

use async_trait::async_trait;
use hb_domain::{Act, ActId, Timestamp};
use hb_service::ports::{Audit, Cursor, Page, PortError, PortResult};
use tracing::instrument;

use crate::client::Clients;
use crate::cursor;
use crate::item::{self, Cause};
use crate::names::Stage;
use crate::records::Records;
use crate::size::AttributeMap;

/// The kind of the records of acts: admins have a permission of its own for it, and no function has any.
pub const AUDIT: &str = "audit";
/// When DynamoDB deletes an item, in seconds since 1970.
pub const EXPIRY: &str = "ttl";

/// As JSON.
const ACT: &str = "act";

/// The acts of admins on a stage, in the region of the clients.
#[derive(Clone, Debug)]
pub struct DynamoAudit {
    acts: Records,
}

impl DynamoAudit {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            acts: Records::new(clients, stage, AUDIT),
        }
    }
}

#[async_trait]
impl Audit for DynamoAudit {
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(act = %act.kind))]
    async fn record(&self, act: &Act) -> PortResult<()> {
        let id = act.id.as_str();
        let item = encode(act).map_err(|error| PortError::unreadable("table system", id, error))?;
        let new = "attribute_not_exists(#name)";
        self.acts.put(id, item, new, None).await.map(drop)
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, since: Timestamp, after: Option<Cursor>) -> PortResult<Page<Act>> {
        let after = after.unwrap_or_else(|| cursor::behind(&[&ActId::before(since)]));
        self.acts.page(Some(after), decode).await
    }
}

pub(crate) fn encode(act: &Act) -> Result<AttributeMap, serde_json::Error> {
    let text = serde_json::to_string(act)?;
    let expiry = act.kept_until().as_millis() / 1_000;
    Ok(item::of([
        (ACT, item::text(text)),
        (EXPIRY, item::number(expiry)),
    ]))
}

pub(crate) fn decode(item: &AttributeMap) -> Result<Act, Cause> {
    serde_json::from_str(item::get_text(item, ACT)?).map_err(|error| item::wrong(ACT, error))
}

#[cfg(test)]
mod tests {
    use hb_domain::{ActKind, Who};

    use super::*;

    #[test]
    fn decode_inverts_encode_and_an_act_expires_400_days_later_in_seconds() {
        let at = Timestamp::from_millis(1_700_000_000_999).unwrap();
        let act = Act {
            id: ActId::new(at, 0, [7; 8]),
            at,
            who: Who::new("arn:aws:iam::1:user/a"),
            kind: ActKind::KeyRevoke,
            target: "aaaaaaaaaa".to_owned(),
            old: None,
            new: None,
        };
        let mut item = encode(&act).unwrap();
        assert_eq!(decode(&item).unwrap(), act);
        let expiry: i64 = item::get_number(&item, EXPIRY).unwrap();
        assert_eq!(expiry, 1_700_000_000 + 400 * 86_400);
        item.insert(ACT.to_owned(), item::text("{"));
        assert!(decode(&item).unwrap_err().starts_with("attribute act: "));
    }
}
