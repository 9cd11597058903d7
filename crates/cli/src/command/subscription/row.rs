//! A subscription as it is shown.

use std::collections::BTreeMap;

use hb_domain::{HostPrefix, Kind, Protocol, Region, Severity, Subscription, Timestamp};
use hb_service::ports::Tally;
use serde::Serialize;

use crate::output::{Row, or_dash};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionRow {
    id: String,
    protocol: Protocol,
    endpoint: String,
    fleet: Option<String>,
    kinds: Vec<Kind>,
    severities: Vec<Severity>,
    host_prefixes: Vec<HostPrefix>,
    created: String,
    /// By region: its state, or what was just done.
    regions: BTreeMap<Region, String>,
    /// Of a webhook on one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<WebhookRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Tally>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookRow {
    signed: bool,
    allow_private: bool,
}

/// What was added, with the secret that is shown once.
#[derive(Serialize)]
pub(super) struct NewSubscription {
    #[serde(flatten)]
    pub(super) row: SubscriptionRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl SubscriptionRow {
    pub(super) fn new(
        subscription: &Subscription,
        regions: BTreeMap<Region, String>,
        local: bool,
        deliveries: Option<Tally>,
    ) -> Self {
        let Subscription {
            id,
            endpoint,
            filter,
            webhook,
            created,
        } = subscription;
        let is_webhook = local && endpoint.protocol().is_webhook();
        Self {
            id: id.to_string(),
            protocol: endpoint.protocol(),
            endpoint: endpoint.address().to_owned(),
            fleet: filter.fleet.as_ref().map(ToString::to_string),
            kinds: filter.kinds.clone(),
            severities: filter.severities.clone(),
            host_prefixes: filter.host_prefixes.clone(),
            created: created.to_string(),
            regions,
            webhook: is_webhook.then(|| WebhookRow {
                signed: webhook.secret().is_some(),
                allow_private: webhook.allow_private,
            }),
            deliveries,
        }
    }

    /// `confirmed`, or region by region where they differ.
    fn state(&self) -> String {
        let mut states: Vec<_> = self.regions.values().collect();
        states.dedup();
        match states[..] {
            [same] => same.clone(),
            _ => self
                .regions
                .iter()
                .map(|(region, state)| format!("{region} {state}"))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

impl Row for SubscriptionRow {
    const HEAD: &'static [&'static str] = &[
        "ID",
        "PROTOCOL",
        "ENDPOINT",
        "FLEET",
        "KINDS",
        "SEVERITY",
        "HOSTS",
        "STATE",
        "DELIVERED",
        "DUE",
        "DEAD",
        "LAST ERROR",
    ];

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let all_or = |names: Vec<&str>| {
            if names.is_empty() {
                "all".to_owned()
            } else {
                names.join(",")
            }
        };
        let count = |of: fn(&Tally) -> u64| {
            or_dash(self.deliveries.as_ref().map(|tally| of(tally).to_string()))
        };
        let error = or_dash(
            self.deliveries
                .as_ref()
                .and_then(|tally| tally.last_error.clone()),
        );
        let is_unsigned = self.webhook.as_ref().is_some_and(|webhook| !webhook.signed);
        let unsigned = if is_unsigned { ", unsigned" } else { "" };
        let kinds = self.kinds.iter().map(|kind| kind.as_str());
        let severities = self.severities.iter().map(|severity| severity.as_str());
        vec![
            self.id.clone(),
            self.protocol.to_string(),
            self.endpoint.clone(),
            self.fleet.clone().unwrap_or_else(|| "all".to_owned()),
            all_or(kinds.collect()),
            all_or(severities.collect()),
            all_or(self.host_prefixes.iter().map(HostPrefix::as_str).collect()),
            self.state() + unsigned,
            count(|tally| tally.delivered),
            count(|tally| tally.due),
            count(|tally| tally.dead),
            error,
        ]
    }
}
