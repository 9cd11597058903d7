//! The request target: path and query of an event.

use http::Uri;
use http::uri::InvalidUri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::form_urlencoded;

/// What a path or query cannot contain. A client cannot have sent it unencoded: the gateway would have refused it.
const FORBIDDEN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// What a path cannot contain.
const IN_PATH: &AsciiSet = &FORBIDDEN.add(b'?');
/// What a decoded path cannot contain: there a percent sign is literal.
const IN_DECODED_PATH: &AsciiSet = &IN_PATH.add(b'%');

pub(super) struct Path {
    path: String,
    /// Whether the gateway percent-decoded it.
    decoded: bool,
}

impl Path {
    pub(super) fn new(path: Option<String>, decoded: bool) -> Option<Self> {
        path.map(|path| Self { path, decoded })
    }
}

/// The target that the client requested, behind the stage if the gateway put it there.
pub(super) fn uri(path: &Path, query: &str) -> Result<Uri, InvalidUri> {
    let set = if path.decoded {
        IN_DECODED_PATH
    } else {
        IN_PATH
    };
    let slash = if path.path.starts_with('/') { "" } else { "/" };
    let mark = if query.is_empty() { "" } else { "?" };
    let bare = utf8_percent_encode(&path.path, set);
    let query = utf8_percent_encode(query, FORBIDDEN);
    format!("{slash}{bare}{mark}{query}").parse()
}

/// A query from parameters that are still encoded.
pub(super) fn joined(parameters: Vec<(String, String)>) -> String {
    let parameters: Vec<_> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parameters.join("&")
}

/// A query from decoded parameters.
pub(super) fn encoded(parameters: Vec<(String, String)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}
