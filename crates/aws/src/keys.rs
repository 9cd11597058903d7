//! API keys in DynamoDB. Only the SHA-256 of a secret is stored.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use hb_domain::{HostPrefix, Key, KeyId, KeyLimits, SecretHash, Timestamp};
use hb_service::ports::{Cursor, Keys, Page, PortResult};
use tracing::instrument;

use crate::client::Clients;
use crate::expression::names;
use crate::item::{self, Cause};
use crate::meter::Operation;
use crate::names::Stage;
use crate::size::AttributeMap;
use crate::table::{Conditional, Table};

pub(crate) const ID: &str = "id";
const NAME: &str = "name";
const HASH: &str = "hash";
const FLEET: &str = "fleet";
const SCOPE: &str = "scope";
const PREFIXES: &str = "prefixes";
const CREATED: &str = "created";
const EXPIRES: &str = "expires";
const REVOKED: &str = "revoked";
const USED: &str = "used";
const MAX_HOSTS: &str = "maxHosts";
const MAX_INTERVAL: &str = "maxInterval";
const HOSTS: &str = "hosts";

/// What a sweep may write of a key; its role allows nothing else.
pub const COUNTED: [&str; 2] = [ID, HOSTS];

const EXISTS: &str = "attribute_exists(#id)";

/// The API keys of a stage.
#[derive(Clone, Debug)]
pub struct DynamoKeys {
    /// For beats, which cannot wait.
    quick: Table,
    /// For everything else.
    table: Table,
}

impl DynamoKeys {
    #[must_use]
    pub fn new(clients: &Clients, stage: &Stage) -> Self {
        Self {
            quick: Table::quick(clients, stage.keys()),
            table: Table::patient(clients, stage.keys()),
        }
    }

    /// Updates a key if `condition` holds, and returns the updated key if it is asked for.
    async fn set(
        &self,
        table: &Table,
        id: &KeyId,
        update: &str,
        condition: &str,
        values: &[(&str, AttributeValue)],
        returned: ReturnValue,
    ) -> PortResult<Option<Key>> {
        let values = values.iter().cloned();
        let values: HashMap<_, _> = values
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let request = table.client.update_item().table_name(&table.name);
        let answer = request
            .key(ID, item::text(id.as_str()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[update, condition])))
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .return_values(returned)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match table.settle_conditional(Operation::UpdateItem, answer)? {
            Conditional::Done(output) => {
                output.attributes.map(|item| self.decode(&item)).transpose()
            }
            Conditional::Failed(_) => Ok(None),
        }
    }

    fn decode(&self, item: &AttributeMap) -> PortResult<Key> {
        decode(item).map_err(|cause| self.table.unreadable(item::label(item, &[ID]), cause))
    }
}

#[async_trait]
impl Keys for DynamoKeys {
    /// Strongly consistent: a key works as soon as `hb key create` has shown it.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn load(&self, id: &KeyId) -> PortResult<Option<Key>> {
        let request = self.quick.client.get_item().table_name(&self.quick.name);
        let answer = request
            .key(ID, item::text(id.as_str()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = self.quick.settle(Operation::GetItem, answer)?;
        output.item.map(|item| self.decode(&item)).transpose()
    }

    /// An identical key that exists counts as created: the reply was lost and the SDK tried again.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = key.id.as_str()))]
    async fn create(&self, key: &Key) -> PortResult<bool> {
        let (item, condition) = (encode(key), "attribute_not_exists(#id)");
        let request = self.table.client.put_item().table_name(&self.table.name);
        let answer = request
            .set_item(Some(item.clone()))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names(&[condition])))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        Ok(
            match self.table.settle_conditional(Operation::PutItem, answer)? {
                Conditional::Done(_) => true,
                Conditional::Failed(found) => found == Some(item),
            },
        )
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn revoke(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let update = "SET #revoked = if_not_exists(#revoked, :at)";
        let at = [(":at", item::instant(at))];
        self.set(&self.table, id, update, EXISTS, &at, ReturnValue::AllNew)
            .await
    }

