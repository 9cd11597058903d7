//! Shows fleets, and changes how their notices are sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use hb_domain::{ActKind, Fleet, FleetRecord};
use serde_json::{Value, json};

use super::audit::Auditor;
use crate::ports::{PortResult, Ports, Unreadable, every_open, every_page};
use crate::swap::{Update, update};

/// Shows and changes fleets.
pub struct FleetAdmin {
    pub ports: Ports,
    pub auditor: Arc<Auditor>,
}

impl FleetAdmin {
    /// Fleet `main`, all that have keys or settings, and all of which a notice was sent; and the records that cannot be read.
    pub async fn list(&self) -> PortResult<(Vec<FleetRecord>, Vec<Unreadable>)> {
        let Ports { fleets, keys, .. } = &self.ports;
        let (records, unreadable) = every_open(&**fleets).await?;
        let (keys, _) = every_page(|after| keys.list(after)).await?;
        let named = keys.into_iter().map(|key| key.fleet);
        let bare = named.chain([Fleet::main()]).map(FleetRecord::new);
        let stored = records.into_iter().map(|stored| stored.record);
        let all: BTreeMap<_, _> = bare
            .chain(stored)
            .map(|record| (record.fleet.clone(), record))
            .collect();
        let mut all: Vec<_> = all.into_values().collect();
        all.retain(|record| {
            !unreadable
                .iter()
                .any(|item| item.key == record.fleet.to_string())
        });
        Ok((all, unreadable))
    }

    /// One fleet. Every name is one: what is not set has its default.
    pub async fn show(&self, fleet: &Fleet) -> PortResult<FleetRecord> {
        let stored = self.ports.fleets.load(fleet).await?;
        let new = || FleetRecord::new(fleet.clone());
        Ok(stored.map_or_else(new, |stored| stored.record))
    }

    /// Changes the settings of a fleet.
    pub async fn set(
        &self,
        fleet: &Fleet,
        change: impl Fn(FleetRecord) -> FleetRecord,
    ) -> PortResult<FleetRecord> {
        let mut old = Value::Null;
        let rule = |record: Option<FleetRecord>| {
            let record = record.unwrap_or_else(|| FleetRecord::new(fleet.clone()));
            old = facts(&record);
            Ok::<_, ()>(change(record))
        };
        match update(&self.ports, fleet, rule).await? {
            Update::Done(stored) => {
                let new = Some(facts(&stored.record));
                let (kind, target) = (ActKind::FleetSet, fleet.to_string());
                self.auditor.record(kind, &target, Some(old), new).await;
                Ok(stored.record)
            }
            Update::Declined(..) => self.show(fleet).await,
            Update::Contended(error) => Err(error),
        }
    }
}

/// What the audit shows of a fleet.
fn facts(FleetRecord { settings, tz, .. }: &FleetRecord) -> Value {
    let mut facts = json!({
        "groupWaitMs": settings.group_wait.map(u64::from),
        "groupIntervalMs": settings.group_interval.map(u64::from),
        "repeatIntervalMs": settings.repeat_interval.map(u64::from),
    });
    if let Some(tz) = tz {
        facts["tz"] = json!(tz);
    }
    facts
}
