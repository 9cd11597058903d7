//! `hb subscription`.

use std::collections::BTreeMap;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Kind, Protocol, Region, Severity, Subscription,
    SubscriptionId, SubscriptionState, Timestamp,
};
use hb_service::admin::{Added, InRegion, Subscribed, SubscriptionView};
use hb_service::ports::{PortError, Tally};
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
    severities: Vec<Severity>,
    created: String,
    /// In each region: how it stands, or what was just done.
    regions: BTreeMap<Region, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Tally>,
}

impl SubscriptionRow {
    fn new(
        subscription: &Subscription,
        regions: BTreeMap<Region, String>,
        deliveries: Option<Tally>,
    ) -> Self {
        let Subscription {
            id,
            endpoint,
            filter,
            created,
        } = subscription;
        Self {
            id: id.to_string(),
            protocol: endpoint.protocol(),
            endpoint: endpoint.address().to_owned(),
            fleet: filter.fleet.as_ref().map(ToString::to_string),
            kinds: filter.kinds.clone(),
            severities: filter.severities.clone(),
            created: created.to_string(),
            regions,
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
        vec![
            self.id.clone(),
            self.protocol.to_string(),
            self.endpoint.clone(),
            self.fleet.clone().unwrap_or_else(|| "all".to_owned()),
            all_or(self.kinds.iter().map(|kind| kind.as_str()).collect()),
            all_or(
                self.severities
                    .iter()
                    .map(|severity| severity.as_str())
                    .collect(),
            ),
            self.state(),
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
        SubscriptionCommand::Add {
            protocol,
            endpoint,
            fleet,
            kinds,
            severities,
        } => {
            add(
                backend,
                format,
                protocol,
                &endpoint,
                Filter {
                    fleet,
                    kinds,
                    severities,
                },
            )
            .await
        }
        SubscriptionCommand::List => list(backend, format).await,
        SubscriptionCommand::Confirm { token } => {
            let token = token.trim().parse::<ConfirmationToken>()?;
            let regions = backend.subscribers().await?.confirm(&token).await;
            let word = |confirmed: &bool| {
                if *confirmed {
                    "confirmed"
                } else {
                    "not sent there"
                }
            };
            let RegionResults { regions, failure } = tell(regions, word)?;
            if !regions.values().any(|confirmed| *confirmed) {
                return Err(failure.unwrap_or(Failure::NotConfirmed));
            }
            let there: Vec<_> = regions
                .into_iter()
                .filter(|(_, confirmed)| *confirmed)
                .map(|(at, _)| at)
                .collect();
            output::one(
                format,
                "confirmed",
                &serde_json::json!({ "confirmed": there }),
            )?;
            // A token is of one region: that the others did not know it is no failure.
            Ok(())
        }
        SubscriptionCommand::Test { fleet, kind } => {
            let regions = backend.subscribers().await?.test(&fleet, kind).await;
            let RegionResults { regions, failure } = tell(regions, |_| "accepted")?;
            let ids: BTreeMap<_, _> = regions
                .iter()
                .map(|(region, notice)| (region, &notice.id))
                .collect();
            let told = format!("test notice accepted, as {kind} of fleet {fleet}");
            output::one(
                format,
                &told,
                &serde_json::json!({ "test": ids, "kind": kind, "fleet": fleet }),
            )?;
            output::remark(
                "all whose filter lets it through get it, marked as a test, once a region",
            );
            failure.map_or(Ok(()), Err)
        }
        SubscriptionCommand::Remove { which } => remove(backend, format, &which).await,
    }
}

async fn remove(backend: &Backend, format: Format, which: &str) -> Result<(), Failure> {
    let subscribers = backend.subscribers().await?;
    let id = if let Ok(id) = which.parse::<SubscriptionId>() {
        id
    } else {
        // An endpoint listens once, so that it names one.
        let (views, _, failed) = subscribers.list().await;
        let found = views
            .into_iter()
            .find(|view| view.subscription.endpoint.address() == which);
        match (
            found,
            failed.into_iter().find_map(|region| region.result.err()),
        ) {
            (Some(view), _) => view.subscription.id,
            (None, Some(error)) => return Err(error.into()),
            (None, None) => return Err(Failure::NoSuchSubscription(which.to_owned())),
        }
    };
    let word = |removed: &bool| if *removed { "removed" } else { "was not there" };
    let RegionResults { regions, failure } = tell(subscribers.remove(&id).await, word)?;
    if !regions.values().any(|removed| *removed) {
        return Err(failure.unwrap_or_else(|| Failure::NoSuchSubscription(id.to_string())));
    }
    output::one(
        format,
        &format!("removed {id}"),
        &serde_json::json!({ "removed": id }),
    )?;
    failure.map_or(Ok(()), Err)
}

async fn add(
    backend: &Backend,
    format: Format,
    protocol: ProtocolArg,
    endpoint: &str,
    filter: Filter,
) -> Result<(), Failure> {
    let protocol = match protocol {
        ProtocolArg::Email => Protocol::Email,
        ProtocolArg::Sms => Protocol::Sms,
        ProtocolArg::Http => Protocol::Http,
        ProtocolArg::Https => Protocol::Https,
        ProtocolArg::Sqs => Protocol::Sqs,
    };
    (backend.supports)(protocol)?;
    let endpoint = Endpoint::parse(protocol, endpoint)?;
    let Subscribed {
        subscription,
        regions,
    } = backend.subscribers().await?.add(endpoint, filter).await?;
    let word = |added: &Added| match added {
        Added::New => "added",
        Added::Again => "asked again",
        Added::Already => "listens already",
    };
    let RegionResults { regions, failure } = tell(regions, word)?;
    let asked = regions.values().any(|added| *added != Added::Already);
    let words = regions
        .into_iter()
        .map(|(region, added)| (region, word(&added).to_owned()))
        .collect();
    output::one(
        format,
        subscription.id.as_str(),
        &SubscriptionRow::new(&subscription, words, None),
    )?;
    if asked && protocol == Protocol::Email {
        let sender = if backend.ports.deliveries.is_some() {
            ", once `hb serve` runs with --smtp-url"
        } else {
            ""
        };
        output::remark(&format!(
            "{} is asked to confirm, and told nothing before{sender}",
            subscription.endpoint.address()
        ));
    }
    failure.map_or(Ok(()), Err)
}

async fn list(backend: &Backend, format: Format) -> Result<(), Failure> {
    let (views, unreadable, failed) = backend.subscribers().await?.list().await;
    tell_unreadable("subscription", &unreadable);
    let mut tally = match &backend.ports.deliveries {
        Some(deliveries) => Some(deliveries.tally().await?),
        None => None,
    };
    let mut failure = None;
    if !failed.is_empty() {
        let known = views
            .iter()
            .map(|view| view.states.len())
            .max()
            .unwrap_or(0);
        let (count, of) = (failed.len(), failed.len() + known);
        let mut errors = Vec::new();
        for InRegion { region, result } in failed {
            if let Err(error) = result {
                tell_failed(&region, &error);
                errors.push(error);
            }
        }
        failure = errors.into_iter().next().map(|error| match known {
            0 => error.into(),
            _ => Failure::InPart {
                failed: count,
                of,
                what: "regions",
            },
        });
    }
    let mut deliveries = |id| {
        tally
            .as_mut()
            .map(|tally| tally.remove(id).unwrap_or_default())
    };
    let rows: Vec<_> = views
        .iter()
        .map(
            |SubscriptionView {
                 subscription,
                 states,
             }| {
                let states = states
                    .iter()
                    .map(|(region, state): (_, &SubscriptionState)| {
                        (region.clone(), state.to_string())
                    });
                SubscriptionRow::new(subscription, states.collect(), deliveries(&subscription.id))
            },
        )
        .collect();
    output::rows(format, &rows, backend.ports.clock.now())?;
    failure.map_or(Ok(()), Err)
}

/// What was done, and the failure to end with if some of it was not.
struct RegionResults<T> {
    regions: BTreeMap<Region, T>,
    failure: Option<Failure>,
}

/// Says what was done where, if there is more than one region; an error when nothing was done at all.
fn tell<T>(
    regions: Vec<InRegion<T>>,
    word: impl Fn(&T) -> &'static str,
) -> Result<RegionResults<T>, Failure> {
    let of = regions.len();
    let (mut done, mut errors) = (BTreeMap::new(), Vec::new());
    for InRegion { region, result } in regions {
        match result {
            Ok(value) => {
                if of > 1 {
                    output::remark(&format!("{region}: {}", word(&value)));
                }
                done.insert(region, value);
            }
            Err(error) => {
                if of > 1 {
                    tell_failed(&region, &error);
                }
                errors.push(error);
            }
        }
    }
    let failed = errors.len();
    match errors.into_iter().next() {
        Some(error) if done.is_empty() => Err(error.into()),
        Some(_) => Ok(RegionResults {
            regions: done,
            failure: Some(Failure::InPart {
                failed,
                of,
                what: "regions",
            }),
        }),
        None => Ok(RegionResults {
            regions: done,
            failure: None,
        }),
    }
}

fn tell_failed(region: &Region, error: &PortError) {
    output::remark(&format!("{region}: FAILED: {error}"));
}
