//! `hb subscription`.

use hb_domain::{Endpoint, Filter, Kind, Protocol, Subscription, Timestamp};
use hb_service::manage::every_page;
use hb_service::ports::Tally;
use serde::Serialize;

use super::tell_unreadable;
use crate::args::{Format, ProtocolArg, SubscriptionCommand};
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Row, or_dash};

/// A subscription as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionRow {
    id: String,
    protocol: Protocol,
    endpoint: String,
    fleet: Option<String>,
    kinds: Vec<Kind>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Tally>,
}

impl SubscriptionRow {
    fn new(subscription: &Subscription, deliveries: Option<Tally>) -> Self {
        let Subscription { id, endpoint, filter, created } = subscription;
        Self {
            id: id.to_string(),
            protocol: endpoint.protocol(),
            endpoint: endpoint.address().to_owned(),
            fleet: filter.fleet.as_ref().map(ToString::to_string),
            kinds: filter.kinds.clone(),
            created: created.to_string(),
            deliveries,
        }
    }
}

impl Row for SubscriptionRow {
    const HEAD: &'static [&'static str] =
        &["ID", "PROTOCOL", "ENDPOINT", "FLEET", "KINDS", "DELIVERED", "DUE", "DEAD", "LAST ERROR"];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = if kinds.is_empty() { "all".to_owned() } else { kinds.join(",") };
        let fleet = self.fleet.clone().unwrap_or_else(|| "all".to_owned());
        let count =
            |of: fn(&Tally) -> u64| or_dash(self.deliveries.as_ref().map(|tally| of(tally).to_string()));
        let error = or_dash(self.deliveries.as_ref().and_then(|tally| tally.last_error.clone()));
        vec![
            self.id.clone(),
            self.protocol.to_string(),
            self.endpoint.clone(),
            fleet,
            kinds,
            count(|tally| tally.delivered),
            count(|tally| tally.due),
            count(|tally| tally.dead),
            error,
        ]
    }
}

pub(crate) async fn run(
    backend: &Backend,
    format: Format,
    command: SubscriptionCommand,
) -> Result<(), Failure> {
    match command {
        SubscriptionCommand::Add { protocol, endpoint, fleet, kinds } => {
            let protocol = match protocol {
                ProtocolArg::Email => Protocol::Email,
                ProtocolArg::Sms => Protocol::Sms,
                ProtocolArg::Http => Protocol::Http,
                ProtocolArg::Https => Protocol::Https,
                ProtocolArg::Sqs => Protocol::Sqs,
            };
            (backend.supports)(protocol)?;
            let endpoint = Endpoint::parse(protocol, &endpoint)?;
            let subscription = backend.manager.subscribe(endpoint, Filter { fleet, kinds }).await?;
            output::one(format, subscription.id.as_str(), &SubscriptionRow::new(&subscription, None))?;
            if protocol == Protocol::Email {
                output::remark("e-mails go out while `hb serve` runs with --smtp-url");
            }
        }
        SubscriptionCommand::List => {
            let (subscriptions, unreadable) = every_page(|after| backend.subscriptions.list(after)).await?;
            tell_unreadable("subscription", &unreadable);
            let mut tally = match &backend.deliveries {
                Some(deliveries) => Some(deliveries.tally().await?),
                None => None,
            };
            let mut deliveries = |id| tally.as_mut().map(|tally| tally.remove(id).unwrap_or_default());
            let rows: Vec<_> =
                subscriptions.iter().map(|s| SubscriptionRow::new(s, deliveries(&s.id))).collect();
            output::rows(format, &rows, backend.manager.clock.now())?;
        }
        SubscriptionCommand::Remove { id } => {
            if !backend.subscriptions.remove(&id).await? {
                return Err(Failure::NoSuchSubscription(id.to_string()));
            }
            output::one(format, &format!("removed {id}"), &serde_json::json!({ "removed": id }))?;
        }
    }
    Ok(())
}
