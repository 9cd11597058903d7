//! Reads the body of a request, up to its limit.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use hb_domain::limits;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};

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

/// A body, and the place that it takes among the long ones.
pub(crate) struct Held<'a> {
    pub(crate) bytes: Vec<u8>,
    _place: Option<SemaphorePermit<'a>>,
}

/// Reads a body to its end. A long one waits for one of the places `large`.
pub(crate) async fn read(body: Body, large: &Semaphore) -> Result<Held<'_>, Error> {
    let mut body = Limited::new(body, limits::BODY_BYTES);
    let mut bytes = Vec::new();
    let mut place = None;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if error.is::<LengthLimitError>() => return Err(Error::TooLarge),
            // The client is gone and will not read the response, but access logs should not blame the server.
            Err(_) => return Err(Invalid::BrokenOff.into()),
        };
        let Ok(data) = frame.into_data() else {
            // Trailers.
            continue;
        };
        if place.is_none() && bytes.len() + data.len() > limits::SMALL_BODY_BYTES {
            place = large.acquire().await.ok();
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Held {
        bytes,
        _place: place,
    })
}
