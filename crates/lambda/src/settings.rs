//! What the environment says: read once, at the start, into values.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use hb_aws::{Clients, ClientsError, Stage};
use hb_domain::{Region, Token};
use tracing::level_filters::LevelFilter;

/// Seconds between two sweeps that an invocation a minute can keep. Below, a pass costs more than it finds sooner.
const SWEEP_EVERY: std::ops::RangeInclusive<u64> = 10..=60;
/// Most segments: each holds up to a page of 1 MiB.
const SEGMENTS: std::ops::RangeInclusive<u32> = 1..=64;
/// Most hosts in hand at a time: each is a few requests under way.
const CONCURRENCY: std::ops::RangeInclusive<usize> = 1..=256;

/// Gives the value of a variable that is set.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A setting that a function cannot start with. The text names the variable and what it may be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingError {
    /// It is not set, and there is no default.
    #[error("{0} is not set: {1}")]
    Missing(&'static str, &'static str),
    /// It is set to something that it cannot be.
    #[error("{0} is {1:?}: {2}")]
    Bad(&'static str, String, String),
    /// The adapters' own variables.
    #[error(transparent)]
    Clients(#[from] ClientsError),
}

/// What both functions need.
#[derive(Clone, Debug)]
pub(crate) struct FunctionSettings {
    /// `HB_STAGE`: names the tables and the topic.
    pub(crate) stage: Stage,
    /// `AWS_REGION`: stands in heartbeats and notices.
    pub(crate) region: Region,
    /// Clients, as [`Clients::from_env`] makes them.
    pub(crate) clients: Clients,
}

/// What the function `ingest` needs.
#[derive(Clone, Debug)]
pub(crate) struct IngestFunctionSettings {
    /// What both need.
    pub(crate) shared: FunctionSettings,
    /// `HB_RATE_LIMIT`: beats a second that each execution environment takes of one key; without it, all.
    pub(crate) rate_limit: Option<NonZeroU32>,
}

/// What the function `sweep` needs.
#[derive(Clone, Debug)]
pub(crate) struct SweepFunctionSettings {
    /// What both need.
    pub(crate) shared: FunctionSettings,
    /// `HB_SWEEP_EVERY_S`: from the begin of a pass to that of the next, 10 to 60 s; 60 s without it.
    pub(crate) every: Duration,
    /// `HB_SEGMENTS`: parts of a scan that are read at the same time, 1 to 64.
    pub(crate) segments: Option<u32>,
    /// `HB_CONCURRENCY`: hosts that are claimed and delivered at the same time, 1 to 256.
    pub(crate) concurrency: Option<usize>,
    /// Where canaries go, if any are sent.
    pub(crate) canary: Option<CanarySettings>,
}

/// Where canaries go.
#[derive(Clone)]
pub(crate) struct CanarySettings {
    /// `HB_CANARY_URL`: the public address of the service, without a path.
    pub(crate) url: String,
    /// `HB_CANARY_KEY`: an API key with the scope `canary`.
    pub(crate) token: Token,
}

impl std::fmt::Debug for CanarySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CanarySettings")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl CanarySettings {
    /// What `HB_CANARY_KEY` is.
    const KEY: &str = "an API key with the scope canary";

    /// Reads them; both or neither is set. The key is not in the error of a wrong one.
    fn read(variables: Variables) -> Result<Option<Self>, SettingError> {
        let (url, key) = (
            set(variables, "HB_CANARY_URL"),
            set(variables, "HB_CANARY_KEY"),
        );
        let Some(url) = url else {
            return match key {
                None => Ok(None),
                Some(_) => Err(SettingError::Missing(
                    "HB_CANARY_URL",
                    "name the public address of the service",
                )),
            };
        };
        if !["https://", "http://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(bad(
                "HB_CANARY_URL",
                url,
                "the public address of the service, https://HOST",
            ));
        }
        let key = key.ok_or(SettingError::Missing("HB_CANARY_KEY", Self::KEY))?;
        let token = key
            .parse()
            .map_err(|_| bad("HB_CANARY_KEY", "a secret", Self::KEY))?;
        Ok(Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            token,
        }))
    }
}

/// `HB_LOG`: `off`, `error`, `warn`, `info`, `debug` or `trace`; `info` without it.
pub(crate) fn log_level(variables: Variables) -> Result<LevelFilter, SettingError> {
    Ok(optional(
        variables,
        "HB_LOG",
        &"one of off, error, warn, info, debug, trace",
        |_| true,
    )?
    .unwrap_or(LevelFilter::INFO))
}

impl FunctionSettings {
    fn read(variables: Variables) -> Result<Self, SettingError> {
        let stage = set(variables, "HB_STAGE").ok_or(SettingError::Missing(
            "HB_STAGE",
            "name the stage, such as dev or prod",
        ))?;
        let stage = Stage::parse(&stage).map_err(|error| bad("HB_STAGE", stage, error))?;
        let clients = Clients::from_env(variables)?;
        let region = clients.region().unwrap_or_default();
        let region = region
            .parse()
            .map_err(|error| bad("AWS_REGION", region, error))?;
        Ok(Self {
            stage,
            region,
            clients,
        })
    }
}

impl IngestFunctionSettings {
    /// Reads them.
    pub(crate) fn read(variables: Variables) -> Result<Self, SettingError> {
        let shared = FunctionSettings::read(variables)?;
        let rate_limit = optional(
            variables,
            "HB_RATE_LIMIT",
            &"beats a second, from 1",
            |_| true,
        )?;
        Ok(Self { shared, rate_limit })
    }
}

