//! Reads the body of a request, up to its limit.

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use hb_domain::limits;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::Error;
use crate::invalid::Invalid;

/// Refuses a body whose announced length is too long. A body without one is counted while it is read.
pub(crate) fn announced(headers: &HeaderMap) -> Result<(), Error> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits::BODY_BYTES as u64) {
        Err(Error::TooLarge)
    } else {
        Ok(())
    }
}

/// Reads a body to its end.
pub(crate) async fn read(body: Body) -> Result<Bytes, Error> {
    match Limited::new(body, limits::BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge),
        // The client is gone and will not read the response, but access logs should not blame the server.
        Err(_) => Err(Invalid::BrokenOff.into()),
    }
}
