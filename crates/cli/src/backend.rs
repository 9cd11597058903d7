//! The seam between commands and adapters: the embedded database, or a deployed stage.

mod embedded;
#[cfg(feature = "stage")]
mod stage;

use std::sync::Arc;

use hb_domain::Protocol;
use hb_sqlite::{Store, UnsupportedError};
use hb_service::manage::{Hosts, Manager, Subscribers};
use hb_service::ports::Deliveries;

use crate::args::{Chosen, Place};
use crate::exit::Failure;

/// What admin commands work on, whatever stands behind it.
pub(crate) struct Backend {
    pub(crate) manager: Arc<Manager>,
    pub(crate) hosts: Hosts,
    /// Only a topic of our own knows what became of its notices.
    pub(crate) deliveries: Option<Arc<dyn Deliveries>>,
    /// Whether the topic can deliver so.
    pub(crate) supports: fn(Protocol) -> Result<(), UnsupportedError>,
    /// Where the topics are.
    topics: Topics,
}

/// Where the topics are: those of a stage have to be asked for, which not every command needs.
enum Topics {
    Here(Store),
    #[cfg(feature = "stage")]
    Deployed(Box<stage::Deployed>),
}

#[cfg(feature = "stage")]
pub(crate) use stage::examine as examine_stage;

impl Backend {
    /// Opens the place that the command line names.
    pub(crate) async fn open(place: &Place) -> Result<Self, Failure> {
        match place.choose()? {
            Chosen::Folder(dir) => Ok(Self::embedded(&Store::open(dir)?)),
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

    /// Who is told, in all regions.
    pub(crate) async fn subscribers(&self) -> Result<Subscribers, Failure> {
        let topics = match &self.topics {
            Topics::Here(store) => vec![embedded::topic(store)],
            #[cfg(feature = "stage")]
            Topics::Deployed(stage) => stage.topics().await?,
        };
        let (clock, ids) = (self.manager.clock.clone(), self.manager.ids.clone());
        Ok(Subscribers { topics, clock, ids })
    }
}
