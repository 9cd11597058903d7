//! Puts together what a request says about a host.

use hb_domain::Signal;
use hb_service::Report;

use crate::fields::Fields;
use crate::invalid::Invalid;
use crate::path;

/// The report of a request whose body must be a JSON object that names the host.
///
/// Query parameters count here as well: to read `?status=fail` as ok would be dangerous.
pub(crate) fn by_body(query: Option<&str>, body: &[u8]) -> Result<Report, Invalid> {
    let body = Fields::from_json(body)?;
    report(query, body, None)
}

/// The report of a request whose path, from behind `/v1/heartbeat/`, names the host.
///
/// A JSON object in the body counts, for the same reason, and what begins like one must be one: shells spoil
/// quotes. Any other body is some job's output and ignored.
pub(crate) fn by_path(raw: &str, query: Option<&str>, body: &[u8]) -> Result<Report, Invalid> {
    let path::Named { host, signal } = path::read(raw)?;
    let object = body.trim_ascii_start().starts_with(b"{");
    let body = match Fields::from_json(body) {
        Err(invalid @ Invalid::NotJson(_)) if object => return Err(invalid),
        Err(Invalid::EmptyBody | Invalid::NotJson(_) | Invalid::NotAnObject) => Fields::default(),
        read => read?,
    };
    let body = Fields {
        host: Some(host),
        ..Fields::default()
    }
    .or(body)?;
    report(query, body, signal)
}

fn report(query: Option<&str>, others: Fields, told: Option<Signal>) -> Result<Report, Invalid> {
    let fields = Fields::from_query(query.unwrap_or_default())?.or(others)?;
    let signal = match (told, fields.signal) {
        (Some(told), Some(said)) if told != said => return Err(Invalid::Contradiction),
        (told, said) => told.or(said).unwrap_or(Signal::Ok),
    };
    Ok(Report {
        host: fields.host.ok_or(Invalid::HostMissing)?,
        interval: fields.interval.unwrap_or_default(),
        signal,
        message: fields.message,
    })
}