impl SweepFunctionSettings {
    /// Reads them.
    pub(crate) fn read(variables: Variables) -> Result<Self, SettingError> {
        let shared = FunctionSettings::read(variables)?;
        let within = |range: &dyn std::fmt::Debug| format!("a whole number in {range:?}");
        let every = optional(variables, "HB_SWEEP_EVERY_S", &within(&SWEEP_EVERY), |n| {
            SWEEP_EVERY.contains(n)
        })?;
        let segments = optional(variables, "HB_SEGMENTS", &within(&SEGMENTS), |n| {
            SEGMENTS.contains(n)
        })?;
        let concurrency = optional(variables, "HB_CONCURRENCY", &within(&CONCURRENCY), |n| {
            CONCURRENCY.contains(n)
        })?;
        let every = Duration::from_secs(every.unwrap_or(*SWEEP_EVERY.end()));
        Ok(Self {
            shared,
            every,
            segments,
            concurrency,
            canary: CanarySettings::read(variables)?,
        })
    }
}

/// A variable that is set to something: an empty one is as good as none, as templates write it.
fn set(variables: Variables, name: &'static str) -> Option<String> {
    variables(name).filter(|value| !value.is_empty())
}

fn bad(name: &'static str, value: impl Into<String>, right: impl Display) -> SettingError {
    SettingError::Bad(name, value.into(), right.to_string())
}

/// The value of a variable, if it is set; `right` says what it may be.
fn optional<T: FromStr>(
    variables: Variables,
    name: &'static str,
    right: &dyn Display,
    allowed: impl Fn(&T) -> bool,
) -> Result<Option<T>, SettingError> {
    let read = |value: String| match value.parse() {
        Ok(parsed) if allowed(&parsed) => Ok(parsed),
        _ => Err(bad(name, value, right)),
    };
    set(variables, name).map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: [(&str, &str); 4] = [
        ("HB_STAGE", "dev"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
    ];

    /// The error of the minimum with `changed`; the empty value takes a variable away.
    fn error(name: &str, value: &str) -> String {
        let variables = |asked: &str| {
            let known = MINIMUM
                .iter()
                .find(|(known, _)| *known == asked)
                .map(|(_, value)| (*value).to_owned());
            if asked == name {
                Some(value.to_owned())
            } else {
                known
            }
        };
        let errors = [
            IngestFunctionSettings::read(&variables).err(),
            SweepFunctionSettings::read(&variables).err(),
            log_level(&variables).err(),
        ];
        errors
            .into_iter()
            .flatten()
            .map(|error| error.to_string())
            .next()
            .unwrap_or_default()
    }

    #[test]
    fn defaults_stand_where_nothing_is_set() {
        let variables = |asked: &str| {
            MINIMUM
                .iter()
                .find(|(name, _)| *name == asked)
                .map(|(_, v)| (*v).to_owned())
        };
        let (ingest, sweep) = (
            IngestFunctionSettings::read(&variables).unwrap(),
            SweepFunctionSettings::read(&variables).unwrap(),
        );
        assert_eq!(
            (ingest.shared.stage.as_str(), ingest.shared.region.as_str()),
            ("dev", "eu-west-1")
        );
        assert_eq!(ingest.rate_limit, None);
        assert_eq!(
            (sweep.every, sweep.segments, sweep.concurrency),
            (Duration::from_mins(1), None, None)
        );
        assert_eq!(log_level(&variables).unwrap(), LevelFilter::INFO);
        assert!(
            !format!("{ingest:?}").contains("hunter2"),
            "a secret in {ingest:?}"
        );
    }

    #[test]
    fn errors_name_the_variable_and_what_it_may_be() {
        let cases = [
            (
                "HB_STAGE",
                "",
                "HB_STAGE is not set: name the stage, such as dev or prod",
            ),
            (
                "HB_STAGE",
                "Dev",
                r#"HB_STAGE is "Dev": "Dev" is not a stage: write 1 to 24 characters of a-z, 0-9 and -, such as dev"#,
            ),
            (
                "AWS_REGION",
                "",
                "the region is not known: set AWS_REGION, or name one in the profile",
            ),
            (
                "AWS_ACCESS_KEY_ID",
                "",
                "no credentials: AWS_ACCESS_KEY_ID is not set",
            ),
            (
                "HB_RATE_LIMIT",
                "0",
                r#"HB_RATE_LIMIT is "0": beats a second, from 1"#,
            ),
            (
                "HB_SWEEP_EVERY_S",
                "9",
                r#"HB_SWEEP_EVERY_S is "9": a whole number in 10..=60"#,
            ),
            (
                "HB_SWEEP_EVERY_S",
                "20s",
                r#"HB_SWEEP_EVERY_S is "20s": a whole number in 10..=60"#,
            ),
            (
                "HB_SEGMENTS",
                "65",
                r#"HB_SEGMENTS is "65": a whole number in 1..=64"#,
            ),
            (
                "HB_CONCURRENCY",
                "-1",
                r#"HB_CONCURRENCY is "-1": a whole number in 1..=256"#,
            ),
            (
                "HB_LOG",
                "verbose",
                r#"HB_LOG is "verbose": one of off, error, warn, info, debug, trace"#,
            ),
        ];
        for (name, value, text) in cases {
            assert_eq!(error(name, value), text);
        }
        for (name, value) in [
            ("HB_RATE_LIMIT", ""),
            ("HB_SWEEP_EVERY_S", "10"),
            ("HB_LOG", "debug"),
        ] {
            assert_eq!(error(name, value), "", "{name}={value}");
        }
    }
}
