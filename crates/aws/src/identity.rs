//! Who the credentials belong to.

use async_trait::async_trait;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::Builder;
use aws_types::SdkConfig;
use hb_domain::Who;
use hb_service::ports::{Identity, PortError, PortResult};
use tracing::instrument;

use crate::client::{self, INTERACTIVE};
use crate::error::unavailable;
use crate::meter::Operation;

/// The principal of IAM as STS names it. Everybody may ask for that: it needs no permission (AWS STS API reference,
/// `GetCallerIdentity`).
#[derive(Clone, Debug)]
pub struct StsIdentity(Client);

impl StsIdentity {
    pub(crate) fn new(config: &SdkConfig) -> Self {
        let config = Builder::from(config)
            .behavior_version(client::behavior())
            .timeout_config(INTERACTIVE.timeouts())
            .retry_config(INTERACTIVE.retries());
        Self(Client::from_conf(config.build()))
    }
}

#[async_trait]
impl Identity for StsIdentity {
    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn who(&self) -> PortResult<Who> {
        let what = "the name of the caller";
        let answer = self.0.get_caller_identity().send().await;
        let output =
            answer.map_err(|error| unavailable(what, Operation::GetCallerIdentity, error))?;
        let arn = output.arn.ok_or("STS answered without an ARN");
        arn.map(|arn| Who::new(&arn))
            .map_err(|cause| PortError::unavailable(what, cause))
    }
}
