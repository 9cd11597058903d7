//! Finds a deployed stage and the ARN of its topic.
//!
//! The ARN of the topic needs the account, which only the description of a table names. That is one request, which a
//! beat must not wait for, and which a sweep without notices and most admin commands do not need.

use std::sync::Arc;

use aws_sdk_dynamodb::types::TableDescription;
use hb_service::ports::{PortError, PortResult};
use tokio::sync::OnceCell;

use crate::client::Clients;
use crate::error::settle;
use crate::meter::Operation;
use crate::names::{Stage, TopicArn};

/// What the ledger's table says about a deployed stage.
#[derive(Clone, Debug)]
pub struct Found {
    /// The topic in the region that was asked.
    pub topic: TopicArn,
    /// All regions of the stage, the one that was asked first: notices are published where the ledger has replicas.
    pub regions: Vec<String>,
}

/// Finds a deployed stage by the exact name of its ledger.
pub async fn find_stage(clients: &Clients, stage: &Stage) -> PortResult<Found> {
    let what = format!("table {}", stage.ledger());
    let request = clients.patient.describe_table().table_name(stage.ledger());
    let answer = request.send().await;
    let table = settle(&clients.meter, &what, Operation::DescribeTable, answer)?
        .table
        .unwrap_or_else(|| TableDescription::builder().build());
    let topic = TopicArn::beside_table(stage, table.table_arn.as_deref().unwrap_or_default())
        .map_err(|error| PortError::unavailable(what, error))?;
    let replicas = table.replicas.unwrap_or_default().into_iter();
    let mut others: Vec<_> = replicas
        .filter_map(|replica| replica.region_name)
        .filter(|region| region != topic.region())
        .collect();
    others.sort();
    let mut regions = vec![topic.region().to_owned()];
    regions.extend(others);
    Ok(Found { topic, regions })
}

/// The topic of a stage: its ARN is known, or found on first use.
#[derive(Clone, Debug)]
pub(crate) struct TopicAddress {
    clients: Clients,
    stage: Stage,
    arn: Arc<OnceCell<TopicArn>>,
}

impl TopicAddress {
    pub(crate) fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            clients: clients.clone(),
            stage: stage.clone(),
            arn: Arc::default(),
        }
    }

    pub(crate) fn known(self, arn: TopicArn) -> Self {
        Self {
            arn: Arc::new(OnceCell::new_with(Some(arn))),
            ..self
        }
    }

    pub(crate) async fn arn(&self) -> PortResult<&str> {
        let find = async || Ok(find_stage(&self.clients, &self.stage).await?.topic);
        self.arn.get_or_try_init(find).await.map(TopicArn::as_str)
    }

    /// The name of the topic in error messages.
    pub(crate) fn what(&self) -> String {
        format!("topic {}", self.stage.notices())
    }
}
