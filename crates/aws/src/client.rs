//! Clients of the AWS SDK: endpoints, credentials, timeouts and retries.

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

/// Pinned, so that a newer SDK does not change the defaults.
pub(crate) fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The timeouts and retries of a client.
pub(crate) struct Patience {
    connect: Duration,
    /// Of one attempt.
    attempt: Duration,
    /// Of all attempts and the pauses between them.
    operation: Duration,
    attempts: u32,
    /// Doubled after each attempt; the SDK waits for a random part of it.
    first_pause: Duration,
    longest_pause: Duration,
}

/// A beat must be answered within a few seconds: its sender retries.
const QUICK: Patience = Patience {
    connect: Duration::from_secs(1),
    attempt: Duration::from_millis(1_500),
    operation: Duration::from_secs(3),
    attempts: 3,
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(200),
};

/// Throttling slows a sweep down but does not fail it.
const PATIENT: Patience = Patience {
    connect: Duration::from_secs(2),
    attempt: Duration::from_secs(5),
    operation: Duration::from_mins(1),
    attempts: 14,
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_secs(4),
};

/// A person at a terminal prefers an early error.
pub(crate) const INTERACTIVE: Patience = Patience {
    connect: Duration::from_secs(3),
    attempt: Duration::from_secs(8),
    operation: Duration::from_secs(20),
    attempts: 4,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(2),
};

/// A publish is tried once: a hidden second attempt would be a second notice. The sweep retries what was refused.
const ONCE: Patience = Patience {
    connect: Duration::from_secs(2),
    attempt: Duration::from_secs(8),
    operation: Duration::from_secs(8),
    attempts: 1,
    first_pause: Duration::ZERO,
    longest_pause: Duration::ZERO,
};

impl Patience {
    pub(crate) fn timeouts(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }

    pub(crate) fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(self.attempts)
            .with_initial_backoff(self.first_pause)
            .with_max_backoff(self.longest_pause)
    }
}

/// Clients of DynamoDB, SNS and SQS, shared by all adapters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For beats and checks, which must be answered soon.
    pub(crate) quick: aws_sdk_dynamodb::Client,
    /// For sweeps and admins.
    pub(crate) patient: aws_sdk_dynamodb::Client,
    pub(crate) sns_quick: aws_sdk_sns::Client,
    pub(crate) sns: aws_sdk_sns::Client,
    /// Makes one attempt.
    pub(crate) publish: aws_sdk_sns::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) meter: Arc<Meter>,
}

/// Why the clients cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClientsError {
    /// No region is configured.
    #[error("the region is not known: set AWS_REGION, or name one in the profile")]
    Region,
    /// This variable is not set.
    #[error("no credentials: {0} is not set")]
    Credentials(&'static str),
}

impl Clients {
    /// Clients for the region, credentials, endpoints and HTTP client of `config`, with timeouts and retries by kind of
    /// call instead of its own.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self::with_patience(config, &PATIENT)
    }

    /// The same for people at a terminal: a call fails after 20 s at most.
    #[must_use]
    pub fn for_people(config: &SdkConfig) -> Self {
        Self::with_patience(config, &INTERACTIVE)
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
        // The SDK's retry quota runs out when many calls are throttled at once, which is when a sweep needs retries.
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

    /// Clients from the environment of a function: `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, and for emulators `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB`,
    /// `_SNS` and `_SQS`. `variable` returns the value of a variable, if it is set.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ClientsError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| set(name).ok_or(ClientsError::Credentials(name));
        let region = set("AWS_REGION")
            .or_else(|| set("AWS_DEFAULT_REGION"))
            .ok_or(ClientsError::Region)?;
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            set("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let config = SdkConfig::builder()
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .service_config(Endpoints::from_env(set));
        Ok(Self::new(&config.build()))
    }

    /// The cost of all calls through these clients.
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

/// An HTTPS client: rustls on ring, with the certificates of the system.
#[must_use]
pub fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https()
}

/// Endpoints from the environment, for emulators.
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
    fn the_endpoint_of_a_service_overrides_the_general_one() {
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
    fn errors_name_the_missing_variable() {
        let full = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ];
        let without = |removed: &str| {
            let left: BTreeMap<_, _> = full
                .into_iter()
                .filter(|(name, _)| *name != removed)
                .collect();
            Clients::from_env(|name| left.get(name).map(ToString::to_string))
        };
        assert_eq!(without("nothing").unwrap().region(), Some("eu-west-1"));
        assert!(
            without("AWS_SESSION_TOKEN").is_ok(),
            "long-lived keys have no session token"
        );
        assert_eq!(without("AWS_REGION").unwrap_err(), ClientsError::Region);
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(without(name).unwrap_err(), ClientsError::Credentials(name));
        }
    }
}
