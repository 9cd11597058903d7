//! The fields of a beat, as queries and bodies of JSON contain them.
//!
//! [`FIELDS`] states each of them once. What the path says stands in [`path`](crate::path).

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use hb_domain::{
    Beat, Grace, HostId, HostIdError, Interval, Message, RunId, Schedule, Signal, Timestamp,
    Timing, Zone,
};
use serde_json::Value;
use url::form_urlencoded;

use crate::ignored::Ignored;
use crate::invalid::{Invalid, quoted};
use crate::{json, path};

struct Field {
    name: &'static str,
    /// The code of the problem when its value is wrong.
    code: &'static str,
    /// Whether digits in a query are a number, as they are in JSON.
    numeric: bool,
    /// Never gets `null`; the error is for the author of the client.
    read: fn(&mut Fields, &Value) -> Result<(), String>,
}

const FIELDS: [Field; 12] = [
    Field {
        name: "hostId",
        code: "invalid_host_id",
        numeric: false,
        read: |fields, value| host(value).map(|host| fields.host = Some(host)),
    },
    Field {
        name: "intervalMs",
        code: "invalid_interval",
        numeric: true,
        read: |fields, value| {
            set(
                "interval",
                &mut fields.interval,
                millis("intervalMs", value)?,
            )
        },
    },
    Field {
        name: "interval",
        code: "invalid_interval",
        numeric: false,
        read: |fields, value| {
            set(
                "interval",
                &mut fields.interval,
                duration("interval", value)?,
            )
        },
    },
    Field {
        name: "graceMs",
        code: "invalid_grace",
        numeric: true,
        read: |fields, value| set("grace", &mut fields.grace, millis("graceMs", value)?),
    },
    Field {
        name: "grace",
        code: "invalid_grace",
        numeric: false,
        read: |fields, value| set("grace", &mut fields.grace, duration("grace", value)?),
    },
    Field {
        name: "schedule",
        code: "invalid_schedule",
        numeric: false,
        read: |fields, value| {
            parsed("schedule", r#"a string such as "0 2 * * *""#, value)
                .map(|schedule| fields.schedule = Some(schedule))
        },
    },
    Field {
        name: "tz",
        code: "invalid_tz",
        numeric: false,
        read: |fields, value| {
            parsed("tz", r#"a string such as "Europe/Berlin""#, value)
                .map(|zone| fields.tz = Some(zone))
        },
    },
    Field {
        name: "rid",
        code: "invalid_rid",
        numeric: false,
        read: |fields, value| {
            parsed("rid", "a string such as a UUID", value).map(|id| fields.run_id = Some(id))
        },
    },
    Field {
        name: "maxRunMs",
        code: "invalid_max_run",
        numeric: true,
        read: |fields, value| set("maxRun", &mut fields.limit, millis("maxRunMs", value)?),
    },
    Field {
        name: "maxRun",
        code: "invalid_max_run",
        numeric: false,
        read: |fields, value| set("maxRun", &mut fields.limit, duration("maxRun", value)?),
    },
    Field {
        name: "status",
        code: "invalid_status",
        numeric: false,
        read: |fields, value| signal(value).map(|signal| fields.signal = Some(signal)),
    },
    Field {
        name: "message",
        code: "invalid_message",
        numeric: false,
        read: |fields, value| message(value).map(|message| fields.message = message),
    },
];

/// A field may stand there once, in one of its forms.
fn set<T>(name: &str, field: &mut Option<T>, value: T) -> Result<(), String> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!(
            "{name} and {name}Ms contradict each other; leave one of them out"
        )),
    }
}

/// The fields in one part of a request; `None` for absent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) host: Option<HostId>,
    pub(crate) interval: Option<Interval>,
    pub(crate) grace: Option<Grace>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) tz: Option<Zone>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) limit: Option<Interval>,
    pub(crate) signal: Option<Signal>,
    pub(crate) message: Option<Message>,
    pub(crate) ignored: Ignored,
}

