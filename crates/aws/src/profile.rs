//! Clients for the command line, from profiles and sign-ins.

use aws_config::ConfigLoader;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::client::{self, Clients, ClientsError};
use crate::identity::StsIdentity;

/// Region and credentials as the `aws` command line finds them: variables, the files under `~/.aws`, IAM Identity
/// Center, roles, credential processes.
#[derive(Clone, Debug)]
pub struct Profile {
    config: SdkConfig,
}

impl Profile {
    /// The profile `name`, or the one that the environment names; `region` overrides all others.
    ///
    /// Credentials are loaded at the first call, and shared by the clients of all regions.
    pub async fn load(name: Option<&str>, region: Option<&str>) -> Result<Self, ClientsError> {
        Self::of(load(aws_config::defaults(client::behavior()), name, region).await)
    }

    fn of(config: SdkConfig) -> Result<Self, ClientsError> {
        // An empty variable counts as not set.
        let known = config
            .region()
            .is_some_and(|region| !region.as_ref().is_empty());
        if known {
            Ok(Self { config })
        } else {
            Err(ClientsError::Region)
        }
    }

    #[must_use]
    pub fn region(&self) -> &str {
        self.config.region().map(AsRef::as_ref).unwrap_or_default()
    }

    /// Who uses it.
    #[must_use]
    pub fn identity(&self) -> StsIdentity {
        StsIdentity::new(&self.config)
    }

    #[must_use]
    pub fn clients(&self, region: &str) -> Clients {
        let config = self
            .config
            .clone()
            .into_builder()
            .region(Region::new(region.to_owned()))
            .build();
        Clients::for_people(&config)
    }
}

async fn load(mut loader: ConfigLoader, profile: Option<&str>, region: Option<&str>) -> SdkConfig {
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader.http_client(client::https()).load().await
}

#[cfg(test)]
#[expect(
    deprecated,
    reason = "the new names of the profile files are in a crate that nothing else here needs"
)]
mod tests {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    use aws_credential_types::provider::ProvideCredentials;

    use super::*;

    const FILE: &str = "[profile ops]\nregion = eu-central-1\naws_access_key_id = AKIDOPS\naws_secret_access_key = s\n";

    async fn ops(region: Option<&str>) -> Profile {
        let files = ProfileFiles::builder()
            .with_contents(ProfileFileKind::Config, FILE)
            .build();
        let loader = aws_config::defaults(client::behavior()).profile_files(files);
        Profile::of(load(loader, Some("ops"), region).await).unwrap()
    }

    #[tokio::test]
    async fn a_named_region_overrides_the_one_of_the_profile() {
        let profile = ops(Some("us-east-1")).await;
        assert_eq!(profile.region(), "us-east-1");
        let credentials = profile
            .config
            .credentials_provider()
            .unwrap()
            .provide_credentials()
            .await
            .unwrap();
        assert_eq!(credentials.access_key_id(), "AKIDOPS");
        assert_eq!(ops(None).await.region(), "eu-central-1");
        assert_eq!(profile.clients("eu-west-1").region(), Some("eu-west-1"));
    }
}
