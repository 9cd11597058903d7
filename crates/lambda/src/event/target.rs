//! Path and query of an event as the target of a request.

use http::Uri;
use http::uri::InvalidUri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::form_urlencoded;

/// What cannot stand in a path or query, and would have been refused by the gateway had it been sent so.
const FORBIDDEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// The same in a path.
const IN_PATH: &AsciiSet = &FORBIDDEN.add(b'?');
/// The same in a path that was decoded, in which a percent sign is one.
const IN_DECODED_PATH: &AsciiSet = &IN_PATH.add(b'%');

/// Behind the stage that an HTTP API puts before its paths.
const ROOT: &str = "/v1/";

/// A path as an event has it.
pub(super) struct Path {
    pub(super) path: String,
    /// The gateway has percent-decoded it.
    pub(super) decoded: bool,
}

/// What the client asked for. HTTP APIs, unless their stage is `$default`, put the stage before the path.
pub(super) fn uri(path: &Path, stage: Option<&str>, query: &str) -> Result<Uri, InvalidUri> {
    let named = |stage| path.path.strip_prefix('/')?.strip_prefix(stage);
    // Only before a path of ours: a REST API with a stage `v1` has `/v1/heartbeat` without it.
    let bare = stage
        .and_then(named)
        .filter(|rest| rest.starts_with(ROOT))
        .unwrap_or(&path.path);
    let set = if path.decoded {
        IN_DECODED_PATH
    } else {
        IN_PATH
    };
    let slash = if bare.starts_with('/') { "" } else { "/" };
    let mark = if query.is_empty() { "" } else { "?" };
    let (bare, query) = (
        utf8_percent_encode(bare, set),
        utf8_percent_encode(query, FORBIDDEN),
    );
    format!("{slash}{bare}{mark}{query}").parse()
}

/// A query of parameters that are still encoded.
pub(super) fn joined(parameters: Vec<(String, String)>) -> String {
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parameters.join("&")
}

/// A query of parameters that were decoded.
pub(super) fn encoded(parameters: Vec<(String, String)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}
