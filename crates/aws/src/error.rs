//! What went wrong with a call to AWS, in words for somebody who was just woken.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use hb_service::ports::PortError;

use crate::meter::Operation;

/// The error of `operation` on `what`, such as `table hb-prod-heartbeats`: what it is and, where that is known, what
/// to do about it.
pub(crate) fn trouble<E>(what: &str, operation: Operation, error: &SdkError<E>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    PortError::unavailable(what, words(what, operation, error))
}

/// The same without the thing's name in front.
pub(crate) fn words<E>(what: &str, operation: Operation, error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(credentials) = credentials(error) {
        return no_credentials(&chain(credentials));
    }
    match error {
        SdkError::ConstructionFailure(_) => {
            format!("the request could not be made: {}", chain(error))
        }
        SdkError::TimeoutError(_) => format!("no answer to {operation:?} in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            format!("no answer to {operation:?} in time: {}", chain(error))
        }
        SdkError::DispatchFailure(_) => format!("no answer to {operation:?}: {}", chain(error)),
        SdkError::ResponseError(response) => {
            format!(
                "an answer that cannot be read (HTTP status {})",
                response.raw().status().as_u16()
            )
        }
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let (code, said) = (answer.err().code(), answer.err().message());
            service(
                what,
                operation,
                code.unwrap_or_default(),
                said.unwrap_or_default(),
                status,
            )
        }
        _ => chain(error),
    }
}

/// The chain of the SDK lists on lines of their own where it looked.
fn no_credentials(said: &str) -> String {
    let first = said
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(". Attempted:");
    format!("the credentials could not be loaded: {first}: sign in, or name a profile")
}

/// What an error code of DynamoDB or SNS means here. The codes: "Common errors" and "Error handling" in the API
/// references of both.
fn service(what: &str, operation: Operation, code: &str, said: &str, status: u16) -> String {
    let action = operation.action();
    match code {
        "AccessDeniedException"
        | "AccessDenied"
        | "AuthorizationError"
        | "AuthorizationErrorException" => {
            format!("not allowed: allow {action} on {what}")
        }
        "ResourceNotFoundException"
        | "NotFound"
        | "NotFoundException"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => {
            format!(
                "{what} does not exist in this account and region: deploy the stage, or check its name and the region"
            )
        }
        "ExpiredTokenException" | "ExpiredToken" => {
            "the credentials have expired: sign in again, or restart what holds the old ones"
                .to_owned()
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => {
            format!("the credentials are not accepted ({code}): {said}")
        }
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "Throttled"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "KMSThrottling" => format!("throttled: {operation:?} was refused for its rate ({code})"),
        "" => format!("HTTP status {status} to {operation:?}"),
        _ => format!("{code} to {operation:?} (HTTP status {status}): {said}"),
    }
}

/// The error of loading credentials, if it was that: then nothing was sent.
pub(crate) fn credentials<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes, each once.
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
    fn where_credentials_were_looked_for_is_left_out() {
        let said = "not enabled: no credentials found in chain. Attempted:\n  Environment: not set\n  Profile: none";
        assert_eq!(
            no_credentials(said),
            "the credentials could not be loaded: not enabled: no credentials found in chain: sign in, or name a profile"
        );
    }

    #[test]
    fn codes_become_words_that_say_what_to_do() {
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
                service(table, Operation::UpdateItem, code, "said", 400),
                expected
            );
        }
    }
}
