//! What the templates of a deployment repeat, as JSON from the constants of the code, for `tests/template`.
#![expect(clippy::print_stdout, reason = "a tool for developers")]

use std::error::Error;
use std::time::Duration;

use hb_aws::facts::{
    AUDIT_KIND, BEAT_ATTRIBUTES, COUNTED_ATTRIBUTES, EXPIRY, MENDED_ATTRIBUTES, RECEIVER_PREFIX,
    STAGE_CHARS, SWEEP_KIND,
};
use hb_aws::{Attribute, Stage, table_definitions};
use hb_domain::{HostId, Region, limits};
use hb_lambda::facts::{Function, MARGIN, MINUTE, NAMESPACE, SLACK, VARIABLES, metrics};
use hb_service::SweepSettings;
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let stage = Stage::parse("dev")?;
    let facts = json!({
        "stageChars": STAGE_CHARS,
        "names": {
            "heartbeats": stage.heartbeats(), "ledger": stage.ledger(), "keys": stage.keys(),
            "system": stage.system(), "notices": stage.notices(), "echo": stage.echo(),
        },
        "tables": tables(&stage),
        "beatAttributes": BEAT_ATTRIBUTES,
        "mendedAttributes": MENDED_ATTRIBUTES,
        "countedAttributes": COUNTED_ATTRIBUTES,
        "receiverPrefix": RECEIVER_PREFIX,
        "sweepKind": SWEEP_KIND,
        "auditKind": AUDIT_KIND,
        "expiry": EXPIRY,
        "functions": functions(&stage),
        "namespace": NAMESPACE,
        "metrics": metrics()
            .into_iter()
            .map(|(name, unit, dimensions)| (name.to_owned(), json!({"unit": unit, "dimensions": dimensions})))
            .collect::<Map<_, _>>(),
        "canaryPaths": (0..limits::CANARIES)
            .map(|n| format!("/v1/heartbeat/{}", HostId::canary(n)))
            .collect::<Vec<_>>(),
        "seconds": seconds(),
        "messagesPerSecond": limits::MESSAGES_PER_SECOND,
    });
    println!("{facts:#}");
    Ok(())
}

fn tables(stage: &Stage) -> Map<String, Value> {
    let key = |key: &[Attribute]| -> Value {
        let pair = |attribute: &Attribute| json!([attribute.name, attribute.data_type]);
        key.iter().map(pair).collect()
    };
    let table = |table: hb_aws::TableDefinition| {
        let index = table.index.as_ref();
        let index = index.map(|index| json!({"name": index.name, "key": key(&index.key)}));
        (table.name, json!({"key": key(&table.key), "index": index}))
    };
    table_definitions(stage).into_iter().map(table).collect()
}

fn functions(stage: &Stage) -> Map<String, Value> {
    let function = |function: Function| {
        let read =
            |(name, by): &(&'static str, &[Function])| by.contains(&function).then_some(*name);
        let variables: Vec<_> = VARIABLES.iter().filter_map(read).collect();
        let permissions = function.permissions().iter();
        let permissions: Vec<_> = permissions
            .map(|may| (may.operation.action(), (may.resource)(stage)))
            .collect();
        let facts = json!({
            "program": function.program(), "task": function.task(),
            "variables": variables, "permissions": permissions,
        });
        (format!("{function:?}"), facts)
    };
    Function::ALL.into_iter().map(function).collect()
}

fn seconds() -> Map<String, Value> {
    let settings = SweepSettings::distributed(Region::local(), Duration::ZERO);
    let durations = [
        ("minute", MINUTE),
        ("margin", MARGIN),
        ("slack", SLACK),
        ("canaryFresh", settings.canaries.fresh),
        ("echoWait", settings.delivery.echo_wait),
        ("regionDeadAfter", limits::REGION_DEAD_AFTER),
        ("grace", limits::GRACE),
        ("hold", limits::HOLD),
    ];
    let pair = |(name, duration): (&str, Duration)| (name.to_owned(), duration.as_secs().into());
    durations.map(pair).into_iter().collect()
}
