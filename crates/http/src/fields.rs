//! The fields of a beat, and how they are read from a query and from a body.

use hb_domain::{HostId, Interval, Message, Signal};
use serde_json::Value;
use url::form_urlencoded;

use crate::invalid::{Invalid, quoted};
use crate::json;

/// The names of the fields, in the order of [`Fields`].
pub(crate) const NAMES: [&str; 4] = ["hostId", "intervalMs", "status", "message"];

/// What one part of a request says; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) host: Option<HostId>,
    pub(crate) interval: Option<Interval>,
    pub(crate) signal: Option<Signal>,
    pub(crate) message: Option<Message>,
}

impl Fields {
    /// Reads query parameters. Unknown ones are ignored.
    pub(crate) fn from_query(query: &str) -> Result<Self, Invalid> {
        let mut values: [Option<Value>; 4] = Default::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                continue;
            };
            if values[index]
                .replace(Value::String(value.into_owned()))
                .is_some()
            {
                return Err(Invalid::Twice(NAMES[index]));
            }
        }
        let [host, interval, status, message] = values.map(Option::unwrap_or_default);
        Self::read(&host, digits(interval), &status, message)
    }

    /// Reads a body of JSON. Unknown members are ignored, and `null` is as good as absent.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, Invalid> {
        let [host, interval, status, message] = json::members(body, NAMES)?;
        Self::read(&host, interval, &status, message)
    }

    fn read(
        host: &Value,
        interval: Value,
        status: &Value,
        message: Value,
    ) -> Result<Self, Invalid> {
        let host = match host {
            Value::Null => None,
            Value::String(name) => Some(name.parse()?),
            other => return Err(Invalid::HostType(quoted(other))),
        };
        let interval = match interval {
            Value::Null => None,
            other => Some(interval_of(&other)?),
        };
        let signal = match status {
            Value::Null => None,
            Value::String(status) if status == "ok" => Some(Signal::Ok),
            Value::String(status) if status == "fail" => Some(Signal::Fail),
            other => return Err(Invalid::Status(quoted(other))),
        };
        let message = match message {
            Value::Null => None,
            Value::String(text) => Some(Message::from(text)).filter(|message| !message.is_empty()),
            other => return Err(Invalid::MessageType(quoted(&other))),
        };
        Ok(Self {
            host,
            interval,
            signal,
            message,
        })
    }

    /// What these say, and `others` where these say nothing. About the host both must agree.
    pub(crate) fn or(self, others: Self) -> Result<Self, Invalid> {
        if let (Some(one), Some(other)) = (&self.host, &others.host)
            && one != other
        {
            return Err(Invalid::HostDiffers);
        }
        Ok(Self {
            host: self.host.or(others.host),
            interval: self.interval.or(others.interval),
            signal: self.signal.or(others.signal),
            message: self.message.or(others.message),
        })
    }
}

/// Decimal digits of a query as the number that they are; anything else as it is.
fn digits(value: Value) -> Value {
    let plain = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    value
        .as_str()
        .filter(plain)
        .and_then(|text| text.parse::<u64>().ok())
        .map_or(value, Value::from)
}

/// JSON does not tell 600000 from 600000.0, which clients that calculate with floats send.
fn interval_of(value: &Value) -> Result<Interval, Invalid> {
    let whole = |float: &f64| float.fract() == 0.0;
    let millis = value
        .as_u64()
        .or_else(|| format!("{}", value.as_f64().filter(whole)?).parse().ok());
    Ok(Interval::from_millis(
        millis.ok_or_else(|| Invalid::IntervalType(quoted(value)))?,
    )?)
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
            ("31536000000", 31_536_000_000),
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
                Err(Invalid::IntervalType(quoted(
                    &serde_json::from_str::<Value>(text).unwrap()
                )))
            );
        }
        for text in ["0", "-0.0", "999", "31536000001", "18446744073709551615"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_read_like_forms() {
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
        assert_eq!(read("message=").unwrap(), Fields::default());
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
            "status=OK",
        ] {
            assert!(
                matches!(
                    read(query),
                    Err(Invalid::IntervalType(_) | Invalid::Status(_))
                ),
                "{query}"
            );
        }
        assert_eq!(read("status=ok&status=ok"), Err(Invalid::Twice("status")));
    }
}
