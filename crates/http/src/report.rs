//! Combines path, query and body of a request into a beat.

use axum::http::Uri;
use hb_domain::{Beat, HostId, Signal, Timestamp};

use crate::fields::Fields;
use crate::invalid::Invalid;
use crate::{BY_PATH, path};

/// The host and the beat of a request whose body must be a JSON object that names the host.
///
/// Query parameters count here as well: to read `?status=fail` as ok would be dangerous.
pub(crate) fn by_body(uri: &Uri, body: &[u8], now: Timestamp) -> Result<(HostId, Beat), Invalid> {
    beat(uri, Fields::from_json(body)?, None, now)
}

/// The host and the beat of a request whose path names the host.
///
/// A JSON object in the body counts, for the same reason, and a body that starts like one must be valid: shells break
/// quotes. Any other body is the output of some job and ignored.
pub(crate) fn by_path(uri: &Uri, body: &[u8], now: Timestamp) -> Result<(HostId, Beat), Invalid> {
    let raw = uri.path().strip_prefix(BY_PATH).unwrap_or_default();
    let path::Named { host, signal } = path::read(raw)?;
    let object = body.trim_ascii_start().starts_with(b"{");
    let body = match Fields::from_json(body) {
        Err(invalid @ Invalid::NotJson(_)) if object => return Err(invalid),
        Err(Invalid::EmptyBody | Invalid::NotJson(_) | Invalid::NotAnObject) => Fields::default(),
        read => read?,
    };
    let named = Fields {
        host: Some(host),
        ..Fields::default()
    };
    beat(uri, named.or(body)?, signal, now)
}

fn beat(
    uri: &Uri,
    others: Fields,
    in_path: Option<Signal>,
    now: Timestamp,
) -> Result<(HostId, Beat), Invalid> {
    let fields = Fields::from_query(uri.query().unwrap_or_default())?.or(others)?;
    if in_path.is_some() && fields.signal.is_some() && in_path != fields.signal {
        return Err(Invalid::Contradiction);
    }
    let (host, beat) = fields.beat(in_path, now)?;
    Ok((host.ok_or(Invalid::HostMissing)?, beat))
}
