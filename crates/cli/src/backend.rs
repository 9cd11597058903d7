//! The seam between commands and adapters: today the embedded database, and where a deployed stage will stand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy;
use hb_domain::Protocol;
use hb_embedded::{
    SqliteDeliveries, SqliteHeartbeats, SqliteKeys, SqliteLedger, SqliteSubscriptions, Store,
    UnsupportedError,
};
use hb_service::manage::{Hosts, Manager};
use hb_service::ports::{Deliveries, Subscriptions};
use hb_service::system::{SystemClock, SystemIds};

use crate::args::Place;
use crate::exit::Failure;

/// What admin commands work on, whatever stands behind it.
pub(crate) struct Backend {
    pub(crate) manager: Arc<Manager>,
    pub(crate) hosts: Hosts,
    pub(crate) subscriptions: Arc<dyn Subscriptions>,
    /// Only a topic of our own knows what became of its notices.
    pub(crate) deliveries: Option<Arc<dyn Deliveries>>,
    /// Whether the topic can deliver so.
    pub(crate) supports: fn(Protocol) -> Result<(), UnsupportedError>,
}

impl Backend {
    /// Opens the place that the command line names.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        Ok(Self::embedded(&Store::open(data_dir(place))?))
    }

    /// Everything over the embedded database.
    pub(crate) fn embedded(store: &Store) -> Self {
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let subscriptions = Arc::new(SqliteSubscriptions::new(store.clone()));
        Self {
            manager: Arc::new(Manager {
                keys: Arc::new(SqliteKeys::new(store.clone())),
                subscriptions: subscriptions.clone(),
                clock: clock.clone(),
                ids: ids.clone(),
            }),
            hosts: Hosts {
                heartbeats: Arc::new(SqliteHeartbeats::new(store.clone())),
                ledger: Arc::new(SqliteLedger::new(store.clone())),
                receivers: Arc::new(SqliteLedger::new(store.clone())),
                clock,
                ids,
            },
            subscriptions,
            deliveries: Some(Arc::new(SqliteDeliveries::new(store.clone()))),
            supports: hb_embedded::supported,
        }
    }
}

/// The folder of the embedded database: as told, or `heartbeat` in the user's data folder, or `hb-data` here for a
/// user without a home.
pub(crate) fn data_dir(place: &Place) -> PathBuf {
    let of_user = || etcetera::choose_base_strategy().ok().map(|base| base.data_dir().join("heartbeat"));
    place.data_dir.clone().or_else(of_user).unwrap_or_else(|| Path::new("hb-data").to_owned())
}
