//! Combines path, query and body of a request into a beat.

use axum::http::Uri;
use hb_domain::{Beat, HostId, Message, Signal, Timestamp, printed};

use crate::fields::Fields;
use crate::ignored::Ignored;
use crate::invalid::Invalid;
use crate::{BY_PATH, path};

/// What a request says.
pub(crate) struct Report {
    pub(crate) host: HostId,
    pub(crate) beat: Beat,
    pub(crate) ignored: Ignored,
}

/// The report of a request whose body must be a JSON object that names the host.
///
/// Query parameters count here as well: to read `?status=fail` as ok would be dangerous.
pub(crate) fn by_body(uri: &Uri, body: &[u8], now: Timestamp) -> Result<Report, Invalid> {
    report(uri, Fields::from_json(body)?, None, now)
}

/// The report of a request whose path names the host.
///
/// A JSON object in the body counts, for the same reason, and a body that starts like one must be valid: shells break
/// quotes. Any other body is the output of some job and ignored. But behind a signal no body is wrong: a beat is never refused
/// for what its job prints.
pub(crate) fn by_path(uri: &Uri, body: &[u8], now: Timestamp) -> Result<Report, Invalid> {
    let raw = uri.path().strip_prefix(BY_PATH).unwrap_or_default();
    let path::Named { host, signal, exit } = path::read(raw)?;
    let named = Fields {
        host: Some(host),
        ..Fields::default()
    };
    let Some(signal) = signal else {
        return report(uri, named.or(object(body)?)?, None, now);
    };
    let (fields, output) = said(&named, body, signal);
    let mut report = report(uri, named.or(fields)?, Some(signal), now)?;
    let how = exit.map(|code| format!("exit {code}"));
    let message = match (report.beat.message, &how) {
        (Some(message), Some(how)) => Message::from(format!("{how}: {}", message.as_str())),
        (Some(message), None) => message,
        (None, how) => Message::of_job(how.as_deref(), &output),
    };
    report.beat.message = Some(message).filter(|message| !message.is_empty());
    Ok(report)
}

/// The fields in the body of a request whose path names the host. It may be of a system that means something else by `status`.
fn object(body: &[u8]) -> Result<Fields, Invalid> {
    let object = body.trim_ascii_start().starts_with(b"{");
    match Fields::from_foreign_json(body) {
        Err(invalid @ Invalid::NotJson(_)) if object => Err(invalid),
        Err(Invalid::EmptyBody | Invalid::NotJson(_) | Invalid::NotAnObject) => {
            Ok(Fields::default())
        }
        read => read,
    }
}

/// What the body behind `signal` says: the fields of an object that does not contradict the path, and what a job printed unless
/// there are only fields.
fn said(path: &Fields, body: &[u8], signal: Signal) -> (Fields, String) {
    let agrees = |fields: &Fields| {
        (fields.host.is_none() || fields.host == path.host)
            && fields.signal.is_none_or(|said| said == signal)
    };
    let fields = Fields::from_foreign_json(body).ok().filter(agrees);
    let only_fields = |fields: &Fields| fields.ignored.names().is_empty();
    let kept = matches!(signal, Signal::Fail | Signal::Log);
    let output = if kept && !fields.as_ref().is_some_and(only_fields) {
        let printed = printed(&String::from_utf8_lossy(body));
        // runitor ends each output with it; it says no more than the exit code.
        let added = |line: &&str| line.starts_with("[runitor] exit status ");
        let lines: Vec<_> = printed.lines().filter(|line| !added(line)).collect();
        lines.join("\n")
    } else {
        String::new()
    };
    (fields.unwrap_or_default(), output)
}

/// The report with these `others` and the query.
fn report(
    uri: &Uri,
    others: Fields,
    in_path: Option<Signal>,
    now: Timestamp,
) -> Result<Report, Invalid> {
    let mut fields = Fields::from_query(uri.query().unwrap_or_default())?.or(others)?;
    if in_path.is_some() && fields.signal.is_some() && in_path != fields.signal {
        return Err(Invalid::Contradiction);
    }
    let ignored = std::mem::take(&mut fields.ignored);
    let (host, beat) = fields.beat(in_path, now)?;
    Ok(Report {
        host: host.ok_or(Invalid::HostMissing)?,
        beat,
        ignored,
    })
}
