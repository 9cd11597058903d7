//! Calls to AWS that failed, explained to the person who has to fix them.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use hb_service::ports::{Cause, PortError, PortResult};

use crate::meter::{Meter, Operation};

/// A failed call: the explanation as the message, the SDK's error as the source.
#[derive(Debug, thiserror::Error)]
#[error("{explanation}")]
pub(crate) struct CallError {
    explanation: String,
    source: Cause,
}

impl CallError {
    pub(crate) fn new<E>(what: &str, operation: Operation, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Self {
            explanation: explain(what, operation, &error),
            source: Box::new(error),
        }
    }
}

/// Counts a call without a capacity charge, and turns its answer into the result of a port.
pub(crate) fn settle<O, E>(
    meter: &Meter,
    what: &str,
    operation: Operation,
    answer: Result<O, SdkError<E>>,
) -> PortResult<O>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    meter.called(operation);
    answer.map_err(|error| unavailable(what, operation, error))
}

/// The error of `operation` on `what`, such as `table hb-prod-heartbeats`.
pub(crate) fn unavailable<E>(what: &str, operation: Operation, error: SdkError<E>) -> PortError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    PortError::unavailable(what, CallError::new(what, operation, error))
}

/// What went wrong and, where known, how to fix it.
pub(crate) fn explain<E>(what: &str, operation: Operation, error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(credentials) = credentials(error) {
        return no_credentials(&chain(credentials));
    }
    match error {
        SdkError::ConstructionFailure(_) => {
            format!("the request could not be built: {}", chain(error))
        }
        SdkError::TimeoutError(_) => format!("no answer to {operation:?} in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            format!("no answer to {operation:?} in time: {}", chain(error))
        }
        SdkError::DispatchFailure(_) => format!("no answer to {operation:?}: {}", chain(error)),
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            format!("unreadable response (HTTP status {status})")
        }
        SdkError::ServiceError(response) => {
            let status = response.raw().status().as_u16();
            let code = response.err().code().unwrap_or_default();
            let message = response.err().message().unwrap_or_default();
            explain_code(what, operation, code, message, status)
        }
        _ => chain(error),
    }
}

/// The SDK lists the providers that it tried on lines of their own: they are left out.
fn no_credentials(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.trim_end_matches(". Attempted:");
    format!("the credentials could not be loaded: {first}: sign in, or name a profile")
}

/// Why a service refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotAllowed,
    NotFound,
    ExpiredCredentials,
    InvalidCredentials,
    Throttled,
    Other,
}

impl Refusal {
    /// The codes: "Common errors" and "Error handling" in the API references of DynamoDB, SNS and SQS.
    pub(crate) fn of(code: &str) -> Self {
        match code {
            "AccessDeniedException"
            | "AccessDenied"
            | "AuthorizationError"
            | "AuthorizationErrorException" => Self::NotAllowed,
            "ResourceNotFoundException"
            | "NotFound"
            | "NotFoundException"
            | "QueueDoesNotExist"
            | "AWS.SimpleQueueService.NonExistentQueue" => Self::NotFound,
            "ExpiredTokenException" | "ExpiredToken" => Self::ExpiredCredentials,
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken" => Self::InvalidCredentials,
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "Throttling"
            | "Throttled"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "KMSThrottling" => Self::Throttled,
            _ => Self::Other,
        }
    }
}

fn explain_code(
    what: &str,
    operation: Operation,
    code: &str,
    message: &str,
    status: u16,
) -> String {
    match Refusal::of(code) {
        Refusal::NotAllowed => format!("not allowed: allow {} on {what}", operation.action()),
        Refusal::NotFound => format!(
            "{what} does not exist in this account and region: deploy the stage, or check its name and the region"
        ),
        Refusal::ExpiredCredentials => {
            "the credentials have expired: sign in again, or restart what holds the old ones"
                .to_owned()
        }
        Refusal::InvalidCredentials => {
            format!("the credentials are not accepted ({code}): {message}")
        }
        Refusal::Throttled => {
            format!("throttled: {operation:?} was refused for its rate ({code})")
        }
        Refusal::Other if code.is_empty() => format!("HTTP status {status} to {operation:?}"),
        Refusal::Other => format!("{code} to {operation:?} (HTTP status {status}): {message}"),
    }
}

/// The error of loading credentials, if that is what failed: then nothing was sent.
pub(crate) fn credentials<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The messages of an error and its causes, without those that repeat the one before.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// An error and its causes, the outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_that_were_tried_are_left_out() {
        let message = "not enabled: no credentials found in chain. Attempted:\n  Environment: not set\n  Profile: none";
        assert_eq!(
            no_credentials(message),
            "the credentials could not be loaded: not enabled: no credentials found in chain: sign in, or name a profile"
        );
    }

    #[test]
    fn codes_are_explained_with_the_next_step() {
        let table = "table hb-prod-heartbeats";
        let cases = [
            (
                "AccessDeniedException",
                "not allowed: allow dynamodb:UpdateItem on table hb-prod-heartbeats",
            ),
            (
                "ResourceNotFoundException",
                "table hb-prod-heartbeats does not exist in this account and region: deploy the stage, or check its \
                 name and the region",
            ),
            (
                "ExpiredTokenException",
                "the credentials have expired: sign in again, or restart what holds the old ones",
            ),
            (
                "InvalidClientTokenId",
                "the credentials are not accepted (InvalidClientTokenId): said",
            ),
            (
                "ThrottlingException",
                "throttled: UpdateItem was refused for its rate (ThrottlingException)",
            ),
            (
                "Throttled",
                "throttled: UpdateItem was refused for its rate (Throttled)",
            ),
            (
                "ValidationException",
                "ValidationException to UpdateItem (HTTP status 400): said",
            ),
            ("", "HTTP status 400 to UpdateItem"),
        ];
        for (code, expected) in cases {
            assert_eq!(
                explain_code(table, Operation::UpdateItem, code, "said", 400),
                expected
            );
        }
    }
}
