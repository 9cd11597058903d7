//! Creates a bare stage for emulators.
//!
//! A deployed stage is created by its templates, which add recovery, protection and replicas.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use hb_service::ports::{PortError, PortResult};

use crate::client::Clients;
use crate::error::{explain, settle, unavailable};
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};
use crate::tables::{Attribute, IndexDefinition, TableDefinition, table_definitions};

/// How long a table may take to become active; seconds are usual.
const ACTIVE_WITHIN: Duration = Duration::from_mins(1);
const POLL_EVERY: Duration = Duration::from_millis(500);

/// Creates the tables, the topic and the echo queue of `stage` where they are missing, and waits until they can be
/// used. What exists stays as it is.
pub async fn create_stage(clients: &Clients, stage: &Stage) -> PortResult<TopicArn> {
    for table in table_definitions(stage) {
        create_table(clients, &table).await?;
    }
    let what = format!("topic {}", stage.notices());
    let request = clients.sns.create_topic().name(stage.notices());
    let answer = request.send().await;
    let output = settle(&clients.meter, &what, Operation::CreateTopic, answer)?;
    let arn = output
        .topic_arn
        .ok_or_else(|| PortError::unavailable(what, "it was created without an ARN"))?;
    let topic = TopicArn::given(&arn);
    create_echo_queue(clients, stage, &topic).await?;
    Ok(topic)
}

/// Creates the queue that receives everything that the topic accepts, raw and without a filter.
async fn create_echo_queue(clients: &Clients, stage: &Stage, topic: &TopicArn) -> PortResult<()> {
    let what = format!("queue {}", stage.echo());
    let queue = topic.beside(&stage.echo(), "sqs");
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic.as_str()}},
        }],
    });
    let request = clients
        .sqs
        .create_queue()
        .queue_name(stage.echo())
        .attributes(QueueAttributeName::Policy, policy.to_string());
    let answer = request.send().await;
    settle(&clients.meter, &what, Operation::CreateQueue, answer)?;
    let request = clients
        .sns
        .subscribe()
        .topic_arn(topic.as_str())
        .protocol("sqs")
        .endpoint(queue)
        .attributes("RawMessageDelivery", "true");
    let answer = request.send().await;
    settle(&clients.meter, &what, Operation::Subscribe, answer).map(drop)
}

async fn create_table(clients: &Clients, table: &TableDefinition) -> PortResult<()> {
    let what = format!("table {}", table.name);
    let impossible = |error| PortError::unavailable(&what, error);
    let indexed = table.index.iter().flat_map(|index| &index.key);
    let mut attributes: Vec<Attribute> = Vec::new();
    for attribute in table.key.iter().chain(indexed) {
        if !attributes.contains(attribute) {
            attributes.push(*attribute);
        }
    }
    let attributes: Result<_, _> = attributes.into_iter().map(definition).collect();
    let index = table.index.as_ref().map(index).transpose();
    let index = index.map_err(impossible)?;
    clients.meter.called(Operation::CreateTable);
    let answer = clients
        .patient
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(schema(&table.key).map_err(impossible)?))
        .set_attribute_definitions(Some(attributes.map_err(impossible)?))
        .set_global_secondary_indexes(index.map(|index| vec![index]))
        .send()
        .await;
    if let Err(error) = answer {
        let exists = error
            .as_service_error()
            .is_some_and(CreateTableError::is_resource_in_use_exception);
        if !exists {
            return Err(unavailable(&what, Operation::CreateTable, error));
        }
    }
    until_active(clients, &table.name).await
}

async fn until_active(clients: &Clients, table: &str) -> PortResult<()> {
    let what = format!("table {table}");
    let mut waited = Duration::ZERO;
    loop {
        clients.meter.called(Operation::DescribeTable);
        let request = clients.patient.describe_table().table_name(table);
        let cause = match request.send().await {
            Ok(output) => match output.table.and_then(|table| table.table_status) {
                Some(TableStatus::Active) => return Ok(()),
                status => format!("its status is {status:?}"),
            },
            // A new table may not be visible yet.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                explain(&what, Operation::DescribeTable, &error)
            }
            Err(error) => return Err(unavailable(&what, Operation::DescribeTable, error)),
        };
        if waited >= ACTIVE_WITHIN {
            return Err(PortError::unavailable(what, cause));
        }
        tokio::time::sleep(POLL_EVERY).await;
        waited += POLL_EVERY;
    }
}

fn definition(attribute: Attribute) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder()
        .attribute_name(attribute.name)
        .attribute_type(ScalarAttributeType::from(attribute.data_type))
        .build()
}

pub(crate) fn schema(key: &[Attribute]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let types = [KeyType::Hash, KeyType::Range];
    let element = |(attribute, key_type): (&Attribute, KeyType)| {
        KeySchemaElement::builder()
            .attribute_name(attribute.name)
            .key_type(key_type)
            .build()
    };
    key.iter().zip(types).map(element).collect()
}

fn index(index: &IndexDefinition) -> Result<GlobalSecondaryIndex, BuildError> {
    let all = Projection::builder().projection_type(ProjectionType::All);
    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(schema(&index.key)?))
        .projection(all.build())
        .build()
}
