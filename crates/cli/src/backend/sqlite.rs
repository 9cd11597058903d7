//! One machine: the SQLite database in a data folder.

use std::path::Path;
use std::sync::Arc;

use hb_domain::{Key, Region, Timestamp};
use hb_service::admin::RegionalTopic;
use hb_service::doctor::{Doctor, Expectations, Finding};
use hb_service::ports::{Clock, DeliveryQueue, PortResult};
use hb_service::system::{ProcessClock, SystemClock, SystemIds};
use hb_sqlite::Store;

use super::{Backend, Topics};
use crate::exit::Failure;

/// The database of a server, with what only `hb serve` does.
pub(crate) struct Local {
    pub(crate) backend: Backend,
    store: Store,
}

impl Local {
    /// Opens the database in `dir`; creates both when they do not exist.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let store = Store::open(dir).map_err(|error| Failure::Store(error.into()))?;
        Ok(Self::over(store, Arc::new(SystemClock)))
    }

    /// The same for a server, on a clock that does not step.
    pub(crate) async fn serve(dir: &Path) -> Result<Self, Failure> {
        let Self { backend, store } = Self::open(dir)?;
        // The next sweep replaces a record that cannot be read.
        let last = backend.ports.system.last_sweep(&backend.region).await;
        let stored = last.ok().flatten().map(|sweep| sweep.ended);
        Ok(Self::over(store, Arc::new(ProcessClock::start(stored))))
    }

    fn over(store: Store, clock: Arc<dyn Clock>) -> Self {
        let ports = hb_sqlite::ports(&store, clock, Arc::new(SystemIds));
        let topic = RegionalTopic {
            region: Region::local(),
            topic: ports.topic.clone(),
            subscriptions: ports.subscriptions.clone(),
        };
        let backend = Backend {
            ports,
            region: Region::local(),
            supports: hb_delivery::supported,
            topics: Topics::Local(topic),
        };
        Self { backend, store }
    }

    /// The deliveries that the courier works through.
    pub(crate) fn queue(&self) -> Arc<dyn DeliveryQueue> {
        Arc::new(self.store.clone())
    }

    /// Stores `key` if there is no key at all; `false` otherwise.
    pub(crate) async fn create_first_key(&self, key: &Key) -> PortResult<bool> {
        self.store.create_first_key(key).await
    }
}

/// What is wrong with the data folder `dir` and with what is stored there. Changes nothing.
pub(crate) async fn examine(dir: &Path, now: Timestamp) -> Vec<Finding> {
    let hb_sqlite::Examined {
        mut findings,
        store,
    } = hb_sqlite::examine(dir).await;
    if let Some(store) = store {
        let doctor = Doctor {
            ports: hb_sqlite::ports(&store, Arc::new(SystemClock), Arc::new(SystemIds)),
            expectations: Expectations::local(),
        };
        findings.extend(doctor.examine(now).await);
    }
    findings
}
