//! The topic of a stage, looked for when it is first needed.
//!
//! Its address needs the account, which a table tells: one request that a beat must not wait for, and that a sweep
//! without news need not make.

use async_trait::async_trait;
use hb_aws::{Clients, SnsTopic, Stage, find_topic};
use hb_domain::{Notice, Publication};
use hb_service::ports::{PortResult, Topic};
use tokio::sync::OnceCell;

/// The topic of a stage.
pub(crate) struct StageTopic {
    clients: Clients,
    stage: Stage,
    found: OnceCell<SnsTopic>,
}

impl StageTopic {
    pub(crate) fn new(clients: Clients, stage: Stage) -> Self {
        Self {
            clients,
            stage,
            found: OnceCell::new(),
        }
    }

    async fn found(&self) -> PortResult<&SnsTopic> {
        let find = async || {
            Ok(SnsTopic::new(
                &self.clients,
                find_topic(&self.clients, &self.stage).await?,
            ))
        };
        self.found.get_or_try_init(find).await
    }
}

#[async_trait]
impl Topic for StageTopic {
    async fn publish(&self, notice: &Notice) -> Publication {
        match self.found().await {
            Ok(topic) => topic.publish(notice).await,
            // Nothing was sent.
            Err(error) => Publication::Refused(error.to_string()),
        }
    }

    async fn check(&self) -> PortResult<()> {
        self.found().await?.check().await
    }
}
