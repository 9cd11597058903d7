use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use hb_domain::Receiver;
use hb_service::ports::{Cursor, Ledger, Page, PortResult, Record, Segment, Stored, Swap, Version};
use uuid::Uuid;

use super::{SimulatedPorts, delay};
use crate::faults::Fault;
use crate::invariants;
use crate::store::{Copy, Row};
use crate::versions::without_news;
use crate::world::World;

fn stored<T: Record>(row: &Row) -> Option<Stored<T>> {
    let record: &T = (&*row.record as &dyn Any).downcast_ref()?;
    Some(Stored {
        record: record.clone(),
        version: row.version,
        writer: row.writer,
    })
}

impl SimulatedPorts {
    /// A region that is cut off has no quorum.
    fn quorum(&self) -> PortResult<()> {
        let world = self.world.get();
        if world.cut_off.contains(&self.region) && !world.tables.eventual {
            return Err(Self::unavailable("ledger: no quorum"));
        }
        Ok(())
    }

    /// Compares and swaps, at once.
    pub(crate) fn write<T: Record>(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> Swap<T> {
        let mut world = self.world.get();
        let ledger = world.tables.ledger_of(&self.region);
        let place = (T::TABLE, entry.key().to_string());
        let current = world
            .tables
            .records
            .entry(ledger.clone())
            .or_default()
            .get(&place)
            .cloned();
        if current.as_ref().map(|row| row.version) != expected {
            return Swap::Conflict(current.as_ref().and_then(stored));
        }
        let version = expected.unwrap_or(0) + 1;
        let older = self.older.then(|| without_news(entry)).flatten();
        let record = older.unwrap_or_else(|| Arc::new(entry.clone()));
        let row = Row {
            record: record.clone(),
            open: entry.is_open(),
            version,
            writer,
            at: world.now,
        };
        if world.tables.eventual {
            let others: Vec<_> = world
                .regions
                .iter()
                .filter(|other| **other != self.region)
                .cloned()
                .collect();
            for other in others {
                let at = world.now + delay(&mut world, &place.1);
                world.tables.copies.push((
                    other,
                    at,
                    Copy::Record(place.0, place.1.clone(), row.clone()),
                ));
            }
        }
        world.damage.repair(place.0, &place.1);
        if T::TABLE == Receiver::TABLE && expected.is_none() {
            // Hosts use a region only when it is known.
            let old = world.tables.old_records.entry(ledger.clone()).or_default();
            old.insert(place.clone(), row.clone());
        }
        let records = world.tables.records.entry(ledger).or_default();
        records.insert(place, row);
        invariants::swapped(&mut world, &*record, self);
        Swap::Done(version)
    }
}

#[async_trait]
impl<T: Record> Ledger<T> for SimulatedPorts {
    async fn load(&self, key: &T::Key) -> PortResult<Option<Stored<T>>> {
        self.call("ledger.load").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let mut world = self.world.get();
        world.damage.check(T::TABLE, &key.to_string())?;
        let ledger = world.tables.ledger_of(&self.region);
        let records = world.tables.records.entry(ledger).or_default();
        Ok(records.get(&(T::TABLE, key.to_string())).and_then(stored))
    }

    async fn swap(
        &self,
        entry: &T,
        expected: Option<Version>,
        writer: Uuid,
    ) -> PortResult<Swap<T>> {
        self.call("ledger.swap").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let swap = self.write(entry, expected, writer);
        if let Swap::Conflict(Some(_)) = swap {
            // It cannot be read who was faster.
            let key = entry.key().to_string();
            self.world.get().damage.check(T::TABLE, &key)?;
        }
        self.reply("ledger.swap done").await;
        if self.world.get().strikes(Fault::StoreReplyLost) {
            return Err(Self::unavailable("ledger: reply lost"));
        }
        Ok(swap)
    }

    async fn open(&self, _: Segment, _: Option<Cursor>) -> PortResult<Page<Stored<T>>> {
        self.call("ledger.open").await;
        self.may_fail("ledger")?;
        self.quorum()?;
        let mut world = self.world.get();
        let ledger = world.tables.ledger_of(&self.region);
        let stale = world.strikes(Fault::StaleIndex);
        let World {
            tables,
            rng,
            damage,
            ..
        } = &mut *world;
        let rows = tables.records.get(&ledger).into_iter().flatten();
        let old = tables.old_records.get(&ledger);
        let mut page = Page::default();
        for (place, row) in rows.filter(|((table, _), _)| *table == T::TABLE) {
            // Of a stale page each item is as of now or as of then.
            let row = if stale && rng.bool() {
                old.and_then(|old| old.get(place))
            } else {
                Some(row)
            };
            let Some(row) = row.filter(|row| row.open) else {
                continue;
            };
            match damage.of(T::TABLE, &place.1) {
                Some(item) => page.unreadable.push(item),
                None => page.items.extend(stored(row)),
            }
        }
        Ok(page)
    }
}
