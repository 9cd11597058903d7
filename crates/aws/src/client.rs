//! The clients of the AWS SDK: where requests go, who signs them, how long they may take and how often they are tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, SharedHttpClient};
use aws_smithy_http_client::tls;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::meter::{Meter, Operation};

/// Pinned, so that a newer SDK does not change its defaults under us.
pub(crate) fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// How patient a client is.
struct Patience {
    /// How long a connection may take.
    connect: Duration,
    /// How long one attempt may take.
    attempt: Duration,
    /// How long all attempts and the pauses between them may take.
    operation: Duration,
    /// How often it is tried.
    attempts: u32,
    /// The first pause, doubled each time; the SDK takes a random part of it.
    first_pause: Duration,
    /// The longest pause.
    longest_pause: Duration,
}

/// A beat must be answered within a few seconds: its sender tries again by itself.
const QUICK: Patience = Patience {
    connect: Duration::from_secs(1),
    attempt: Duration::from_millis(1_500),
    operation: Duration::from_secs(3),
    attempts: 3,
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(200),
};

/// Throttling slows a sweep down and does not fail it.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(2),
    attempt: Duration::from_secs(5),
    operation: Duration::from_mins(1),
    attempts: 14,
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_secs(4),
};

/// Somebody at a terminal would rather be told soon.
const SOON: Patience = Patience {
    connect: Duration::from_secs(3),
    attempt: Duration::from_secs(8),
    operation: Duration::from_secs(20),
    attempts: 4,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(2),
};

/// A publish is tried once: a hidden second attempt would be a second notice. What did not arrive, the sweep sends again.
const ONCE: Patience = Patience {
    connect: Duration::from_secs(2),
    attempt: Duration::from_secs(8),
    operation: Duration::from_secs(8),
    attempts: 1,
    first_pause: Duration::ZERO,
    longest_pause: Duration::ZERO,
};

impl Patience {
    fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(self.first_pause)
            .with_max_backoff(self.longest_pause)
    }
}

/// Clients of DynamoDB, SNS and SQS, ready to be shared by all adapters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For beats and checks, which somebody waits for.
    pub(crate) quick: aws_sdk_dynamodb::Client,
    /// For sweeps and admins.
    pub(crate) patient: aws_sdk_dynamodb::Client,
    pub(crate) sns_quick: aws_sdk_sns::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    /// Tries once.
    pub(crate) publish: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) meter: Arc<Meter>,
}

/// Why there are no clients.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClientsError {
    /// Nobody says in which region the stage is.
    #[error("the region is not known: set AWS_REGION, or name one in the profile")]
    Region,
    /// A variable is not set.
    #[error("no credentials: {0} is not set")]
    Credentials(&'static str),
}