impl Fields {
    /// Reads query parameters.
    pub(crate) fn from_query(query: &str) -> Result<Self, Invalid> {
        let mut values = FIELDS.map(|_| Value::Null);
        let mut ignored = Ignored::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(index) = FIELDS.iter().position(|field| field.name == name) else {
                // Of `&&`.
                if !name.is_empty() {
                    ignored.add(&name);
                }
                continue;
            };
            if !values[index].is_null() {
                return Err(Invalid::Twice(FIELDS[index].name));
            }
            values[index] = match value.parse::<u64>() {
                Ok(number) if FIELDS[index].numeric && !value.starts_with('+') => number.into(),
                _ => value.into(),
            };
        }
        Self::read(&values, ignored)
    }

    /// Reads a body of JSON. `null` counts as absent.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, Invalid> {
        let (values, ignored) = json::members(body, FIELDS.map(|field| field.name))?;
        Self::read(&values, ignored)
    }

    /// Likewise; but a `status` that is none of ours is ignored: Alertmanager's is `firing`.
    pub(crate) fn from_foreign_json(body: &[u8]) -> Result<Self, Invalid> {
        let (mut values, mut ignored) = json::members(body, FIELDS.map(|field| field.name))?;
        for (field, value) in FIELDS.iter().zip(&mut values) {
            if field.name == "status" && !value.is_null() && signal(value).is_err() {
                ignored.add(field.name);
                *value = Value::Null;
            }
        }
        Self::read(&values, ignored)
    }

    fn read(values: &[Value], ignored: Ignored) -> Result<Self, Invalid> {
        let mut fields = Self {
            ignored,
            ..Self::default()
        };
        for (field, value) in FIELDS.iter().zip(values) {
            if !value.is_null() {
                let code = field.code;
                (field.read)(&mut fields, value).map_err(|text| Invalid::Field { code, text })?;
            }
        }
        Ok(fields)
    }

    /// The host, if it is named, and the beat.
    pub(crate) fn beat(
        self,
        in_path: Option<Signal>,
        at: Timestamp,
    ) -> Result<(Option<HostId>, Beat), Invalid> {
        let Timing { interval, grace } = match (&self.schedule, self.interval) {
            (Some(_), Some(_)) => return Err(Invalid::TwoIntervals),
            (Some(schedule), None) => {
                Timing::by(schedule, &self.tz.unwrap_or_default(), self.grace, at)
            }
            (None, interval) => Timing::every(interval.unwrap_or_default(), self.grace),
        };
        let beat = Beat {
            at,
            interval,
            grace,
            scheduled: self.schedule.is_some(),
            run_id: self.run_id,
            limit: self.limit.or(grace.map(Grace::interval)),
            signal: in_path.or(self.signal).unwrap_or(Signal::Ok),
            message: self.message,
            key: None,
            address: None,
        };
        Ok((self.host, beat))
    }

    /// These fields, and those of `others` that are absent here. The host must be the same.
    pub(crate) fn or(self, others: Self) -> Result<Self, Invalid> {
        if let (Some(one), Some(other)) = (&self.host, &others.host)
            && one != other
        {
            return Err(Invalid::HostDiffers);
        }
        Ok(Self {
            host: self.host.or(others.host),
            interval: self.interval.or(others.interval),
            grace: self.grace.or(others.grace),
            schedule: self.schedule.or(others.schedule),
            tz: self.tz.or(others.tz),
            run_id: self.run_id.or(others.run_id),
            limit: self.limit.or(others.limit),
            signal: self.signal.or(others.signal),
            message: self.message.or(others.message),
            ignored: self.ignored.and(&others.ignored),
        })
    }
}

