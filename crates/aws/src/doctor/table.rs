//! Compares a table with the one that the adapters need.

use aws_sdk_dynamodb::types::{
    IndexStatus, KeySchemaElement, ProjectionType, ReplicaStatus, TableDescription, TableStatus,
};
use hb_service::doctor::Finding;

use super::answer::DEPLOY;
use crate::tables::{Attribute, IndexDefinition, TableDefinition};

pub(super) fn findings(
    what: &str,
    wanted: &TableDefinition,
    table: &TableDescription,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &table.table_status {
        Some(TableStatus::Active | TableStatus::Updating) => {}
        status => {
            let cause = format!(
                "its status is {}",
                status.as_ref().map_or("unknown", TableStatus::as_str)
            );
            findings.push(Finding::problem(
                what,
                cause,
                "wait, then check again; the AWS console has details",
            ));
        }
    }
    if !is_key(table.key_schema.as_deref(), &wanted.key) {
        findings.push(Finding::problem(
            what,
            "its key differs from the one that the adapters need",
            DEPLOY,
        ));
    }
    findings.extend(
        wanted
            .index
            .as_ref()
            .and_then(|wanted| index(what, wanted, table)),
    );
    for replica in table.replicas() {
        let region = replica.region_name().unwrap_or("?");
        match &replica.replica_status {
            Some(ReplicaStatus::Active | ReplicaStatus::Updating) | None => {}
            Some(status) => {
                let details = replica.replica_status_description().unwrap_or_default();
                let cause = format!("its replica in {region} is {}: {details}", status.as_str());
                findings.push(Finding::warning(
                    what,
                    cause,
                    "wait, then check again; that region works in isolation",
                ));
            }
        }
    }
    if findings.is_empty() {
        let replicas: Vec<_> = table
            .replicas()
            .iter()
            .filter_map(|replica| replica.region_name())
            .collect();
        let replicas = if replicas.is_empty() {
            String::new()
        } else {
            format!(", replicas in {}", replicas.join(", "))
        };
        findings.push(Finding::ok(what, format!("active{replicas}")));
    }
    findings
}

fn index(what: &str, wanted: &IndexDefinition, table: &TableDescription) -> Option<Finding> {
    let name = wanted.name;
    let mut all = table.global_secondary_indexes().iter();
    let Some(index) = all.find(|index| index.index_name() == Some(name)) else {
        let cause = format!("its index {name} is missing: a sweep fails");
        return Some(Finding::problem(what, cause, DEPLOY));
    };
    let projection = index
        .projection
        .as_ref()
        .and_then(|projection| projection.projection_type.as_ref());
    if !is_key(index.key_schema.as_deref(), &wanted.key) || projection != Some(&ProjectionType::All)
    {
        let cause = format!("its index {name} has another key or does not hold whole items");
        return Some(Finding::problem(what, cause, DEPLOY));
    }
    match &index.index_status {
        Some(IndexStatus::Active | IndexStatus::Updating) | None => None,
        Some(status) => {
            let cause = format!("its index {name} is {}", status.as_str());
            Some(Finding::problem(
                what,
                cause,
                "wait until it is built, then check again",
            ))
        }
    }
}

fn is_key(schema: Option<&[KeySchemaElement]>, wanted: &[Attribute]) -> bool {
    let names = schema
        .unwrap_or_default()
        .iter()
        .map(KeySchemaElement::attribute_name);
    names.eq(wanted.iter().map(|attribute| attribute.name))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::ReplicaDescription;
    use hb_service::doctor::Verdict;

    use super::*;
    use crate::create::schema;
    use crate::names::Stage;
    use crate::tables::table_definitions;

    #[test]
    fn differences_from_the_definition_are_found() {
        let [heartbeats, ledger, ..] = table_definitions(&Stage::parse("t").unwrap());
        let described = |key: &[Attribute]| {
            let table = TableDescription::builder().table_status(TableStatus::Active);
            table.set_key_schema(Some(schema(key).unwrap()))
        };
        let found = |wanted, table: aws_sdk_dynamodb::types::builders::TableDescriptionBuilder| {
            let [finding] = &findings("t", wanted, &table.build())[..] else {
                panic!("one finding")
            };
            (finding.verdict, finding.cause.clone())
        };
        assert_eq!(
            found(&heartbeats, described(&heartbeats.key)),
            (Verdict::Ok, "active".to_owned())
        );
        let (verdict, cause) = found(&heartbeats, described(&ledger.key));
        assert!(
            verdict == Verdict::Problem && cause.contains("its key"),
            "{cause}"
        );
        let (verdict, cause) = found(&ledger, described(&ledger.key));
        assert!(
            verdict == Verdict::Problem && cause.contains("is missing"),
            "{cause}"
        );
        let (verdict, cause) = found(
            &heartbeats,
            described(&heartbeats.key).table_status(TableStatus::Archived),
        );
        assert!(
            verdict == Verdict::Problem && cause.contains("ARCHIVED"),
            "{cause}"
        );
        let replica = |status| {
            ReplicaDescription::builder()
                .region_name("eu-north-1")
                .replica_status(status)
                .build()
        };
        let (verdict, cause) = found(
            &heartbeats,
            described(&heartbeats.key).replicas(replica(ReplicaStatus::Active)),
        );
        assert_eq!(
            (verdict, cause.as_str()),
            (Verdict::Ok, "active, replicas in eu-north-1")
        );
        let (verdict, cause) = found(
            &heartbeats,
            described(&heartbeats.key).replicas(replica(ReplicaStatus::RegionDisabled)),
        );
        assert!(
            verdict == Verdict::Warning && cause.contains("REGION_DISABLED"),
            "{cause}"
        );
    }
}
