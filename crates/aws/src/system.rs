//! The last completed sweep and the checkpoint of each region, in DynamoDB.

use async_trait::async_trait;
use hb_domain::{Region, Timestamp, limits};
use hb_service::ports::{Checkpoint, CompletedSweep, PortError, PortResult, System};
use tracing::instrument;

use crate::client::Clients;
use crate::item::{self, Cause};
use crate::names::Stage;
use crate::records::Records;
use crate::size::AttributeMap;

/// The kind of the records about sweeps; the role of the sweep function allows no other kind.
pub const SWEEP: &str = "sweep";

const BEGAN: &str = "began";
const ENDED: &str = "ended";
const HOSTS: &str = "hosts";
/// Only when it is known.
const PROGRAM: &str = "program";
/// The positions of a checkpoint, as JSON: cursors mean something to this crate only.
const POSITIONS: &str = "positions";

/// The record of completed sweeps of a stage.
#[derive(Clone, Debug)]
pub struct DynamoSystem {
    sweeps: Records,
}

impl DynamoSystem {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            sweeps: Records::new(clients, stage, SWEEP),
        }
    }

    /// Unless one that began later is stored, and not so much later than `now` that a wrong clock wrote it.
    async fn put(&self, name: &str, attributes: AttributeMap, now: Timestamp) -> PortResult<()> {
        let ahead = (":ahead", item::instant(now.plus(limits::FUTURE_SKEW)));
        let later = "attribute_not_exists(#began) OR #began <= :began OR #began > :ahead";
        let put = self.sweeps.put(name, attributes, later, Some(ahead));
        put.await.map(drop)
    }
}

#[async_trait]
impl System for DynamoSystem {
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(region = region.as_str()))]
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        let item = self.sweeps.load(region.as_str()).await?;
        item.map(|item| self.sweeps.read(&item, decode)).transpose()
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(region = region.as_str()))]
    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        self.put(region.as_str(), encode(sweep), sweep.ended).await
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(region = region.as_str()))]
    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>> {
        let item = self.sweeps.load(&checkpoint_of(region)).await?;
        item.map(|item| self.sweeps.read(&item, decode_checkpoint))
            .transpose()
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(region = region.as_str()))]
    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()> {
        let name = checkpoint_of(region);
        let positions = serde_json::to_string(&checkpoint.positions)
            .map_err(|error| PortError::unreadable("table system", &name, error))?;
        let attributes = item::of([
            (BEGAN, item::instant(checkpoint.began)),
            (POSITIONS, item::text(positions)),
        ]);
        self.put(&name, attributes, now).await
    }
}

fn checkpoint_of(region: &Region) -> String {
    format!("checkpoint/{region}")
}

pub(crate) fn decode_checkpoint(item: &AttributeMap) -> Result<Checkpoint, Cause> {
    let positions = item::get_text(item, POSITIONS)?;
    Ok(Checkpoint {
        began: item::get_instant(item, BEGAN)?,
        positions: serde_json::from_str(positions)
            .map_err(|error| item::wrong(POSITIONS, error))?,
    })
}

pub(crate) fn encode(sweep: &CompletedSweep) -> AttributeMap {
    let mut item = item::of([
        (BEGAN, item::instant(sweep.began)),
        (ENDED, item::instant(sweep.ended)),
        (HOSTS, item::number(sweep.hosts)),
    ]);
    if !sweep.program.is_empty() {
        item.insert(PROGRAM.to_owned(), item::text(sweep.program.clone()));
    }
    item
}

pub(crate) fn decode(item: &AttributeMap) -> Result<CompletedSweep, Cause> {
    Ok(CompletedSweep {
        began: item::get_instant(item, BEGAN)?,
        ended: item::get_instant(item, ENDED)?,
        hosts: item::get_number(item, HOSTS)?,
        program: item::optional_text(item, PROGRAM)?
            .unwrap_or_default()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use hb_domain::Timestamp;

    use super::*;

    #[test]
    fn decode_inverts_encode() {
        let sweep = CompletedSweep {
            began: Timestamp::MIN,
            ended: Timestamp::MAX,
            hosts: u64::MAX,
            program: "0.1.0 (0d10dc84c91f)".to_owned(),
        };
        assert_eq!(decode(&encode(&sweep)).unwrap(), sweep);
        let mut of_before = encode(&sweep);
        of_before.remove(PROGRAM);
        assert_eq!(decode(&of_before).unwrap().program, "");
        let mut bad = encode(&sweep);
        bad.remove(HOSTS);
        assert_eq!(decode(&bad).unwrap_err(), "attribute hosts: missing");
    }
}
