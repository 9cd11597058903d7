//! Settings: the environment, read once at the start into values.
//!
//! A variable of ours can only be read when [`VARIABLES`] lists it; `tests/template` compares the list with the templates.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use hb_aws::{Clients, ClientsError, Stage};
use hb_domain::{Region, Token};
use tracing::level_filters::LevelFilter;

use crate::function::Function::{self, Canary, Ingest, Sweep};

/// Our variables, and the functions that read each.
pub const VARIABLES: [(&str, &[Function]); 8] = [
    ("HB_STAGE", &Function::ALL),
    ("HB_LOG", &Function::ALL),
    ("HB_RATE_LIMIT", &[Ingest]),
    ("HB_SWEEP_EVERY_S", &[Sweep]),
    ("HB_SEGMENTS", &[Sweep]),
    ("HB_CONCURRENCY", &[Sweep]),
    ("HB_CANARY_URL", &[Canary]),
    ("HB_CANARY_KEY", &[Canary]),
];

/// Seconds between two sweeps, as an invocation per minute can keep them. Below, a pass costs more than it gains.
const SWEEP_EVERY: RangeInclusive<u64> = 10..=60;
/// Each segment holds up to a page of 1 MiB.
const SEGMENTS: RangeInclusive<u32> = 1..=64;
/// Hosts that are processed at the same time: each has a few requests under way.
const CONCURRENCY: RangeInclusive<usize> = 1..=256;

/// Gives the value of a variable that is set.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A setting with which a function cannot start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingError {
    #[error("{variable} is not set; expected {expected}")]
    Missing {
        variable: &'static str,
        expected: String,
    },
    #[error("{variable} is {value:?}; expected {expected}")]
    Invalid {
        variable: &'static str,
        value: String,
        expected: String,
    },
    #[error("{0} is not set: this program runs on AWS Lambda; on a machine, run hb serve")]
    NotOnLambda(&'static str),
    /// A variable of the AWS clients.
    #[error(transparent)]
    Clients(#[from] ClientsError),
}

/// What all functions need.
#[derive(Clone, Debug)]
pub(crate) struct FunctionSettings {
    /// `HB_STAGE`: names the tables and the topic.
    pub(crate) stage: Stage,
    /// `AWS_REGION`: appears in heartbeats and notices.
    pub(crate) region: Region,
    /// As [`Clients::from_env`] makes them.
    pub(crate) clients: Clients,
}

/// What the program `ingest` needs.
#[derive(Clone, Debug)]
pub(crate) struct IngestFunctionSettings {
    pub(crate) shared: FunctionSettings,
    /// `HB_RATE_LIMIT`: beats per second that each execution environment accepts from one key; without it, all.
    pub(crate) rate_limit: Option<NonZeroU32>,
}

/// What the program `sweep` needs.
#[derive(Clone, Debug)]
pub(crate) struct SweepFunctionSettings {
    pub(crate) shared: FunctionSettings,
    /// `HB_SWEEP_EVERY_S`: from the start of a pass to the start of the next, 10 to 60 s; 60 s without it.
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

/// The environment as one function may read it.
#[derive(Clone, Copy)]
struct Environment<'a> {
    variables: Variables<'a>,
    function: Function,
}

impl Environment<'_> {
    /// The value of a variable. An empty one counts as not set, because templates write optional values so.
    fn get(&self, variable: &'static str) -> Option<String> {
        let listed = |(name, functions): &(&str, &[Function])| {
            *name == variable && functions.contains(&self.function)
        };
        debug_assert!(
            VARIABLES.iter().any(listed),
            "VARIABLES lists no {variable} for {:?}",
            self.function
        );
        (self.variables)(variable).filter(|value| !value.is_empty())
    }

    fn required(&self, variable: &'static str, expected: &str) -> Result<String, SettingError> {
        self.get(variable).ok_or_else(|| SettingError::Missing {
            variable,
            expected: expected.to_owned(),
        })
    }

    fn optional<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &str,
    ) -> Result<Option<T>, SettingError> {
        let parse = |value: String| {
            value
                .parse()
                .map_err(|_| invalid(variable, value, expected))
        };
        self.get(variable).map(parse).transpose()
    }

    fn within<T>(
        &self,
        variable: &'static str,
        range: &RangeInclusive<T>,
    ) -> Result<Option<T>, SettingError>
    where
        T: FromStr + PartialOrd + std::fmt::Debug,
    {
        let expected = format!("a whole number in {range:?}");
        match self.optional(variable, &expected)? {
            Some(number) if !range.contains(&number) => {
                Err(invalid(variable, format!("{number:?}"), &expected))
            }
            number => Ok(number),
        }
    }
}

