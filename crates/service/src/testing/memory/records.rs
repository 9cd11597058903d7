use async_trait::async_trait;
use hb_domain::{Region, Timestamp};
use uuid::Uuid;

use super::{Memory, Row, page};
use crate::codec;
use crate::ports::{
    Checkpoint, CompletedSweep, Cursor, Ledger, Page, PortError, PortResult, Record, Segment,
    Stored, Swap, System, Version,
};

fn stored<T: Record>(key: &str, (text, version, writer): &Row) -> PortResult<Stored<T>> {
    let unreadable = |error| PortError::unreadable(format!("table {}", T::TABLE), key, error);
    Ok(Stored {
        record: codec::decode(text).map_err(unreadable)?,
        version: *version,
        writer: *writer,
    })
}

#[async_trait]
impl<T: Record> Ledger<T> for Memory {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        let mut tables = self.call(&format!("table {}", T::TABLE))?;
        let key = key.to_string();
        tables
            .records
            .entry(T::TABLE)
            .or_default()
            .get(&key)
            .map(|row| stored(&key, row))
            .transpose()
    }

    async fn swap(
        &self,
        record: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        let mut tables = self.call(&format!("table {}", T::TABLE))?;
        let key = record.key().to_string();
        let text = codec::encode(record).map_err(|e| PortError::unreadable(T::TABLE, &key, e))?;
        let records = tables.records.entry(T::TABLE).or_default();
        let current = records.get(&key);
        if current.map(|(_, version, _)| *version) != expected {
            return Ok(Swap::Conflict(
                current.map(|row| stored(&key, row)).transpose()?,
            ));
        }
        let version = expected.unwrap_or(0) + 1;
        records.insert(key, (text, version, writer));
        Ok(Swap::Done(version))
    }

    async fn open(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        let mut tables = self.call(&format!("table {}", T::TABLE))?;
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let records = tables.records.entry(T::TABLE).or_default();
        let read = |row: &Row| stored("", row).map_err(|e| e.to_string());
        let mut page: Page<Stored<T>> = page(records, after.map(|c| c.0), Clone::clone, read);
        page.items.retain(|stored| stored.record.is_open());
        Ok(page)
    }
}

#[async_trait]
impl System for Memory {
    async fn last_sweep(&self, region: &Region) -> PortResult<Option<CompletedSweep>> {
        Ok(self.call("table system")?.sweeps.get(region).cloned())
    }

    async fn record_sweep(&self, region: &Region, sweep: &CompletedSweep) -> PortResult<()> {
        let mut tables = self.call("table system")?;
        let known = tables
            .sweeps
            .entry(region.clone())
            .or_insert_with(|| sweep.clone());
        if sweep.began > known.began || known.began.is_ahead(sweep.ended) {
            known.clone_from(sweep);
        }
        Ok(())
    }

    async fn checkpoint(&self, region: &Region) -> PortResult<Option<Checkpoint>> {
        Ok(self.call("table system")?.checkpoints.get(region).cloned())
    }

    async fn record_checkpoint(
        &self,
        region: &Region,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> PortResult<()> {
        let mut tables = self.call("table system")?;
        let known = tables
            .checkpoints
            .entry(region.clone())
            .or_insert_with(|| checkpoint.clone());
        if checkpoint.began >= known.began || known.began.is_ahead(now) {
            *known = checkpoint.clone();
        }
        Ok(())
    }
}
