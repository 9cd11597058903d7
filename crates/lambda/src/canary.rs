//! Canaries: beats that the sweep function sends to the public address of the service, so that all of the way is in them.

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

use crate::metrics;
use crate::run::Print;
use crate::settings::{CanarySettings, SweepFunctionSettings};

/// How long an answer may take: a host's `curl` would not wait longer either.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends canaries, when the function is asked to.
pub(crate) struct CanaryTask {
    canaries: Option<Canaries>,
    clock: Arc<dyn Clock>,
    stage: String,
    print: Print,
}

/// What became of a canary.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CanaryResult {
    /// How long nobody could be heard before it, in whole seconds.
    deaf_seconds: u64,
}

/// The canary proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum CanaryFailed {
    /// The function does not know where and with which key.
    #[error(
        "no canary can be sent: set HB_CANARY_URL and HB_CANARY_KEY, or remove the schedule of canaries"
    )]
    NotConfigured,
    /// It was not heard.
    #[error("{0}")]
    Unacknowledged(String),
}

impl CanaryTask {
    /// The canaries of a stage.
    pub(crate) fn new(
        settings: &SweepFunctionSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        fresh: Duration,
        print: Print,
    ) -> Result<Self, std::io::Error> {
        let caller = settings.canary.as_ref().map(HttpsCaller::new).transpose()?;
        let canaries = caller.map(|caller| Canaries {
            caller: Arc::new(caller),
            ports: hb_aws::ports(
                &settings.shared.clients,
                &settings.shared.stage,
                clock.clone(),
                ids,
            ),
            region: settings.shared.region.clone(),
            fresh,
        });
        Ok(Self {
            canaries,
            clock,
            stage: settings.shared.stage.to_string(),
            print,
        })
    }

    /// Sends one; logs and counts what came of it.
    pub(crate) async fn run(&self) -> Result<CanaryResult, CanaryFailed> {
        let canaries = self.canaries.as_ref().ok_or(CanaryFailed::NotConfigured)?;
        let sent = canaries.send().await;
        let deaf = sent.as_ref().ok().copied().flatten();
        let line = metrics::of_canary(&self.stage, self.clock.now(), sent.is_ok(), deaf);
        if let Some(line) = line {
            (self.print)(&line);
        }
        if let Some(deaf) = deaf {
            tracing::warn!(
                "no beat could be heard for {} s: that time is not silence of hosts",
                deaf.as_secs()
            );
        }
        match sent {
            Ok(_) => Ok(CanaryResult {
                deaf_seconds: deaf.unwrap_or_default().as_secs(),
            }),
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
            .map_err(|_| "HB_CANARY_URL is no URL")?;
        let request = Request::post(uri).header("x-api-key", self.token.reveal());
        let request = request
            .body(Body::empty())
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(TIMEOUT, self.client.request(request)).await {
            Err(_elapsed) => Err(format!(
                "{} does not answer within {} s",
                self.url,
                TIMEOUT.as_secs()
            )),
            Ok(Err(error)) => Err(format!("{}: {error}", self.url)),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("{} answers {}", self.url, answer.status())),
        }
    }
}
