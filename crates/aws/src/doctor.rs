//! What is wrong with a deployed stage, as AWS describes its tables, topic and echo queue. Changes nothing.

mod echo;
mod table;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use hb_service::doctor::Finding;

use crate::client::Clients;
use crate::create::table_definitions;
use crate::error;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};

/// What to do about something that is not as the templates make it.
const DEPLOY: &str = "deploy the stage again: its templates make it so";

/// Looks at every table of `stage` by its exact name, at its topic, and at its echo queue. When nothing at all can be
/// asked (no credentials, no network, a clock that is off), that is the only finding.
pub async fn examine(clients: &Clients, stage: &Stage) -> Vec<Finding> {
    let (mut findings, mut arn) = (Vec::new(), None);
    for definition in table_definitions(stage) {
        let what = format!("table {}", definition.name);
        clients.meter.called(Operation::DescribeTable);
        let answer = clients
            .quick
            .describe_table()
            .table_name(&definition.name)
            .send()
            .await;
        match answer {
            Ok(output) => {
                let table = output.table.unwrap_or_else(|| {
                    aws_sdk_dynamodb::types::TableDescription::builder().build()
                });
                arn = arn.or_else(|| table.table_arn.clone());
                findings.extend(table::findings(&what, &definition, &table));
            }
            Err(cause) => {
                let (finding, hopeless) = unanswered(&what, Operation::DescribeTable, &cause);
                if hopeless {
                    return vec![finding];
                }
                findings.push(finding);
            }
        }
    }
    // The ARN of a table tells the account, and so the ARN of the topic.
    let topic = arn
        .as_deref()
        .and_then(|arn| TopicArn::beside_table(stage, arn).ok());
    if let Some(topic) = topic {
        findings.extend(echo::examine(clients, stage, &topic).await);
    }
    findings
}

/// The finding of a call that failed, and whether every other call would fail alike.
fn unanswered<E>(what: &str, operation: Operation, error: &SdkError<E>) -> (Finding, bool)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let cause = error::words(what, operation, error);
    let (code, said) = match error.as_service_error() {
        Some(answer) => (
            answer.code().unwrap_or_default(),
            answer.message().unwrap_or_default(),
        ),
        None => ("", ""),
    };
    // Signature Version 4 lets a clock be off by 5 minutes; services differ in how they say that it is.
    let skewed = matches!(
        code,
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture"
    ) || said.contains("Signature expired")
        || said.contains("not yet current");
    if skewed {
        let next = "set the clock of this machine, and let it follow a time service";
        return (
            Finding::problem(
                "clock",
                format!("AWS refuses requests that it dates: {said}"),
                next,
            ),
            true,
        );
    }
    match code {
        "ResourceNotFoundException"
        | "NotFound"
        | "NotFoundException"
        | "QueueDoesNotExist"
        | "AWS.SimpleQueueService.NonExistentQueue" => {
            let next = "see whether stage, region and profile are meant so, and deploy the stage if they are";
            (Finding::problem(what, cause, next), false)
        }
        "AccessDeniedException"
        | "AccessDenied"
        | "AuthorizationError"
        | "AuthorizationErrorException" => (
            Finding::problem(what, cause, "use a profile that may read the stage"),
            false,
        ),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "ExpiredToken" => {
            let next = "sign in again (`aws sso login`), or name another profile";
            (Finding::problem("credentials", cause, next), true)
        }
        "" if error::credentials(error).is_some() => {
            let next = "sign in with the AWS command line, or name a profile that has credentials";
            (Finding::problem("credentials", cause, next), true)
        }
        "" if !matches!(error, SdkError::ServiceError(_)) => (
            Finding::problem(
                "network",
                cause,
                "see whether AWS is reached from here: a proxy, a firewall?",
            ),
            true,
        ),
        _ => (
            Finding::problem(
                what,
                cause,
                "try again; if it stays, see the AWS Health Dashboard",
            ),
            false,
        ),
    }
}
