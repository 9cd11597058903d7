//! The tables and the topic of a stage: what they look like, and how they are made.
//!
//! A deployed stage is made by its templates, which add what an account wants (recovery, protection, replicas). This
//! makes a bare one, for emulators and trials, and says in one place what the adapters rely on.

use std::time::Duration;

use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
};
use aws_sdk_sqs::types::QueueAttributeName;
use hb_service::ports::{PortError, PortResult};

use crate::client::Clients;
use crate::error::{trouble, words};
use crate::heartbeats::stored as beat;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};
use crate::{keys, ledger, records};

/// How long a table may take to become active; seconds are usual.
const ACTIVE_WITHIN: Duration = Duration::from_mins(1);
/// The pause between two looks at a table that is not active yet.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An attribute of a key, with its type as DynamoDB writes it: `S` or `N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub data_type: &'static str,
}

/// A table as the adapters need it. All are charged by request (`PAY_PER_REQUEST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDefinition {
    /// Its name in the stage.
    pub name: String,
    /// Partition key and, for some, sort key.
    pub key: Vec<Attribute>,
    /// Its global index, if it has one.
    pub index: Option<IndexDefinition>,
}

/// A global secondary index that holds whole items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Its name.
    pub name: &'static str,
    /// Partition key and sort key.
    pub key: Vec<Attribute>,
}

const fn text(name: &'static str) -> Attribute {
    Attribute {
        name,
        data_type: "S",
    }
}

const fn number(name: &'static str) -> Attribute {
    Attribute {
        name,
        data_type: "N",
    }
}

/// The tables of a stage: heartbeats, ledger, keys, system.
#[must_use]
pub fn table_definitions(stage: &Stage) -> [TableDefinition; 4] {
    let open = IndexDefinition {
        name: ledger::OPEN,
        key: vec![number(ledger::SHARD), text(ledger::HOST)],
    };
    [
        TableDefinition {
            name: stage.heartbeats(),
            key: vec![text(beat::HOST), text(beat::REGION)],
            index: None,
        },
        TableDefinition {
            name: stage.ledger(),
            key: vec![text(ledger::HOST)],
            index: Some(open),
        },
        TableDefinition {
            name: stage.keys(),
            key: vec![text(keys::ID)],
            index: None,
        },
        TableDefinition {
            name: stage.system(),
            key: vec![text(records::KIND), text(records::NAME)],
            index: None,
        },
    ]
}

/// Makes the tables, the topic and the echo queue of `stage` where they are missing, and waits until they can be used. What is there
/// stays as it is.
pub async fn create_stage(clients: &Clients, stage: &Stage) -> PortResult<TopicArn> {
    for table in table_definitions(stage) {
        create_table(clients, &table).await?;
    }
    clients.meter.called(Operation::CreateTopic);
    let (what, name) = (format!("topic {}", stage.notices()), stage.notices());
    let answer = clients.sns.create_topic().name(name).send().await;
    let output = answer.map_err(|cause| trouble(&what, Operation::CreateTopic, &cause))?;
    let arn = output
        .topic_arn
        .ok_or_else(|| PortError::unavailable(what, "it was made without an ARN"))?;
    let topic = TopicArn::given(&arn);
    create_echo(clients, stage, &topic).await?;
    Ok(topic)
}

/// Makes the queue that hears all that the topic accepts, as it is and without a filter.
async fn create_echo(clients: &Clients, stage: &Stage, topic: &TopicArn) -> PortResult<()> {
    let (what, queue) = (
        format!("queue {}", stage.echo()),
        topic.beside(&stage.echo(), "sqs"),
    );
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic.as_str()}},
        }],
    });
    clients.meter.called(Operation::CreateQueue);
    let request = clients.sqs.create_queue().queue_name(stage.echo());
    let answer = request
        .attributes(QueueAttributeName::Policy, policy.to_string())
        .send()
        .await;
    answer.map_err(|cause| trouble(&what, Operation::CreateQueue, &cause))?;
    clients.meter.called(Operation::Subscribe);
    let request = clients
        .sns
        .subscribe()
        .topic_arn(topic.as_str())
        .protocol("sqs")
        .endpoint(queue);
    let answer = request
        .attributes("RawMessageDelivery", "true")
        .send()
        .await;
    answer
        .map(drop)
        .map_err(|cause| trouble(&what, Operation::Subscribe, &cause))
}

