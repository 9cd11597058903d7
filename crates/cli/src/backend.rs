//! Chooses the adapters of a command: the SQLite database of one machine, or a deployed stage.

mod sqlite;
#[cfg(feature = "stage")]
mod stage;

use hb_delivery::UnsupportedError;
use hb_domain::{Protocol, Region};
use hb_service::admin::{HostAdmin, KeyAdmin, RegionalTopic, SubscriptionAdmin};
use hb_service::ports::Ports;

use crate::args::{Chosen, Target};
use crate::exit::Failure;

/// What admin commands work on, whatever stands behind it.
pub(crate) struct Backend {
    /// All of the place, of its first region on AWS.
    pub(crate) ports: Ports,
    /// Where this is.
    pub(crate) region: Region,
    /// Whether the topic can deliver so.
    pub(crate) supports: fn(Protocol) -> Result<(), UnsupportedError>,
    /// Where the topics are.
    topics: Topics,
}

/// Where the topics are: those of a stage have to be asked for, which not every command needs.
enum Topics {
    Here(RegionalTopic),
    #[cfg(feature = "stage")]
    Deployed(Box<stage::Deployed>),
}

pub(crate) use sqlite::{Local, examine as examine_folder};
#[cfg(feature = "stage")]
pub(crate) use stage::examine as examine_stage;

impl Backend {
    /// Opens the place that the command line names.
    pub(crate) async fn open(target: &Target) -> Result<Self, Failure> {
        match target.choose()? {
            Chosen::Folder(dir) => Ok(Local::open(&dir)?.backend),
            #[cfg(feature = "stage")]
            Chosen::Stage {
                name,
                profile,
                regions,
            } => Self::deployed(&name, profile.as_deref(), regions).await,
            #[cfg(not(feature = "stage"))]
            Chosen::Stage { .. } => Err(Failure::BuiltWithoutStages),
        }
    }

    /// What admins do with keys.
    pub(crate) fn keys(&self) -> KeyAdmin {
        KeyAdmin {
            ports: self.ports.clone(),
        }
    }

    /// What admins do with hosts.
    pub(crate) fn hosts(&self) -> HostAdmin {
        HostAdmin {
            ports: self.ports.clone(),
            region: self.region.clone(),
        }
    }

    /// The subscriptions, in all regions.
    pub(crate) async fn subscribers(&self) -> Result<SubscriptionAdmin, Failure> {
        let topics = match &self.topics {
            Topics::Here(topic) => vec![topic.clone()],
            #[cfg(feature = "stage")]
            Topics::Deployed(stage) => stage.topics().await?,
        };
        let (clock, ids) = (self.ports.clock.clone(), self.ports.ids.clone());
        Ok(SubscriptionAdmin { topics, clock, ids })
    }
}
