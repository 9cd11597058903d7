//! One machine: the SQLite database in a data folder.

use std::path::Path;
use std::sync::Arc;

use hb_domain::{ActKind, Incarnation, Key, Region, Timestamp};
use hb_service::admin::{Auditor, RegionalTopic};
use hb_service::doctor::{Doctor, Expectations, Finding};
use hb_service::ports::{Clock, DeliveryQueue, PortResult};
use hb_service::system::{ProcessClock, SystemClock, SystemIds};
use hb_sqlite::{Prepared, Store};
use serde_json::json;

use super::user::SystemUser;
use super::{Backend, Topics};
use crate::exit::Failure;
use crate::output;

/// The database of a server, with what only `hb serve` does.
pub(crate) struct Local {
    pub(crate) backend: Backend,
    store: Store,
}

impl Local {
    /// Opens the database in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        Ok(Self::over(Store::open(dir)?, Arc::new(SystemClock)))
    }

    /// The same, after it was made or migrated where that is to be done, and with an incarnation.
    pub(crate) async fn create(
        dir: &Path,
    ) -> Result<(Prepared, Option<Incarnation>, Self), Failure> {
        #[cfg(unix)]
        if rustix::process::geteuid().is_root() {
            output::remark(
                "warning: hb runs as root, whose rights it does not need: use a user of its own",
            );
        }
        let prepared = hb_sqlite::prepare(dir)?;
        let local = Self::open(dir)?;
        let incarnation = hb_service::incarnation(&local.backend.ports).await?;
        let Prepared {
            path,
            found,
            version,
            ..
        } = &prepared;
        if *found != Some(*version) {
            let old = found.map(|version| json!({"version": version}));
            let (path, new) = (path.display().to_string(), json!({"version": version}));
            let auditor = &local.backend.auditor;
            auditor
                .record(ActKind::Migrate, &path, old, Some(new))
                .await;
        }
        Ok((prepared, incarnation, local))
    }

    /// For a server, on a clock that does not step.
    pub(crate) async fn serve(self) -> Self {
        let Self { backend, store } = self;
        // The next sweep replaces a record that cannot be read.
        let last = backend.ports.system.last_sweep(&backend.region).await;
        let stored = last.ok().flatten().map(|sweep| sweep.ended);
        Self::over(store, Arc::new(ProcessClock::start(stored)))
    }

    fn over(store: Store, clock: Arc<dyn Clock>) -> Self {
        let ports = hb_sqlite::ports(&store, clock, Arc::new(SystemIds));
        let auditor = Arc::new(Auditor::new(&ports, Arc::new(SystemUser)));
        let topic = RegionalTopic {
            region: Region::local(),
            topic: ports.topic.clone(),
            subscriptions: ports.subscriptions.clone(),
        };
        let backend = Backend {
            ports,
            region: Region::local(),
            auditor,
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
        let created = self.store.create_first_key(key).await?;
        if created {
            self.backend.keys().stored(key).await;
        }
        Ok(created)
    }
}

/// What is wrong with the data folder `dir` and with what is stored there, and the incarnation of that. Changes nothing.
pub(crate) async fn examine(dir: &Path, now: Timestamp) -> (Vec<Finding>, Option<Incarnation>) {
    let hb_sqlite::Examined {
        mut findings,
        store,
    } = hb_sqlite::examine(dir).await;
    let Some(store) = store else {
        return (findings, None);
    };
    let ports = hb_sqlite::ports(&store, Arc::new(SystemClock), Arc::new(SystemIds));
    // A damaged one is of no use to compare, and ids of notices do without.
    let incarnation = ports.incarnations.load(&"current").await;
    let incarnation = incarnation.ok().flatten().map(|stored| stored.record);
    let doctor = Doctor {
        ports,
        expectations: Expectations::local(),
    };
    findings.extend(doctor.examine(now).await);
    (findings, incarnation)
}
