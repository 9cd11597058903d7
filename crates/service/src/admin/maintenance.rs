//! Adds, lists and removes maintenance windows.

use hb_domain::{
    ActKind, Fleet, FleetRecord, HostPrefix, Note, Times, Window, WindowError, WindowId,
};
use serde_json::{Value, json};

use super::fleets::FleetAdmin;
use crate::ports::{PortError, PortResult, Unreadable, every_open};
use crate::swap::{Update, update};

/// Why a maintenance window was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("there is no maintenance window {0}")]
    NoSuchWindow(WindowId),
    #[error(transparent)]
    Port(#[from] PortError),
}

impl FleetAdmin {
    /// The maintenance windows of all fleets, and the records of fleets that cannot be read.
    pub async fn windows(&self) -> PortResult<(Vec<(Fleet, Window)>, Vec<Unreadable>)> {
        let (records, unreadable) = every_open(&*self.ports.fleets).await?;
        let mut records: Vec<_> = records.into_iter().map(|stored| stored.record).collect();
        records.sort_by(|a, b| a.fleet.cmp(&b.fleet));
        let windows = records.into_iter().flat_map(|record| {
            let FleetRecord { fleet, windows, .. } = record;
            windows
                .into_iter()
                .map(move |window| (fleet.clone(), window))
        });
        Ok((windows.collect(), unreadable))
    }

    /// Adds a window. It counts from the next sweep on.
    pub async fn add_window(
        &self,
        fleet: &Fleet,
        host_prefixes: Vec<HostPrefix>,
        times: Times,
        note: Option<Note>,
    ) -> Result<Window, MaintenanceError> {
        let now = self.ports.clock.now();
        let bytes = self.ports.ids.random();
        let window = Window {
            id: WindowId::from_random(std::array::from_fn(|i| bytes[i])),
            host_prefixes,
            times,
            note,
        };
        window.check(now)?;
        let rule = |record: Option<FleetRecord>| {
            let record = record.unwrap_or_else(|| FleetRecord::new(fleet.clone()));
            record.with_window(window.clone(), now)
        };
        match update(&self.ports, fleet, rule).await? {
            Update::Done(_) => {
                let (kind, target) = (ActKind::MaintenanceAdd, window.id.as_str());
                let new = Some(facts(fleet, &window));
                self.auditor.record(kind, target, None, new).await;
                Ok(window)
            }
            Update::Declined(_, error) => Err(error.into()),
            Update::Contended(error) => Err(error.into()),
        }
    }

    /// Removes a window, of whatever fleet. Its hosts have no more time after it than after any silence.
    pub async fn remove_window(&self, id: &WindowId) -> Result<(Fleet, Window), MaintenanceError> {
        let none = || MaintenanceError::NoSuchWindow(id.clone());
        let (windows, _) = self.windows().await?;
        let mut windows = windows.into_iter();
        let found = windows.find(|(_, window)| window.id == *id);
        let (fleet, window) = found.ok_or_else(none)?;
        let rule = |record: Option<FleetRecord>| {
            let record = record.and_then(|record| record.without_window(id));
            record.ok_or(())
        };
        match update(&self.ports, &fleet, rule).await? {
            Update::Done(_) => {
                let old = Some(facts(&fleet, &window));
                let (kind, target) = (ActKind::MaintenanceRemove, id.as_str());
                self.auditor.record(kind, target, old, None).await;
                Ok((fleet, window))
            }
            Update::Declined(..) => Err(none()),
            Update::Contended(error) => Err(error.into()),
        }
    }
}

/// What the audit shows of a window.
fn facts(fleet: &Fleet, window: &Window) -> Value {
    let mut facts = json!({
        "fleet": fleet,
        "hostPrefixes": window.host_prefixes,
        "note": window.note,
    });
    match &window.times {
        Times::Once(once) => {
            facts["from"] = json!(once.since.to_string());
            facts["until"] = json!(once.until.to_string());
        }
        Times::Repeated { cron, tz, for_ms } => {
            facts["cron"] = json!(cron);
            facts["tz"] = json!(tz);
            facts["forMs"] = json!(for_ms);
        }
    }
    facts
}
