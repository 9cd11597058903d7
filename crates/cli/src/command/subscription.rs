//! `hb subscription`.

mod regions;
mod row;

use std::collections::BTreeMap;
use std::time::Duration;

use hb_domain::{
    ConfirmationToken, Endpoint, Filter, Fleet, Kind, Protocol, Subscription, SubscriptionId,
    WebhookSecret,
};
use hb_service::admin::{
    Added, InRegion, RotateError, RotatedSecret, Subscribed, SubscriptionView,
};
use serde::Serialize;
use serde_json::json;

use self::regions::{RegionResults, report, report_failed};
use self::row::{NewSubscription, SubscriptionRow};
use super::report_unreadable;
use crate::args::SubscriptionCommand;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format};

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
            host_prefixes,
            allow_private,
        } => {
            let filter = Filter {
                fleet,
                kinds,
                severities,
                host_prefixes,
            };
            add(
                backend,
                format,
                (protocol, &endpoint),
                filter,
                allow_private,
            )
            .await
        }
        SubscriptionCommand::List => list(backend, format).await,
        SubscriptionCommand::Confirm { token } => confirm(backend, format, &token).await,
        SubscriptionCommand::Test { fleet, kind } => test(backend, format, &fleet, kind).await,
        SubscriptionCommand::RotateSecret { which, overlap } => {
            rotate_secret(backend, format, &which, overlap).await
        }
        SubscriptionCommand::Remove { which } => remove(backend, format, &which).await,
    }
}

async fn add(
    backend: &Backend,
    format: Format,
    (protocol, address): (Protocol, &str),
    filter: Filter,
    allow_private: bool,
) -> Result<(), Failure> {
    (backend.supports)(protocol)?;
    let local = backend.ports.deliveries.is_some();
    if allow_private && !(local && protocol.is_webhook()) {
        return Err(Failure::AllowPrivate);
    }
    let endpoint = Endpoint::parse(protocol, address)?;
    endpoint.check_reachable(allow_private)?;
    let subscribers = backend.subscribers().await?;
    let Subscribed {
        subscription,
        regions,
    } = subscribers.add(endpoint, filter, allow_private).await?;
    let word = |added: &Added| match added {
        Added::New => "added",
        Added::Again => "confirmation requested again",
        Added::Already => "already subscribed",
    };
    let results = report(regions, word)?;
    let is_new = results
        .regions
        .values()
        .any(|added| *added != Added::Already);
    let words = results.regions.iter();
    let words = words.map(|(region, added)| (region.clone(), word(added).to_owned()));
    // What is there keeps its secret, which is not shown again.
    let secret = subscription.webhook.secret().filter(|_| is_new);
    let new = NewSubscription {
        row: SubscriptionRow::new(&subscription, words.collect(), local, None),
        secret: secret.map(WebhookSecret::reveal),
    };
    output::one(format, subscription.id.as_str(), &new)?;
    if let (Some(secret), Format::Table) = (&new.secret, format) {
        output::remark(&format!(
            "secret {secret} signs its notices: store it now, it is not shown again"
        ));
    }
    if is_new && protocol == Protocol::Email {
        let sender = if local {
            " The request is sent when `hb serve` runs with --smtp-url."
        } else {
            ""
        };
        output::remark(&format!(
            "{} must confirm before it gets notices.{sender}",
            subscription.endpoint.address()
        ));
    }
    results.end()
}

async fn confirm(backend: &Backend, format: Format, token: &str) -> Result<(), Failure> {
    let token = token.trim().parse::<ConfirmationToken>()?;
    let regions = backend.subscribers().await?.confirm(&token).await;
    let word = |confirmed: &bool| match confirmed {
        true => "confirmed",
        false => "not sent there",
    };
    let RegionResults { regions, .. } =
        report(regions, word)?.require(|confirmed| *confirmed, || Failure::NotConfirmed)?;
    let confirmed = regions.into_iter().filter(|(_, confirmed)| *confirmed);
    let confirmed: Vec<_> = confirmed.map(|(region, _)| region).collect();
    // A token belongs to one region: a failure in another does not matter.
    Ok(output::one(
        format,
        "confirmed",
        &json!({ "confirmed": confirmed }),
    )?)
}

