//! The dependency arrows of the architecture.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .unwrap()
}

/// What `package` depends on, for itself or for its tests.
fn dependencies(metadata: &Metadata, package: &str, kind: DependencyKind) -> BTreeSet<String> {
    let package = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == package)
        .unwrap();
    package
        .dependencies
        .iter()
        .filter(|d| d.kind == kind)
        .map(|d| d.name.clone())
        .collect()
}

#[test]
fn crates_know_only_those_before_them() {
    let metadata = metadata();
    let arrows = [
        ("hb-domain", vec![]),
        ("hb-version", vec![]),
        ("hb-service", vec!["hb-domain"]),
        ("hb-aws", vec!["hb-domain", "hb-service"]),
        ("hb-sqlite", vec!["hb-domain", "hb-service"]),
        ("hb-delivery", vec!["hb-domain", "hb-service"]),
        ("hb-http", vec!["hb-domain", "hb-service"]),
        (
            "hb-cli",
            vec![
                "hb-aws",
                "hb-delivery",
                "hb-domain",
                "hb-http",
                "hb-service",
                "hb-sqlite",
                "hb-version",
            ],
        ),
        (
            "hb-lambda",
            vec!["hb-aws", "hb-domain", "hb-http", "hb-service", "hb-version"],
        ),
        ("hb-exhaustive", vec![]),
        (
            "hb-fuzz",
            vec![
                "hb-aws",
                "hb-cli",
                "hb-domain",
                "hb-http",
                "hb-lambda",
                "hb-service",
                "hb-sqlite",
            ],
        ),
        ("hb-simulation", vec![]),
    ];
    assert_eq!(
        metadata.workspace_packages().len(),
        arrows.len(),
        "every crate has its arrows here"
    );
    for (package, allowed) in arrows {
        let known = dependencies(&metadata, package, DependencyKind::Normal);
        let ours: Vec<_> = known
            .iter()
            .filter(|name| name.starts_with("hb-"))
            .collect();
        assert_eq!(ours, allowed, "{package}");
    }
}

#[test]
fn technology_stays_in_its_crate() {
    let metadata = metadata();
    let homes = [
        ("aws-config", vec!["hb-aws"]),
        ("aws-sdk-dynamodb", vec!["hb-aws"]),
        ("aws-sdk-sns", vec!["hb-aws"]),
        ("aws-sdk-sqs", vec!["hb-aws"]),
        ("rusqlite", vec!["hb-sqlite"]),
        ("lettre", vec!["hb-delivery"]),
        ("reqwest", vec!["hb-cli", "hb-delivery"]),
        ("axum", vec!["hb-http"]),
        ("clap", vec!["hb-cli"]),
        ("ratatui", vec!["hb-cli"]),
        ("getrandom", vec!["hb-service"]),
        ("lambda_runtime", vec!["hb-lambda"]),
    ];
    for (technology, homes) in homes {
        let packages = metadata
            .packages
            .iter()
            .map(|package| package.name.as_str());
        let knows = |package: &&str| {
            dependencies(&metadata, package, DependencyKind::Normal).contains(technology)
        };
        assert_eq!(
            packages.filter(knows).collect::<BTreeSet<_>>(),
            BTreeSet::from_iter(homes),
            "{technology}"
        );
    }
}

#[test]
fn rules_know_no_io() {
    let known = dependencies(&metadata(), "hb-domain", DependencyKind::Normal);
    for technology in [
        "tokio",
        "async-trait",
        "futures",
        "tracing",
        "getrandom",
        "rand",
    ] {
        assert!(
            !known.contains(technology),
            "hb-domain depends on {technology}"
        );
    }
}