/// What the ledger's table tells of a deployed stage.
#[derive(Clone, Debug)]
pub struct Found {
    /// The topic in the region that was asked. Its ARN holds the account, which the ARN of a table tells.
    pub topic: TopicArn,
    /// All regions of the stage, the one that was asked first: where the ledger has replicas, notices are published.
    pub regions: Vec<String>,
}

/// The topic of a deployed stage.
pub async fn find_topic(clients: &Clients, stage: &Stage) -> PortResult<TopicArn> {
    Ok(find_stage(clients, stage).await?.topic)
}

/// A deployed stage, by the exact name of its ledger.
pub async fn find_stage(clients: &Clients, stage: &Stage) -> PortResult<Found> {
    let what = format!("table {}", stage.ledger());
    clients.meter.called(Operation::DescribeTable);
    let answer = clients
        .patient
        .describe_table()
        .table_name(stage.ledger())
        .send()
        .await;
    let output = answer.map_err(|cause| trouble(&what, Operation::DescribeTable, &cause))?;
    let table = output
        .table
        .unwrap_or_else(|| TableDescription::builder().build());
    let topic = TopicArn::beside_table(stage, table.table_arn.as_deref().unwrap_or_default());
    let topic = topic.map_err(|error| PortError::unavailable(what, error))?;
    let replicas = table.replicas.unwrap_or_default();
    let mut regions = vec![topic.region().to_owned()];
    let others = replicas
        .into_iter()
        .filter_map(|replica| replica.region_name);
    regions.extend(others.filter(|region| region != topic.region()));
    regions[1..].sort();
    Ok(Found { topic, regions })
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
    let index = table
        .index
        .as_ref()
        .map(index)
        .transpose()
        .map_err(impossible)?;
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
    match answer {
        Ok(_) => {}
        Err(cause)
            if cause
                .as_service_error()
                .is_some_and(CreateTableError::is_resource_in_use_exception) => {}
        Err(cause) => return Err(trouble(&what, Operation::CreateTable, &cause)),
    }
    until_active(clients, &table.name).await
}

async fn until_active(clients: &Clients, table: &str) -> PortResult<()> {
    let what = format!("table {table}");
    let mut waited = Duration::ZERO;
    loop {
        clients.meter.called(Operation::DescribeTable);
        let state = match clients
            .patient
            .describe_table()
            .table_name(table)
            .send()
            .await
        {
            Ok(output) => match output.table.and_then(|table| table.table_status) {
                Some(TableStatus::Active) => return Ok(()),
                state => format!("it is not active but {state:?}"),
            },
            // A table that was just made may not be seen yet.
            Err(cause)
                if cause
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                words(&what, Operation::DescribeTable, &cause)
            }
            Err(cause) => return Err(trouble(&what, Operation::DescribeTable, &cause)),
        };
        if waited >= ACTIVE_WITHIN {
            return Err(PortError::unavailable(what, state));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
}

type Built<T> = Result<T, aws_sdk_dynamodb::error::BuildError>;

fn definition(attribute: Attribute) -> Built<AttributeDefinition> {
    AttributeDefinition::builder()
        .attribute_name(attribute.name)
        .attribute_type(ScalarAttributeType::from(attribute.data_type))
        .build()
}

pub(crate) fn schema(key: &[Attribute]) -> Built<Vec<KeySchemaElement>> {
    let types = [KeyType::Hash, KeyType::Range];
    let element = |(attribute, key_type): (&Attribute, KeyType)| {
        KeySchemaElement::builder()
            .attribute_name(attribute.name)
            .key_type(key_type)
            .build()
    };
    key.iter().zip(types).map(element).collect()
}

fn index(index: &IndexDefinition) -> Built<GlobalSecondaryIndex> {
    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(schema(&index.key)?))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::All)
                .build(),
        )
        .build()
}