fn host(value: &Value) -> Result<HostId, String> {
    let name = value
        .as_str()
        .ok_or_else(|| must_be("hostId", r#"a string such as "web-01""#, value))?;
    name.parse().map_err(|error: HostIdError| error.to_string())
}

fn parsed<T>(name: &str, expected: &str, value: &Value) -> Result<T, String>
where
    T: FromStr<Err: Display>,
{
    let text = value
        .as_str()
        .ok_or_else(|| must_be(name, expected, value))?;
    text.parse()
        .map_err(|error: T::Err| format!("{name}: {error}"))
}

/// JSON does not distinguish 600000 from 600000.0, which clients that calculate with floats send.
fn millis<T>(name: &str, value: &Value) -> Result<T, String>
where
    T: TryFrom<u64, Error: Display>,
{
    let whole = |float: &f64| float.fract() == 0.0;
    let millis = value
        .as_u64()
        .or_else(|| format!("{}", value.as_f64().filter(whole)?).parse().ok())
        .ok_or_else(|| must_be(name, "a whole number of milliseconds such as 600000", value))?;
    T::try_from(millis).map_err(|error| format!("{name}: {error}"))
}

/// A text such as `5m`.
fn duration<T>(name: &str, value: &Value) -> Result<T, String>
where
    T: TryFrom<Duration, Error: Display>,
{
    let expected = || must_be(name, r#"a string such as "5m" or "1h 30m""#, value);
    let text = value.as_str().ok_or_else(expected)?;
    let duration = humantime::parse_duration(text).map_err(|_| expected())?;
    T::try_from(duration).map_err(|error| format!("{name}: {error}"))
}

fn signal(value: &Value) -> Result<Signal, String> {
    let word = value.as_str().and_then(path::word);
    word.ok_or_else(|| must_be("status", r#""ok", "fail", "start" or "log""#, value))
}

fn message(value: &Value) -> Result<Option<Message>, String> {
    let text = value
        .as_str()
        .ok_or_else(|| must_be("message", "a string", value))?;
    Ok(Some(Message::from(text.to_owned())).filter(|message| !message.is_empty()))
}

fn must_be(name: &str, expected: &str, found: &Value) -> String {
    format!("{name} must be {expected}, not {}", quoted(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_numbers() {
        let read =
            |text: &str| Fields::from_json(format!(r#"{{"intervalMs": {text}}}"#).as_bytes());
        for (text, millis) in [
            ("1000", 1_000),
            ("600000.0", 600_000),
            ("6e5", 600_000),
            ("34560000000", 34_560_000_000),
        ] {
            assert_eq!(
                read(text).unwrap().interval,
                Interval::from_millis(millis).ok(),
                "{text}"
            );
        }
        for text in [
            "-1",
            "1.5",
            "1000.5",
            "1e30",
            "-6e5",
            "\"5m\"",
            "\"600000\"",
            "true",
            "[]",
            "{}",
        ] {
            assert_eq!(
                read(text),
                Err(Invalid::Field {
                    code: "invalid_interval",
                    text: format!(
                        "intervalMs must be a whole number of milliseconds such as 600000, not {}",
                        serde_json::from_str::<Value>(text).unwrap()
                    )
                })
            );
        }
        for text in ["0", "-0.0", "999", "34560000001", "18446744073709551615"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_decoded_like_forms() {
        let read = |query: &str| Fields::from_query(query);
        let message = |text: &str| Some(Message::from(text.to_owned()));
        assert_eq!(
            read("message=disk+full%21&x=1&&=&y").unwrap().message,
            message("disk full!")
        );
        assert_eq!(
            read("message=a%ffb").unwrap().message,
            message("a\u{fffd}b")
        );
        let none = Fields {
            ignored: Ignored::default(),
            ..read("message=&x").unwrap()
        };
        assert_eq!(none, Fields::default());
        for (query, millis) in [("interval=5m", 300_000), ("interval=1h+30m", 5_400_000)] {
            let interval = Interval::from_millis(millis).ok();
            assert_eq!(read(query).unwrap().interval, interval, "{query}");
        }
        assert_eq!(read("status=OK").unwrap().signal, Some(Signal::Ok));
        assert_eq!(
            read("intervalMs=007000").unwrap().interval,
            Interval::from_millis(7_000).ok()
        );
        for query in [
            "intervalMs=",
            "intervalMs=%2B7000",
            "intervalMs=7000.0",
            "intervalMs=99999999999999999999",
            "status",
            "status=up",
            "interval=300",
            "interval=5x",
            "interval=1us",
            "interval=5m&intervalMs=300000",
        ] {
            assert!(
                matches!(
                    read(query),
                    Err(Invalid::Field {
                        code: "invalid_interval" | "invalid_status",
                        ..
                    })
                ),
                "{query}"
            );
        }
        assert_eq!(read("status=ok&status=ok"), Err(Invalid::Twice("status")));
    }
}
