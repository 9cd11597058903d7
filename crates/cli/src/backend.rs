//! Chooses the adapters of a command: the SQLite database of one machine, or a deployed stage.

mod sqlite;
#[cfg(feature = "stage")]
mod stage;
mod user;

use std::sync::Arc;

use hb_delivery::UnsupportedError;
use hb_domain::{Protocol, Region};
use hb_service::admin::{
    Auditor, FleetAdmin, HostAdmin, KeyAdmin, RegionalTopic, SubscriptionAdmin,
};
use hb_service::doctor::Expectations;
use hb_service::ports::Ports;

use crate::args::Chosen;
use crate::exit::Failure;
use crate::output;

/// What admin commands work on.
pub(crate) struct Backend {
    /// On AWS those of the first region.
    pub(crate) ports: Ports,
    pub(crate) region: Region,
    pub(crate) auditor: Arc<Auditor>,
    /// Whether the topic can deliver by a protocol.
    pub(crate) supports: fn(Protocol) -> Result<(), UnsupportedError>,
    topics: Topics,
}

/// The topics of all regions. Those of a stage take requests to find, which not every command needs.
enum Topics {
    Local(RegionalTopic),
    #[cfg(feature = "stage")]
    Deployed(Box<stage::Deployed>),
}

pub(crate) use sqlite::{Local, examine as examine_folder};
#[cfg(feature = "stage")]
pub(crate) use stage::examine as examine_stage;

impl Backend {
    #[cfg_attr(
        not(feature = "stage"),
        expect(clippy::unused_async, reason = "a stage awaits")
    )]
    pub(crate) async fn open(target: Chosen) -> Result<Self, Failure> {
        match target {
            Chosen::Folder(dir) => Ok(Local::open(&dir)?.backend),
            #[cfg(feature = "stage")]
            Chosen::Stage {
                name,
                profile,
                regions,
            } => Self::deployed(&name, profile.as_deref(), regions).await,
            #[cfg(not(feature = "stage"))]
            Chosen::Stage { .. } => Err(Failure::NotBuiltIn("stage")),
        }
    }

    /// What is normal for it.
    pub(crate) fn expectations(&self) -> Expectations {
        match &self.topics {
            Topics::Local(_) => Expectations::local(),
            #[cfg(feature = "stage")]
            Topics::Deployed(_) => Expectations::deployed(self.region.clone()),
        }
    }

    pub(crate) fn keys(&self) -> KeyAdmin {
        KeyAdmin {
            ports: self.ports.clone(),
            auditor: self.auditor.clone(),
        }
    }

    pub(crate) fn fleets(&self) -> FleetAdmin {
        FleetAdmin {
            ports: self.ports.clone(),
            auditor: self.auditor.clone(),
        }
    }

    pub(crate) fn hosts(&self) -> HostAdmin {
        HostAdmin {
            ports: self.ports.clone(),
            region: self.region.clone(),
            auditor: self.auditor.clone(),
        }
    }

    /// Of all regions.
    #[cfg_attr(
        not(feature = "stage"),
        expect(clippy::unused_async, reason = "a stage awaits")
    )]
    pub(crate) async fn subscribers(&self) -> Result<SubscriptionAdmin, Failure> {
        let topics = match &self.topics {
            Topics::Local(topic) => vec![topic.clone()],
            #[cfg(feature = "stage")]
            Topics::Deployed(stage) => stage.topics().await?,
        };
        let (clock, ids) = (self.ports.clock.clone(), self.ports.ids.clone());
        Ok(SubscriptionAdmin {
            topics,
            deliveries: self.ports.deliveries.clone(),
            clock,
            ids,
            auditor: self.auditor.clone(),
        })
    }

    /// Ends a command. Acts that could not be recorded are shown, and no success.
    pub(crate) fn end(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        let unrecorded = self.auditor.take_unrecorded();
        for act in &unrecorded {
            output::remark(&format!("hb: {act}"));
        }
        match result {
            Ok(()) | Err(Failure::ClosedPipe) if !unrecorded.is_empty() => {
                Err(Failure::Unrecorded(unrecorded.len()))
            }
            result => result,
        }
    }
}
