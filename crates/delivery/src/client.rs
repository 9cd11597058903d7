//! The HTTP client of everything that calls out from one machine.

use std::error::Error;

use reqwest::{Client, ClientBuilder};

use crate::sender::SendError;

/// The client that `settings` describe. On a machine without CA certificates it is one that rejects all TLS servers
/// and still speaks plain HTTP, because everything else must go on there.
pub fn http_client(settings: impl Fn() -> ClientBuilder) -> Result<Client, SendError> {
    settings().build().or_else(|error| {
        tracing::warn!(
            "https is unavailable, install the package ca-certificates: {}",
            chain(&error)
        );
        settings()
            .tls_certs_only([])
            .build()
            .map_err(|error| SendError::new(chain(&error)))
    })
}

/// An error with its causes, which reqwest does not show by itself.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
