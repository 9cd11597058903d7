//! Clients for people at a terminal, who have profiles and sign in.

use aws_config::ConfigLoader;
use aws_types::SdkConfig;
use aws_types::region::Region;

use crate::client::{self, Clients, ClientsError};

impl Clients {
    /// Clients with region and credentials as the `aws` command line finds them: variables, the files under `~/.aws`,
    /// IAM Identity Center, roles, credential processes. `profile` and `region` win over all of those.
    pub async fn from_profile(profile: Option<&str>, region: Option<&str>) -> Result<Self, ClientsError> {
        let config = load(aws_config::defaults(client::behavior()), profile, region).await;
        if config.region().is_none() {
            return Err(ClientsError::Region);
        }
        Ok(Self::new(&config))
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

    const FILE: &str =
        "[profile ops]\nregion = eu-central-1\naws_access_key_id = AKIDOPS\naws_secret_access_key = s\n";

    async fn ops(region: Option<&str>) -> SdkConfig {
        let files = ProfileFiles::builder().with_contents(ProfileFileKind::Config, FILE).build();
        load(aws_config::defaults(client::behavior()).profile_files(files), Some("ops"), region).await
    }

    #[tokio::test]
    async fn a_named_profile_is_used_and_a_named_region_wins() {
        let config = ops(Some("us-east-1")).await;
        assert_eq!(Clients::new(&config).region(), Some("us-east-1"));
        let credentials = config.credentials_provider().unwrap().provide_credentials().await.unwrap();
        assert_eq!(credentials.access_key_id(), "AKIDOPS");
    }
}
