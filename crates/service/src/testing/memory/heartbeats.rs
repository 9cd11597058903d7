use async_trait::async_trait;
use hb_domain::{HostKey, Key, Timestamp};

use super::{Memory, page};
use crate::ports::{Cursor, Heard, Heartbeats, Page, PortError, PortResult, Segment};

#[async_trait]
impl Heartbeats for Memory {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        self.call("table heartbeats")?.record(heard);
        Ok(())
    }

    async fn record_with(&self, heard: &Heard, key: &Key) -> PortResult<bool> {
        let mut tables = self.call("table heartbeats")?;
        let name = heard.key.to_string();
        let known = tables.heartbeats.keys().any(|(host, _)| *host == name);
        let full = tables.key(&key.id).is_some_and(|key| key.is_full());
        if known || !full {
            tables.record(heard);
        }
        Ok(known || !full)
    }

    async fn load(&self, host: &HostKey) -> PortResult<Vec<Heard>> {
        let tables = self.call("table heartbeats")?;
        let name = host.to_string();
        let of_host = tables
            .heartbeats
            .range((name.clone(), String::new())..)
            .take_while(|((key, _), _)| *key == name);
        let unreadable = |cause: &String| {
            PortError::unreadable("table heartbeats", host.to_string(), cause.clone())
        };
        of_host
            .map(|(_, heard)| heard.clone().map_err(|cause| unreadable(&cause)))
            .collect()
    }

    async fn scan(&self, segment: Segment, after: Option<Cursor>) -> PortResult<Page<Heard>> {
        let tables = self.call("table heartbeats")?;
        if segment.index > 0 {
            return Ok(Page::default());
        }
        let split = |text: String| {
            text.split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        let name = |(host, region): &(String, String)| format!("{host} {region}");
        Ok(page(
            &tables.heartbeats,
            after.and_then(|c| split(c.0)),
            name,
            Clone::clone,
        ))
    }

    async fn mend(&self, ahead: &[Heard], now: Timestamp) -> PortResult<()> {
        let mut tables = self.call("table heartbeats")?;
        for heard in ahead {
            let key = (heard.key.to_string(), heard.region.to_string());
            if let Some(Ok(kept)) = tables.heartbeats.get_mut(&key)
                && kept.heartbeat.has_instants_of(&heard.heartbeat)
            {
                kept.heartbeat = kept.heartbeat.clone().as_of(now);
            }
        }
        Ok(())
    }

    fn behind(&self, host: &HostKey) -> Cursor {
        // This sorts after the name of any region.
        Cursor(format!("{host} \u{10ffff}"))
    }

    async fn forget(&self, host: &HostKey, up_to: Timestamp) -> PortResult<()> {
        let mut tables = self.call("table heartbeats")?;
        let newer =
            |heard: &Result<Heard, String>| heard.as_ref().is_ok_and(|h| h.heartbeat.last > up_to);
        tables
            .heartbeats
            .retain(|(key, _), heard| *key != host.to_string() || newer(heard));
        Ok(())
    }

    async fn check(&self) -> PortResult<()> {
        self.call("table heartbeats").map(|_| ())
    }
}
