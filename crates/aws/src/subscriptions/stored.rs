//! How a subscription is recorded in the table `system`.

use hb_domain::{Endpoint, Protocol, Subscription, Webhook};

use crate::item::{self, Cause};
use crate::records::NAME;
use crate::size::AttributeMap;

const PROTOCOL: &str = "protocol";
const ADDRESS: &str = "address";
const FILTER: &str = "filter";
const CREATED: &str = "created";
/// The ARN that SNS gave the subscription.
pub(super) const ARN: &str = "arn";

pub(crate) fn encode(subscription: &Subscription, arn: &str) -> Result<AttributeMap, Cause> {
    let filter = serde_json::to_string(&subscription.filter).map_err(|error| error.to_string())?;
    Ok(item::of([
        (
            PROTOCOL,
            item::text(subscription.endpoint.protocol().to_string()),
        ),
        (ADDRESS, item::text(subscription.endpoint.address())),
        (FILTER, item::text(filter)),
        (CREATED, item::instant(subscription.created)),
        (ARN, item::text(arn)),
    ]))
}

pub(crate) fn decode(item: &AttributeMap) -> Result<Subscription, Cause> {
    let protocol = serde_json::Value::from(item::get_text(item, PROTOCOL)?);
    let protocol: Protocol =
        serde_json::from_value(protocol).map_err(|error| item::wrong(PROTOCOL, error))?;
    // The parse error may quote the address, and a webhook's address is a secret.
    let endpoint = Endpoint::parse(protocol, item::get_text(item, ADDRESS)?)
        .map_err(|_| item::wrong(ADDRESS, format!("not an address of {protocol}")))?;
    Ok(Subscription {
        id: item::get_parsed(item, NAME)?,
        endpoint,
        filter: serde_json::from_str(item::get_text(item, FILTER)?)
            .map_err(|error| item::wrong(FILTER, error))?,
        // SNS signs by itself.
        webhook: Webhook::default(),
        created: item::get_instant(item, CREATED)?,
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::{Filter, Kind, Timestamp};

    use super::*;

    #[test]
    fn decode_inverts_encode_and_its_errors_hide_the_address() {
        let subscription = Subscription {
            id: "abc".parse().unwrap(),
            endpoint: Endpoint::parse(Protocol::Https, "https://example.com/s3cr3t").unwrap(),
            filter: Filter {
                kinds: vec![Kind::Missing],
                ..Filter::default()
            },
            webhook: Webhook::default(),
            created: Timestamp::MAX,
        };
        let mut item = encode(&subscription, "arn:1").unwrap();
        item.insert(NAME.to_owned(), item::text("abc"));
        assert_eq!(decode(&item).unwrap(), subscription);
        item.insert(PROTOCOL.to_owned(), item::text("email"));
        assert_eq!(
            decode(&item).unwrap_err(),
            "attribute address: not an address of email"
        );
    }
}