impl Clients {
    /// Clients for region, credentials, endpoints and HTTP client of `config`. Its timeouts and retries are replaced:
    /// each kind of call has its own here.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self::with_patience(config, &PATIENT)
    }

    /// The same for admins, who wait for the answer: trouble is told within 20 s.
    #[must_use]
    pub fn for_people(config: &SdkConfig) -> Self {
        Self::with_patience(config, &SOON)
    }

    fn with_patience(config: &SdkConfig, patient: &Patience) -> Self {
        let http = config.http_client().unwrap_or_else(https);
        let dynamodb = |patience: &Patience, partition: RetryPartition| {
            let config = aws_sdk_dynamodb::config::Builder::from(config)
                .behavior_version(behavior())
                .http_client(http.clone())
                .timeout_config(patience.timeouts())
                .retry_config(patience.retries())
                .retry_partition(partition);
            aws_sdk_dynamodb::Client::from_conf(config.build())
        };
        let sns = |patience: &Patience| {
            let config = aws_sdk_sns::config::Builder::from(config)
                .behavior_version(behavior())
                .http_client(http.clone())
                .timeout_config(patience.timeouts())
                .retry_config(patience.retries());
            aws_sdk_sns::Client::from_conf(config.build())
        };
        let sqs = aws_sdk_sqs::config::Builder::from(config)
            .behavior_version(behavior())
            .http_client(http.clone())
            .timeout_config(patient.timeouts())
            .retry_config(patient.retries());
        // The SDK's quota of retries ends them when many calls are throttled at once, which is when a sweep needs them.
        let unlimited = RetryPartition::custom("hb-patient")
            .token_bucket(TokenBucket::unlimited())
            .build();
        Self {
            quick: dynamodb(&QUICK, RetryPartition::new("hb-quick")),
            patient: dynamodb(patient, unlimited),
            sns_quick: sns(&QUICK),
            sns: sns(patient),
            publish: sns(&ONCE),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            meter: Arc::default(),
        }
    }

    /// Clients as the environment of a function describes them: `AWS_REGION` (or `AWS_DEFAULT_REGION`),
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, and for emulators `AWS_ENDPOINT_URL`,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, `_SNS` and `_SQS`. `variable` gives the value of a variable that is set.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ClientsError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &'static str| set(name).ok_or(ClientsError::Credentials(name));
        let region = set("AWS_REGION")
            .or_else(|| set("AWS_DEFAULT_REGION"))
            .ok_or(ClientsError::Region)?;
        let (id, secret) = (
            needed("AWS_ACCESS_KEY_ID")?,
            needed("AWS_SECRET_ACCESS_KEY")?,
        );
        let credentials =
            Credentials::new(id, secret, set("AWS_SESSION_TOKEN"), None, "environment");
        let config = SdkConfig::builder()
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(Endpoints::from_env(set));
        Ok(Self::new(&config.build()))
    }

    /// What all calls through these clients cost.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The same clients with a meter of their own, for a program that may call these operations only. Another call is
    /// a bug, which a debug build reports with a panic: emulators do not check permissions.
    #[must_use]
    pub fn limited_to(&self, operations: impl IntoIterator<Item = Operation>) -> Self {
        Self {
            meter: Arc::new(Meter::limited_to(operations)),
            ..self.clone()
        }
    }

    /// The region that requests go to.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.patient.config().region().map(AsRef::as_ref)
    }
}

/// HTTPS by rustls on ring, with the certificates of the system.
#[must_use]
pub fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https()
}

/// The endpoints that the environment names, which only emulators need.
#[derive(Debug)]
struct Endpoints(BTreeMap<&'static str, String>);

impl Endpoints {
    const ALL: &str = "AWS_ENDPOINT_URL";

    fn from_env(set: impl Fn(&str) -> Option<String>) -> Self {
        let names = [
            Self::ALL,
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_ENDPOINT_URL_SNS",
            "AWS_ENDPOINT_URL_SQS",
        ];
        Self(
            names
                .into_iter()
                .filter_map(|name| Some((name, set(name)?)))
                .collect(),
        )
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        if key.env() != Self::ALL {
            return None;
        }
        let own = format!("{}_{}", Self::ALL, key.service_id().to_uppercase());
        self.0
            .get(own.as_str())
            .or_else(|| self.0.get(Self::ALL))
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service_id: &str) -> ServiceConfigKey<'_> {
        let key = ServiceConfigKey::builder()
            .service_id(service_id)
            .env("AWS_ENDPOINT_URL");
        key.profile("endpoint_url").build().unwrap()
    }

    #[test]
    fn an_endpoint_of_a_service_wins() {
        let set = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://all".to_owned()),
            "AWS_ENDPOINT_URL_SNS" => Some("http://sns".to_owned()),
            _ => None,
        };
        let endpoints = Endpoints::from_env(set);
        assert_eq!(
            endpoints.load_config(key("SNS")).as_deref(),
            Some("http://sns")
        );
        assert_eq!(
            endpoints.load_config(key("DynamoDB")).as_deref(),
            Some("http://all")
        );
        assert_eq!(Endpoints::from_env(|_| None).load_config(key("SNS")), None);
    }

    #[test]
    fn what_the_environment_lacks_is_named() {
        let full = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let without = |gone: &str| {
            let left: BTreeMap<_, _> = full.into_iter().filter(|(name, _)| *name != gone).collect();
            Clients::from_env(|name| left.get(name).map(ToString::to_string))
        };
        assert_eq!(without("nothing").unwrap().region(), Some("eu-west-1"));
        assert!(
            without("AWS_SESSION_TOKEN").is_ok(),
            "long-lived keys have none"
        );
        assert_eq!(without("AWS_REGION").unwrap_err(), ClientsError::Region);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(without(name).unwrap_err(), ClientsError::Credentials(name));
        }
    }
}
