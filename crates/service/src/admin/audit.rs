//! Records what admins do: each use case calls [`Auditor::record`] when its act is done.
//!
//! First the act, then its record: no act is refused because it cannot be recorded, such as revoking a leaked key. An
//! act without a record is remembered, and the command that did it must say so and fail.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hb_domain::{Act, ActId, ActKind, Timestamp, Who, limits};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::ports::{Audit, Clock, Cursor, Identity, Ids, Page, PortResult, Ports};

/// An act that was done and could not be recorded.
#[derive(Clone, Debug)]
pub struct Unrecorded {
    pub kind: ActKind,
    pub target: String,
    /// Why it could not be recorded.
    pub cause: String,
}

impl fmt::Display for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            target,
            cause,
        } = self;
        write!(
            f,
            "done, but not recorded in the audit: {kind} {target}: {cause}"
        )
    }
}

/// Records the acts of who runs this program.
pub struct Auditor {
    audit: Arc<dyn Audit>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    identity: Arc<dyn Identity>,
    /// Asked for at the first act.
    who: OnceCell<Result<Who, String>>,
    acts: AtomicU32,
    unrecorded: Mutex<Vec<Unrecorded>>,
}

impl Auditor {
    #[must_use]
    pub fn new(ports: &Ports, identity: Arc<dyn Identity>) -> Self {
        Self {
            audit: ports.audit.clone(),
            clock: ports.clock.clone(),
            ids: ports.ids.clone(),
            identity,
            who: OnceCell::new(),
            acts: AtomicU32::new(0),
            unrecorded: Mutex::default(),
        }
    }

    /// Records what was just done to `target`: objects with what was there before and what is there now. When that
    /// fails, it is logged and remembered.
    pub async fn record(
        &self,
        kind: ActKind,
        target: &str,
        old: Option<Value>,
        new: Option<Value>,
    ) {
        if let Err(cause) = self.try_record(kind, target, old, new).await {
            let target = target.to_owned();
            let unrecorded = Unrecorded {
                kind,
                target,
                cause,
            };
            tracing::error!("{unrecorded}");
            self.remembered().push(unrecorded);
        }
    }

    async fn try_record(
        &self,
        kind: ActKind,
        target: &str,
        old: Option<Value>,
        new: Option<Value>,
    ) -> Result<(), String> {
        let at = self.clock.now();
        let bytes = self.ids.random();
        let number = self.acts.fetch_add(1, Ordering::Relaxed);
        let who = self.who.get_or_init(async || {
            let who = self.identity.who().await;
            who.map_err(|error| format!("who did it is not known: {error}"))
        });
        let act = Act {
            id: ActId::new(at, number, std::array::from_fn(|i| bytes[i])),
            at,
            who: who.await.clone()?,
            kind,
            target: target.to_owned(),
            old,
            new,
        };
        let recorded = self.audit.record(&act).await;
        recorded.map_err(|error| error.to_string())
    }

    /// What was done and could not be recorded, since this was last asked.
    pub fn take_unrecorded(&self) -> Vec<Unrecorded> {
        mem::take(&mut *self.remembered())
    }

    /// One page of the acts at `since` or later that are still kept, the oldest first.
    pub async fn list(&self, since: Timestamp, after: Option<Cursor>) -> PortResult<Page<Act>> {
        let kept = self.clock.now().minus(limits::AUDIT_KEPT);
        self.audit.list(since.max(kept), after).await
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Vec<Unrecorded>> {
        self.unrecorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