    /// The condition spares a key that expires earlier, which is then read.
    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn expire(&self, id: &KeyId, at: Timestamp) -> PortResult<Option<Key>> {
        let later = "attribute_exists(#id) AND (attribute_not_exists(#expires) OR #expires > :at)";
        let at = [(":at", item::instant(at))];
        match self
            .set(
                &self.table,
                id,
                "SET #expires = :at",
                later,
                &at,
                ReturnValue::AllNew,
            )
            .await?
        {
            Some(key) => Ok(Some(key)),
            None => self.load(id).await,
        }
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> PortResult<()> {
        let earlier = "attribute_exists(#id) AND (attribute_not_exists(#used) OR #used < :at)";
        let at = [(":at", item::instant(at.day()))];
        // Nothing of the key comes back: the role of `ingest` does not allow it.
        let nothing = ReturnValue::None;
        self.set(&self.quick, id, "SET #used = :at", earlier, &at, nothing)
            .await
            .map(drop)
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn limit(&self, id: &KeyId, limits: &KeyLimits) -> PortResult<Option<Key>> {
        let (mut set, mut remove, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in limits_of(limits) {
            match value {
                Some(value) => {
                    set.push(format!("#{name} = :{name}"));
                    values.push((format!(":{name}"), value));
                }
                None => remove.push(format!("#{name}")),
            }
        }
        let part = |word, parts: Vec<String>| {
            if parts.is_empty() {
                String::new()
            } else {
                format!("{word} {} ", parts.join(", "))
            }
        };
        let update = part("SET", set) + &part("REMOVE", remove);
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        self.set(
            &self.table,
            id,
            update.trim_end(),
            EXISTS,
            &values,
            ReturnValue::AllNew,
        )
        .await
    }

    #[instrument(level = "debug", skip_all, err(level = "debug"), fields(id = id.as_str()))]
    async fn note_hosts(&self, id: &KeyId, hosts: u32) -> PortResult<Option<Key>> {
        let hosts = [(":hosts", item::number(hosts))];
        self.set(
            &self.table,
            id,
            "SET #hosts = :hosts",
            EXISTS,
            &hosts,
            ReturnValue::AllNew,
        )
        .await
    }

    /// All keys in one page: DynamoDB scans in the order of hashes, and there are dozens of keys, not millions.
    #[instrument(level = "debug", skip_all, err(level = "debug"))]
    async fn list(&self, _after: Option<Cursor>) -> PortResult<Page<Key>> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let request = self.table.client.scan().table_name(&self.table.name);
            let answer = request
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            let output = self.table.settle(Operation::Scan, answer)?;
            items.extend(output.items.unwrap_or_default());
            start = output.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let mut page = item::page(items, &[ID], decode);
        page.items.sort_by_key(|a| a.id);
        Ok(page)
    }
}

pub(crate) fn encode(key: &Key) -> AttributeMap {
    let prefixes = key
        .host_prefixes
        .iter()
        .map(|prefix| item::text(prefix.as_str()))
        .collect();
    let mut item = item::of([
        (ID, item::text(key.id.as_str())),
        (NAME, item::text(key.name.as_str())),
        (HASH, item::bytes(key.hash.as_bytes())),
        (FLEET, item::text(key.fleet.as_str())),
        (SCOPE, item::text(key.scope.to_string())),
        (PREFIXES, AttributeValue::L(prefixes)),
        (CREATED, item::instant(key.created)),
    ]);
    for (name, at) in [
        (EXPIRES, key.expires),
        (REVOKED, key.revoked),
        (USED, key.used),
    ] {
        item.extend(at.map(|at| (name.to_owned(), item::instant(at))));
    }
    for (name, value) in limits_of(&key.limits) {
        item.extend(value.map(|value| (name.to_owned(), value)));
    }
    item
}

/// `None` for one that the item then lacks.
fn limits_of(limits: &KeyLimits) -> [(&'static str, Option<AttributeValue>); 2] {
    [
        (MAX_HOSTS, limits.hosts.map(item::number)),
        (
            MAX_INTERVAL,
            limits
                .interval
                .map(|interval| item::number(interval.as_millis())),
        ),
    ]
}

pub(crate) fn decode(item: &AttributeMap) -> Result<Key, Cause> {
    Ok(Key {
        id: item::get_parsed(item, ID)?,
        name: item::get_parsed(item, NAME)?,
        hash: match item.get(HASH) {
            Some(AttributeValue::B(hash)) => hash
                .as_ref()
                .try_into()
                .map(SecretHash::from_bytes)
                .map_err(|_| item::wrong(HASH, "not 32 bytes"))?,
            _ => return Err(item::wrong(HASH, "not bytes")),
        },
        fleet: item::get_parsed(item, FLEET)?,
        scope: item::get_parsed(item, SCOPE)?,
        host_prefixes: match item.get(PREFIXES) {
            Some(AttributeValue::L(prefixes)) => {
                prefixes.iter().map(prefix).collect::<Result<_, _>>()?
            }
            _ => return Err(item::wrong(PREFIXES, "not a list")),
        },
        created: item::get_instant(item, CREATED)?,
        expires: item::optional_instant(item, EXPIRES)?,
        revoked: item::optional_instant(item, REVOKED)?,
        used: item::optional_instant(item, USED)?,
        limits: KeyLimits {
            hosts: item::optional_number(item, MAX_HOSTS)?,
            interval: item::optional_millis(item, MAX_INTERVAL)?,
        },
        hosts: item::optional_number(item, HOSTS)?.unwrap_or(0),
    })
}

fn prefix(value: &AttributeValue) -> Result<HostPrefix, Cause> {
    let text = value
        .as_s()
        .map_err(|_| item::wrong(PREFIXES, "not a text"))?;
    text.parse().map_err(|error| item::wrong(PREFIXES, error))
}

#[cfg(test)]
mod tests {
    use hb_domain::{Fleet, Interval, Scope, Secret};

    use super::*;

    fn key() -> Key {
        Key {
            id: KeyId::from_random([1; 7]),
            name: "nightly bäckup".parse().unwrap(),
            hash: Secret::from_random([2; 32]).hash(),
            fleet: Fleet::main(),
            scope: Scope::Ingest,
            host_prefixes: vec!["web".parse().unwrap()],
            created: Timestamp::MIN,
            expires: Some(Timestamp::MAX),
            revoked: None,
            used: None,
            limits: KeyLimits {
                hosts: Some(50),
                interval: Some(Interval::default()),
            },
            hosts: 0,
        }
    }

    #[test]
    fn decode_inverts_encode() {
        let bare = Key {
            host_prefixes: Vec::new(),
            expires: None,
            scope: Scope::Read,
            limits: KeyLimits::default(),
            ..key()
        };
        for key in [key(), bare] {
            assert_eq!(
                format!("{:?}", decode(&encode(&key)).unwrap()),
                format!("{key:?}")
            );
        }
    }

    #[test]
    fn decodes_what_version_0_1_0_wrote() {
        let item = item::of([
            ("id", item::text("aeaqcaibae")),
            ("name", item::text("ci")),
            ("hash", item::bytes(&[7; 32])),
            ("fleet", item::text("lab")),
            ("scope", item::text("read")),
            ("prefixes", AttributeValue::L(vec![item::text("web-")])),
            ("created", item::number(1_700_000_000_000_i64)),
            ("expires", item::number(1_800_000_000_000_i64)),
            ("revoked", item::number(1_700_000_001_000_i64)),
        ]);
        let key = decode(&item).unwrap();
        assert_eq!(
            (key.scope, key.host_prefixes[0].as_str()),
            (Scope::Read, "web-")
        );
        assert_eq!(key.revoked.unwrap().as_millis(), 1_700_000_001_000);
    }

    #[test]
    fn errors_name_the_attribute() {
        let cases = [
            (ID, item::text("no id")),
            (HASH, item::bytes(&[1; 31])),
            (HASH, item::text("hash")),
            (SCOPE, item::text("admin")),
            (PREFIXES, item::text("web")),
            (PREFIXES, AttributeValue::L(vec![item::number(1)])),
            (EXPIRES, item::number(-1)),
            (MAX_HOSTS, item::number(1_u64 << 32)),
            (MAX_INTERVAL, item::number(1)),
            (HOSTS, item::text("many")),
        ];
        for (name, value) in cases {
            let mut bad = encode(&key());
            bad.insert(name.to_owned(), value);
            let error = decode(&bad).unwrap_err();
            assert!(error.starts_with(&format!("attribute {name}: ")), "{error}");
        }
    }
}
