//! Canaries: beats that the sweep function sends to the public address of the service, so that they test the whole path.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hb_domain::{HostId, Token};
use hb_http::Body;
use hb_service::ports::{Clock, Ids};
use hb_service::{Caller, Canaries};
use http::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;

use crate::function::Function;
use crate::metrics::{self, Canary, Print};
use crate::settings::{CanarySettings, SweepFunctionSettings};

/// The time limit of one request: a host's `curl` would not wait longer either.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct CanaryTask {
    /// `None` when no canaries are configured.
    canaries: Option<Canaries>,
    clock: Arc<dyn Clock>,
    stage: String,
    print: Print,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CanaryResult {
    /// How long no beat could be received before this canary, in whole seconds.
    blackout_seconds: u64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CanaryFailed {
    #[error(
        "cannot send canaries: set HB_CANARY_URL and HB_CANARY_KEY, or remove the schedule of canaries"
    )]
    NotConfigured,
    #[error("{0}")]
    Unacknowledged(String),
}

impl CanaryTask {
    pub(crate) fn new(
        settings: &SweepFunctionSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        fresh: Duration,
        print: Print,
    ) -> Result<Self, std::io::Error> {
        let shared = &settings.shared;
        let clients = Function::Canary.clients(&shared.clients);
        let caller = settings.canary.as_ref().map(HttpsCaller::new).transpose()?;
        let canaries = caller.map(|caller| Canaries {
            caller: Arc::new(caller),
            ports: hb_aws::ports(&clients, &shared.stage, clock.clone(), ids),
            region: shared.region.clone(),
            fresh,
        });
        Ok(Self {
            canaries,
            clock,
            stage: shared.stage.to_string(),
            print,
        })
    }

    /// Sends canaries once, logs and counts the result.
    pub(crate) async fn run(&self) -> Result<CanaryResult, CanaryFailed> {
        let canaries = self.canaries.as_ref().ok_or(CanaryFailed::NotConfigured)?;
        let sent = canaries.send().await;
        let canary = Canary {
            acknowledged: sent.is_ok(),
            blackout: sent.as_ref().ok().copied().flatten(),
        };
        if let Some(line) = metrics::of_canary(&self.stage, self.clock.now(), &canary) {
            (self.print)(&line);
        }
        let blackout_seconds = canary.blackout.unwrap_or_default().as_secs();
        if canary.blackout.is_some() {
            tracing::warn!(
                "no beats could be received for {blackout_seconds} s; this time does not count as silence of hosts"
            );
        }
        match sent {
            Ok(_) => Ok(CanaryResult { blackout_seconds }),
            Err(error) => {
                tracing::error!("{error}");
                Err(CanaryFailed::Unacknowledged(error.to_string()))
            }
        }
    }
}

/// Sends beats over the network, as hosts do.
struct HttpsCaller {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    url: String,
    token: Token,
}

impl HttpsCaller {
    fn new(settings: &CanarySettings) -> Result<Self, std::io::Error> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            client,
            url: settings.url.clone(),
            token: settings.token.clone(),
        })
    }
}

#[async_trait]
impl Caller for HttpsCaller {
    async fn beat(&self, host: &HostId) -> Result<(), String> {
        let uri: Uri = format!("{}/v1/heartbeat/{host}", self.url)
            .parse()
            .map_err(|_| "HB_CANARY_URL is not a URL")?;
        let request = Request::post(uri).header("x-api-key", self.token.reveal());
        let request = request
            .body(Body::empty())
            .map_err(|error| error.to_string())?;
        let url = &self.url;
        match tokio::time::timeout(TIMEOUT, self.client.request(request)).await {
            Err(_elapsed) => Err(format!(
                "{url} did not answer within {} s",
                TIMEOUT.as_secs()
            )),
            Ok(Err(error)) => Err(format!("{url}: {error}")),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("{url} answered {}", answer.status())),
        }
    }
}
