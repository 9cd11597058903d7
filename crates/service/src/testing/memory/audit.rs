use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::{Act, ActId, Timestamp, Who};

use super::{Memory, page};
use crate::admin::Auditor;
use crate::ports::{Audit, Cursor, Identity, Page, PortResult, Ports};

#[async_trait]
impl Audit for Memory {
    async fn record(&self, act: &Act) -> PortResult<()> {
        let mut tables = self.call("table audit")?;
        let text = serde_json::to_string(act).unwrap_or_default();
        tables
            .acts
            .entry(act.id.as_str().to_owned())
            .or_insert(text);
        Ok(())
    }

    async fn list(&self, since: Timestamp, after: Option<Cursor>) -> PortResult<Page<Act>> {
        let tables = self.call("table audit")?;
        let after = after.map_or_else(|| ActId::before(since), |cursor| cursor.0);
        Ok(page(&tables.acts, Some(after), Clone::clone, |text| {
            serde_json::from_str(text).map_err(|error| error.to_string())
        }))
    }
}

/// Somebody by name.
pub struct Named(pub &'static str);

#[async_trait]
impl Identity for Named {
    async fn who(&self) -> PortResult<Who> {
        Ok(Who::new(self.0))
    }
}

/// An auditor of these ports, of somebody named `tester`.
#[must_use]
pub fn auditor(ports: &Ports) -> Arc<Auditor> {
    Arc::new(Auditor::new(ports, Arc::new(Named("tester"))))
}
