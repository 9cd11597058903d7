//! The answer to a call of the doctor, or the finding that there is none.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use hb_service::doctor::Finding;

use crate::client::Clients;
use crate::error::{self, Refusal};
use crate::meter::Operation;

/// The next step when something differs from the templates.
pub(super) const DEPLOY: &str = "deploy the stage again: its templates restore it";

/// A call that failed.
pub(super) struct Unanswered {
    pub(super) finding: Finding,
    /// Whether every other call would fail for the same reason.
    pub(super) stops_all: bool,
}

impl From<Unanswered> for Finding {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.finding
    }
}

/// Counts a call, and turns a failure into a finding.
pub(super) fn answer<O, E>(
    clients: &Clients,
    what: &str,
    operation: Operation,
    answer: Result<O, SdkError<E>>,
) -> Result<O, Unanswered>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    clients.meter.called(operation);
    answer.map_err(|error| unanswered(what, operation, &error))
}

fn unanswered<E>(what: &str, operation: Operation, error: &SdkError<E>) -> Unanswered
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let cause = error::explain(what, operation, error);
    let service = error.as_service_error();
    let code = service.and_then(|error| error.code()).unwrap_or_default();
    let message = service
        .and_then(|error| error.message())
        .unwrap_or_default();
    let one = |next: &str, cause: String| Unanswered {
        finding: Finding::problem(what, cause, next),
        stops_all: false,
    };
    let all = |thing: &str, next: &str, cause: String| Unanswered {
        finding: Finding::problem(thing, cause, next),
        stops_all: true,
    };
    if is_clock_skew(code, message) {
        let next = "set the clock of this machine and synchronise it with a time service";
        let cause = format!("AWS rejects the time of its requests: {message}");
        return all("clock", next, cause);
    }
    match Refusal::of(code) {
        Refusal::NotFound => one(
            "check stage, region and profile; if they are right, deploy the stage",
            cause,
        ),
        Refusal::NotAllowed => one("use a profile that may read the stage", cause),
        Refusal::InvalidCredentials | Refusal::ExpiredCredentials => all(
            "credentials",
            "sign in again (`aws sso login`), or name another profile",
            cause,
        ),
        _ if error::credentials(error).is_some() => all(
            "credentials",
            "sign in with the AWS command line, or name a profile that has credentials",
            cause,
        ),
        _ if service.is_none() => all(
            "network",
            "check the connection to AWS: a proxy, a firewall?",
            cause,
        ),
        Refusal::Throttled | Refusal::Other => one(
            "try again; if it persists, see the AWS Health Dashboard",
            cause,
        ),
    }
}

/// Signature Version 4 lets a clock be off by 5 minutes; services report a larger skew differently.
fn is_clock_skew(code: &str, message: &str) -> bool {
    let codes = [
        "RequestTimeTooSkewed",
        "RequestExpired",
        "RequestInTheFuture",
    ];
    codes.contains(&code)
        || message.contains("Signature expired")
        || message.contains("not yet current")
}
