//! Parses the path of a beat: the host, and perhaps the exit code of its job.

use std::ops::RangeInclusive;

use hb_domain::{HostId, Signal};
use percent_encoding::percent_decode_str;

use crate::invalid::Invalid;

/// Exit codes: 0 to 255 on Unix, 32 bits on Windows, where scripts see them signed or unsigned.
const EXIT_CODES: RangeInclusive<i64> = -(1 << 31)..=(1 << 32) - 1;

/// The parsed path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: HostId,
    pub(crate) signal: Option<Signal>,
    /// The exit code of a job that failed, if the signal is one.
    pub(crate) exit: Option<i64>,
}

/// Parses what follows `/v1/heartbeat/`, not yet percent-decoded.
///
/// The last of several segments is the signal if it is a word of [`SIGNALS`] or an exit code; all others are the name. Only a literal
/// slash separates segments: `rack/7` is exit code 7 of `rack`, `rack%2F7` is a host.
/// A number that is not an exit code, and an empty last segment, are more likely a mistake than a name.
pub(crate) fn read(raw: &str) -> Result<Named, Invalid> {
    let (name, signal, exit) = match raw.rsplit_once('/') {
        None => (raw, None, None),
        Some((_, "")) => return Err(Invalid::TrailingSlash),
        Some((before, last)) => match (word(last), code(last)?) {
            (None, None) => (raw, None, None),
            (None, Some(0)) => (before, Some(Signal::Ok), None),
            (None, exit) => (before, Some(Signal::Fail), exit),
            (signal, _) => (before, signal, None),
        },
    };
    let name = percent_decode_str(name)
        .decode_utf8()
        .map_err(|_| Invalid::HostEncoding)?;
    Ok(Named {
        host: name.parse()?,
        signal,
        exit,
    })
}

/// The words for signals, in any case.
const SIGNALS: [(&str, Signal); 5] = [
    ("ok", Signal::Ok),
    ("success", Signal::Ok),
    ("fail", Signal::Fail),
    ("start", Signal::Start),
    ("log", Signal::Log),
];

/// The signal that a word is, if it is one.
pub(crate) fn word(text: &str) -> Option<Signal> {
    let is = |(word, _): &&(&str, Signal)| text.eq_ignore_ascii_case(word);
    SIGNALS.iter().find(is).map(|(_, signal)| *signal)
}

/// The exit code that a segment is, if it is a number.
fn code(segment: &str) -> Result<Option<i64>, Invalid> {
    let digits = segment.strip_prefix('-').unwrap_or(segment);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let code = segment.parse().ok();
    let code = code.filter(|code| EXIT_CODES.contains(code));
    code.map(Some).ok_or(Invalid::ExitCode)
}

#[cfg(test)]
mod tests {
    use hb_domain::HostIdError;

    use super::*;

    #[test]
    fn the_last_segment_may_be_a_signal() {
        let (ok, fail) = (Some(Signal::Ok), Some(Signal::Fail));
        let cases = [
            ("web-01", "web-01", None),
            ("web-01/fail", "web-01", fail),
            ("web-01/0", "web-01", ok),
            ("web-01/00", "web-01", ok),
            ("web-01/1", "web-01", fail),
            ("web-01/255", "web-01", fail),
            ("web-01/-1", "web-01", fail),
            ("web-01/-2147483648", "web-01", fail),
            ("web-01/3221225477", "web-01", fail),
            ("web-01/4294967295", "web-01", fail),
            ("fail", "fail", None),
            ("7", "7", None),
            ("99999999999", "99999999999", None),
            ("fail/fail", "fail", fail),
            ("7/0", "7", ok),
            ("rack/7", "rack", fail),
            ("rack%2F7", "rack/7", None),
            ("rack%2f7", "rack/7", None),
            ("rack/%37", "rack/7", None),
            ("rack/7/0", "rack/7", ok),
            ("db/base%2Ffail", "db/base/fail", None),
            ("db/base", "db/base", None),
            ("/etc/backup", "/etc/backup", None),
            ("web-01/FAIL", "web-01", fail),
            ("web-01/Success", "web-01", ok),
            ("web-01/ok", "web-01", ok),
            ("web-01/start", "web-01", Some(Signal::Start)),
            ("web-01/LOG", "web-01", Some(Signal::Log)),
            ("web-01%2Flog", "web-01/log", None),
            ("log", "log", None),
            ("web-01/started", "web-01/started", None),
            ("web-01/1.5", "web-01/1.5", None),
            ("web-01/-", "web-01/-", None),
            (
                "cron%40web.example.com%3A22",
                "cron@web.example.com:22",
                None,
            ),
            ("cron@web.example.com:22", "cron@web.example.com:22", None),
            ("%77eb", "web", None),
        ];
        for (raw, host, signal) in cases {
            let named = read(raw).unwrap();
            assert_eq!((named.host.as_str(), named.signal), (host, signal), "{raw}");
        }
    }

    #[test]
    fn the_exit_code_of_a_failure_is_kept() {
        let exit = |raw| read(raw).unwrap().exit;
        assert_eq!(exit("rack/007"), Some(7));
        assert_eq!(exit("rack/-1"), Some(-1));
        for raw in ["rack", "rack/0", "rack/fail", "rack%2F7", "7"] {
            assert_eq!(exit(raw), None, "{raw}");
        }
    }

    #[test]
    fn each_bad_path_is_refused_with_its_reason() {
        let long = "x".repeat(201);
        let character = |found, position| HostIdError::Character { found, position };
        let cases = [
            ("", Invalid::Host(HostIdError::Empty)),
            ("/fail", Invalid::Host(HostIdError::Empty)),
            ("/0", Invalid::Host(HostIdError::Empty)),
            ("/", Invalid::TrailingSlash),
            ("web-01/", Invalid::TrailingSlash),
            ("web-01/fail/", Invalid::TrailingSlash),
            ("web-01/4294967296", Invalid::ExitCode),
            ("web-01/-2147483649", Invalid::ExitCode),
            ("web-01/99999999999999999999999", Invalid::ExitCode),
            ("web%ff", Invalid::HostEncoding),
            ("web%00", Invalid::Host(character('\0', 4))),
            ("web%2", Invalid::Host(character('%', 4))),
            ("web+01", Invalid::Host(character('+', 4))),
            ("w%C3%A4b", Invalid::Host(character('ä', 2))),
            (&long, Invalid::Host(HostIdError::TooLong { chars: 201 })),
        ];
        for (raw, reason) in cases {
            assert_eq!(read(raw), Err(reason), "{raw}");
        }
    }
}
