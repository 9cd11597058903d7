//! What can be wrong with a beat, in words for the author of the client.

use hb_domain::HostIdError;

/// Why a request is not a beat. Clients see the text, which says what is wrong and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error(r#"the body is empty; send {{"hostId": "web-01"}}"#)]
    EmptyBody,
    /// With the parser's message.
    #[error(r#"the body is not JSON: {0}; send {{"hostId": "web-01"}}"#)]
    NotJson(String),
    #[error(r#"the body is not a JSON object; send {{"hostId": "web-01"}}"#)]
    NotAnObject,
    #[error(r#"the body is nested too deeply; send {{"hostId": "web-01"}}"#)]
    TooDeep,
    #[error("the body ended early; send it again")]
    BrokenOff,
    #[error(r#"hostId is missing; send {{"hostId": "web-01"}}"#)]
    HostMissing,
    #[error(transparent)]
    Host(#[from] HostIdError),
    #[error("the hostId in the path is not UTF-8 after percent-decoding")]
    HostEncoding,
    #[error("the request has two different hostIds; path, query and body must name the same host")]
    HostDiffers,
    /// The value of a field is wrong.
    #[error("{text}")]
    Field { code: &'static str, text: String },
    #[error("{0} appears twice; send it once")]
    Twice(&'static str),
    #[error("intervalMs and schedule contradict each other; leave one of them out")]
    TwoIntervals,
    #[error("the path and the status contradict each other; leave one of them out")]
    Contradiction,
    #[error(
        "the path ends with a number that is not an exit code (-2147483648 to 4294967295); \
         write a slash inside a hostId as %2F"
    )]
    ExitCode,
    #[error(
        "the path ends with a slash; end it with the hostId, and write a slash inside a hostId as %2F"
    )]
    TrailingSlash,
}

/// A value as a message quotes it: on one line, and cut.
pub(crate) fn quoted(value: &impl ToString) -> String {
    const CHARS: usize = 40;
    let text = value.to_string();
    if text.chars().count() <= CHARS {
        text
    } else {
        text.chars().take(CHARS).chain(['…']).collect()
    }
}
