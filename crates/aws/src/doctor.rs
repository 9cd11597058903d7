//! Findings about a deployed stage, from how AWS describes its tables, topic and echo queue. Changes nothing.

mod answer;
mod echo;
mod table;

use aws_sdk_dynamodb::types::TableDescription;
use hb_service::doctor::Finding;

use self::answer::{Unanswered, answer};
use crate::client::Clients;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};
use crate::tables::table_definitions;

/// Examines every table of `stage` by its exact name, its topic and its echo queue. When no call at all can succeed
/// (no credentials, no network, a wrong clock), that is the only finding.
pub async fn examine(clients: &Clients, stage: &Stage) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut arn = None;
    for definition in table_definitions(stage) {
        let what = format!("table {}", definition.name);
        let request = clients.quick.describe_table().table_name(&definition.name);
        let described = request.send().await;
        match answer(clients, &what, Operation::DescribeTable, described) {
            Ok(output) => {
                let none = || TableDescription::builder().build();
                let table = output.table.unwrap_or_else(none);
                findings.extend(table::findings(&what, &definition, &table));
                arn = arn.or(table.table_arn);
            }
            Err(Unanswered {
                finding,
                stops_all: true,
            }) => return vec![finding],
            Err(unanswered) => findings.push(unanswered.finding),
        }
    }
    // The ARN of a table names the account, and so gives the ARN of the topic.
    let topic = arn.and_then(|arn| TopicArn::beside_table(stage, &arn).ok());
    if let Some(topic) = topic {
        findings.extend(echo::examine(clients, stage, &topic).await);
    }
    findings
}
