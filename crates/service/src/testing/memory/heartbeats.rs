use async_trait::async_trait;
use hb_domain::{HostKey, Timestamp};

use super::{Memory, page};
use crate::ports::{Cursor, Heard, Heartbeats, Page, PortError, PortResult, Segment};

#[async_trait]
impl Heartbeats for Memory {
    async fn record(&self, heard: &Heard) -> PortResult<()> {
        let mut tables = self.call("table heartbeats")?;
        let key = (heard.key.to_string(), heard.region.to_string());
        let clock = tables.clock.as_ref();
        let now = clock.map_or(heard.heartbeat.last, |clock| clock.now());
        let kept = match tables.heartbeats.remove(&key) {
            Some(Ok(kept)) => Heard {
                heartbeat: kept.heartbeat.recorded(heard.heartbeat.clone(), now),
                ..kept
            },
            _ => heard.clone(),
        };
        tables.heartbeats.insert(key, Ok(kept));
        Ok(())
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