fn invalid(variable: &'static str, value: impl Into<String>, expected: &str) -> SettingError {
    SettingError::Invalid {
        variable,
        value: value.into(),
        expected: expected.to_owned(),
    }
}

impl CanarySettings {
    const URL: &str = "the public address of the service, https://HOST";
    const KEY: &str = "an API key with the scope canary";

    /// Both variables are set, or neither. The error of an invalid key does not quote it.
    fn read(environment: &Environment) -> Result<Option<Self>, SettingError> {
        let url = environment.get("HB_CANARY_URL");
        let key = environment.get("HB_CANARY_KEY");
        if url.is_none() && key.is_none() {
            return Ok(None);
        }
        let url = environment.required("HB_CANARY_URL", Self::URL)?;
        let key = environment.required("HB_CANARY_KEY", Self::KEY)?;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(invalid("HB_CANARY_URL", url, Self::URL));
        }
        let token = key
            .parse()
            .map_err(|_| invalid("HB_CANARY_KEY", "a secret", Self::KEY))?;
        Ok(Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            token,
        }))
    }
}

/// `HB_LOG`: `off`, `error`, `warn`, `info`, `debug` or `trace`; `info` without it.
pub(crate) fn log_level(variables: Variables) -> Result<LevelFilter, SettingError> {
    // All functions read it.
    let environment = Environment {
        variables,
        function: Ingest,
    };
    let level = environment.optional("HB_LOG", "one of off, error, warn, info, debug, trace")?;
    Ok(level.unwrap_or(LevelFilter::INFO))
}

impl FunctionSettings {
    fn read(environment: &Environment) -> Result<Self, SettingError> {
        let expected = "1 to 24 characters of a-z, 0-9 and -, such as dev";
        let stage = environment.required("HB_STAGE", expected)?;
        let stage = Stage::parse(&stage).map_err(|_| invalid("HB_STAGE", stage, expected))?;
        let clients = Clients::from_env(environment.variables)?;
        let region = clients.region().unwrap_or_default();
        let region = region
            .parse()
            .map_err(|_| invalid("AWS_REGION", region, "a region, such as eu-west-1"))?;
        Ok(Self {
            stage,
            region,
            clients,
        })
    }
}

impl IngestFunctionSettings {
    pub(crate) fn read(variables: Variables) -> Result<Self, SettingError> {
        let environment = Environment {
            variables,
            function: Ingest,
        };
        Ok(Self {
            shared: FunctionSettings::read(&environment)?,
            rate_limit: environment.optional("HB_RATE_LIMIT", "beats per second, from 1")?,
        })
    }
}

impl SweepFunctionSettings {
    pub(crate) fn read(variables: Variables) -> Result<Self, SettingError> {
        let environment = Environment {
            variables,
            function: Sweep,
        };
        let every = environment.within("HB_SWEEP_EVERY_S", &SWEEP_EVERY)?;
        Ok(Self {
            shared: FunctionSettings::read(&environment)?,
            every: Duration::from_secs(every.unwrap_or(*SWEEP_EVERY.end())),
            segments: environment.within("HB_SEGMENTS", &SEGMENTS)?,
            concurrency: environment.within("HB_CONCURRENCY", &CONCURRENCY)?,
            canary: CanarySettings::read(&Environment {
                function: Canary,
                ..environment
            })?,
        })
    }
}

#[cfg(test)]
mod tests;
