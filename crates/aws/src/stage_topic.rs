//! The topic of a stage, looked for when it is first needed.
//!
//! Its address needs the account, which a table tells: one request that a beat must not wait for, that a sweep
//! without news need not make, and that most admin commands do without.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hb_domain::{
    ConfirmationToken, Notice, Publication, Subscription, SubscriptionId, SubscriptionState,
};
use hb_service::ports::{Cursor, Page, PortResult, Subscriptions, Topic};
use tokio::sync::OnceCell;

use crate::{Clients, SnsSubscriptions, SnsTopic, Stage, TopicArn, find_topic};

/// The topic of a stage in the region of the clients, and its subscriptions.
pub struct StageTopic {
    clients: Clients,
    stage: Stage,
    arn: OnceCell<TopicArn>,
}

impl StageTopic {
    /// The topic of `stage`. Nothing is asked of AWS yet.
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            clients: clients.clone(),
            stage: stage.clone(),
            arn: OnceCell::new(),
        }
    }

    async fn arn(&self) -> PortResult<TopicArn> {
        let find = || find_topic(&self.clients, &self.stage);
        Ok(self.arn.get_or_try_init(find).await?.clone())
    }

    async fn topic(&self) -> PortResult<SnsTopic> {
        Ok(SnsTopic::new(&self.clients, self.arn().await?))
    }

    async fn subscriptions(&self) -> PortResult<SnsSubscriptions> {
        let arn = self.arn().await?;
        Ok(SnsSubscriptions::new(&self.clients, &self.stage, arn))
    }
}

#[async_trait]
impl Topic for StageTopic {
    async fn publish(&self, notice: &Notice) -> Publication {
        match self.topic().await {
            Ok(topic) => topic.publish(notice).await,
            // Nothing was sent.
            Err(error) => Publication::Refused(error.to_string()),
        }
    }

    async fn check(&self) -> PortResult<()> {
        self.topic().await?.check().await
    }
}

/// Apart from [`StageTopic`], so that a program that only publishes links nothing of this.
pub(crate) struct StageSubscriptions(pub(crate) StageTopic);

#[async_trait]
impl Subscriptions for StageSubscriptions {
    async fn add(
        &self,
        subscription: &Subscription,
        token: &ConfirmationToken,
    ) -> PortResult<bool> {
        self.0.subscriptions().await?.add(subscription, token).await
    }

    async fn states(&self) -> PortResult<BTreeMap<SubscriptionId, SubscriptionState>> {
        self.0.subscriptions().await?.states().await
    }

    async fn confirm(&self, token: &ConfirmationToken) -> PortResult<bool> {
        self.0.subscriptions().await?.confirm(token).await
    }

    async fn list(&self, after: Option<Cursor>) -> PortResult<Page<Subscription>> {
        self.0.subscriptions().await?.list(after).await
    }

    async fn remove(&self, id: &SubscriptionId) -> PortResult<bool> {
        self.0.subscriptions().await?.remove(id).await
    }
}
