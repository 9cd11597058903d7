//! The routes that record a beat.
//!
//! In this order: the announced length, the key, its rate, the body, the beat, the key's permission, the storage. So a
//! stranger learns nothing but of their key, and their body is not read.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use hb_domain::{Beat, HostId, Key, Scope, Timestamp};
use hb_service::{AuthError, RecordError, Refusal};

use crate::error::{Dependency, Error};
use crate::ignored::Ignored;
use crate::invalid::Invalid;
use crate::report::Report;
use crate::{App, Client, Recorded, answer, body, credential, report};

/// The activity in the log.
const RECORDING: &str = "recording beats";

/// `POST /v1/heartbeat`: the body names the host.
pub(crate) async fn by_body(State(app): State<Arc<App>>, request: Request) -> Response {
    beat(&app, request, "/v1/heartbeat", report::by_body).await
}

/// `/v1/heartbeat/{hostId}` and what may follow: the path names the host.
pub(crate) async fn by_path(State(app): State<Arc<App>>, request: Request) -> Response {
    beat(&app, request, "/v1/heartbeat/{hostId}", report::by_path).await
}

type Read = fn(&Uri, &[u8], Timestamp) -> Result<Report, Invalid>;

async fn beat(app: &App, request: Request, route: &'static str, read: Read) -> Response {
    let method = request.method().clone();
    let client = request.extensions().get::<Client>().map(|client| client.0);
    let answer =
        record(app, request, client, read)
            .await
            .map_or_else(Error::into_response, |ignored| {
                let mut answer = answer::ok(&ignored);
                answer.extensions_mut().insert(Recorded);
                answer
            });
    let client = client.map(tracing::field::display);
    tracing::debug!(%method, route, client, status = answer.status().as_u16(), "beat");
    answer
}

async fn record(
    app: &App,
    request: Request,
    client: Option<IpAddr>,
    read: Read,
) -> Result<Ignored, Error> {
    let now = app.clock.now();
    let (head, body) = request.into_parts();
    body::announced(&head.headers)?;
    let key = authenticate(app, &head.headers, client, now).await?;
    if key.scope != Scope::Canary {
        app.limit.take(key.id, now).map_err(|wait| {
            app.refusals.add(client, Refusal::TooMany(key.id), now);
            Error::TooMany { wait }
        })?;
    }
    let Report {
        host,
        beat,
        ignored,
    } = {
        let body = body::read(body, &app.large_bodies).await?;
        read(&head.uri, &body.bytes, now)?
    };
    let beat = Beat {
        address: client,
        ..beat
    };
    store(app, &key, host, beat, now).await?;
    Ok(ignored)
}

async fn authenticate(
    app: &App,
    headers: &HeaderMap,
    client: Option<IpAddr>,
    now: Timestamp,
) -> Result<Arc<Key>, Error> {
    match app
        .authenticator
        .authenticate(credential::presented(headers).as_deref(), now)
        .await
    {
        Ok(key) => Ok(key),
        Err(AuthError::Refused(refusal)) => {
            tracing::debug!("refused: {refusal}");
            Err(match app.refusals.add(client, refusal, now) {
                Some(wait) => Error::TooManyRefused { wait },
                None => Error::Unauthenticated(refusal),
            })
        }
        Err(AuthError::Unavailable) => {
            app.health.doubt();
            Err(Error::Unavailable(Dependency::Keys))
        }
    }
}

async fn store(
    app: &App,
    key: &Key,
    host: HostId,
    beat: Beat,
    now: Timestamp,
) -> Result<(), Error> {
    match app.recorder.record(key, host, beat).await {
        Ok(()) => {
            app.troubles.worked(RECORDING, now);
            Ok(())
        }
        Err(RecordError::Denied(denied)) => Err(denied.into()),
        Err(RecordError::Unavailable(error)) => {
            app.troubles.failed(RECORDING, &error, now);
            app.health.doubt();
            Err(Error::Unavailable(Dependency::Beats))
        }
    }
}