async fn test(backend: &Backend, format: Format, fleet: &Fleet, kind: Kind) -> Result<(), Failure> {
    let regions = backend.subscribers().await?.test(fleet, kind).await;
    let results = report(regions, |_| "accepted")?;
    let notices = results.regions.iter();
    let ids: BTreeMap<_, _> = notices
        .map(|(region, notice)| (region, &notice.id))
        .collect();
    output::one(
        format,
        &format!("test notice accepted, as {kind} of fleet {fleet}"),
        &json!({ "test": ids, "kind": kind, "fleet": fleet }),
    )?;
    output::remark(
        "each subscription whose filter matches gets it once per region, marked as a test",
    );
    results.end()
}

/// A new secret of a webhook, which is shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewSecret {
    id: String,
    secret: String,
    old_until: String,
}

async fn rotate_secret(
    backend: &Backend,
    format: Format,
    which: &str,
    overlap: Duration,
) -> Result<(), Failure> {
    if backend.ports.deliveries.is_none() {
        return Err(RotateError::SignedBySns.into());
    }
    let subscribers = backend.subscribers().await?;
    let RotatedSecret {
        subscription:
            Subscription {
                id,
                endpoint,
                webhook,
                ..
            },
        secret,
        old_until,
    } = subscribers.rotate_secret(which, overlap).await?;
    let new = NewSecret {
        id: id.to_string(),
        secret: secret.reveal(),
        old_until: old_until.to_string(),
    };
    output::one(format, &new.secret, &new)?;
    let old = if webhook.secret().is_none() {
        "its notices were not signed before".to_owned()
    } else {
        let until = output::instant(old_until, backend.ports.clock.now());
        format!("the old one signs as well until {until}")
    };
    output::remark(&format!(
        "new secret of {id} ({endpoint}): store it now, it is not shown again; {old}"
    ));
    Ok(())
}

async fn remove(backend: &Backend, format: Format, which: &str) -> Result<(), Failure> {
    let subscribers = backend.subscribers().await?;
    let id = if let Ok(id) = which.parse::<SubscriptionId>() {
        id
    } else {
        // An endpoint has at most one subscription.
        let (views, _, failed) = subscribers.list().await;
        let matches = |view: &SubscriptionView| view.subscription.endpoint.address() == which;
        match views.into_iter().find(matches) {
            Some(view) => view.subscription.id,
            None => match failed.into_iter().find_map(|region| region.result.err()) {
                Some(error) => return Err(error.into()),
                None => return Err(Failure::NoSuchSubscription(which.to_owned())),
            },
        }
    };
    let word = |removed: &bool| match removed {
        true => "removed",
        false => "was not there",
    };
    let absent = || Failure::NoSuchSubscription(id.to_string());
    let regions = subscribers.remove(&id).await;
    let results = report(regions, word)?.require(|removed| *removed, absent)?;
    output::one(format, &format!("removed {id}"), &json!({ "removed": id }))?;
    results.end()
}

async fn list(backend: &Backend, format: Format) -> Result<(), Failure> {
    let (views, unreadable, failed) = backend.subscribers().await?.list().await;
    report_unreadable("subscription", &unreadable);
    let mut tally = match &backend.ports.deliveries {
        Some(deliveries) => Some(deliveries.tally().await?),
        None => None,
    };
    let mut errors = Vec::new();
    for InRegion { region, result } in failed {
        if let Err(error) = result {
            report_failed(&region, &error);
            errors.push(error);
        }
    }
    let answered = views.iter().map(|view| view.states.len()).max();
    let failure = regions::failure(errors, answered.unwrap_or(0)).unwrap_or_else(Some);
    let local = tally.is_some();
    let mut row = |view: &SubscriptionView| {
        let states = view.states.iter();
        let states = states.map(|(region, state)| (region.clone(), state.to_string()));
        let id = &view.subscription.id;
        let deliveries = tally
            .as_mut()
            .map(|tally| tally.remove(id).unwrap_or_default());
        SubscriptionRow::new(&view.subscription, states.collect(), local, deliveries)
    };
    let rows: Vec<_> = views.iter().map(&mut row).collect();
    output::rows(format, &rows, backend.ports.clock.now())?;
    failure.map_or(Ok(()), Err)
}
