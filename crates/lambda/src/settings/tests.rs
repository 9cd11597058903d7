use super::*;

const MINIMUM: [(&str, &str); 4] = [
    ("HB_STAGE", "dev"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "id"),
    ("AWS_SECRET_ACCESS_KEY", "hunter2hunter2"),
];

/// The error of the minimum with the variable `name` set to `value`; an empty value removes it.
fn error(name: &str, value: &str) -> String {
    let variables = |asked: &str| {
        let known = MINIMUM
            .iter()
            .find(|(known, _)| *known == asked)
            .map(|(_, value)| (*value).to_owned());
        if asked == name {
            Some(value.to_owned())
        } else {
            known
        }
    };
    let errors = [
        IngestFunctionSettings::read(&variables).err(),
        SweepFunctionSettings::read(&variables).err(),
        log_level(&variables).err(),
    ];
    errors
        .into_iter()
        .flatten()
        .map(|error| error.to_string())
        .next()
        .unwrap_or_default()
}

#[test]
fn unset_variables_have_defaults() {
    let variables = |asked: &str| {
        MINIMUM
            .iter()
            .find(|(name, _)| *name == asked)
            .map(|(_, v)| (*v).to_owned())
    };
    let ingest = IngestFunctionSettings::read(&variables).unwrap();
    let sweep = SweepFunctionSettings::read(&variables).unwrap();
    assert_eq!(
        (ingest.shared.stage.as_str(), ingest.shared.region.as_str()),
        ("dev", "eu-west-1")
    );
    assert_eq!(ingest.rate_limit, None);
    assert_eq!(
        (sweep.every, sweep.segments, sweep.concurrency),
        (Duration::from_mins(1), None, None)
    );
    assert_eq!(log_level(&variables).unwrap(), LevelFilter::INFO);
    assert!(
        !format!("{ingest:?}").contains("hunter2"),
        "a secret in {ingest:?}"
    );
}

#[test]
fn errors_name_the_variable_and_what_is_expected() {
    let cases = [
        (
            "HB_STAGE",
            "",
            "HB_STAGE is not set; expected 1 to 24 characters of a-z, 0-9 and -, such as dev",
        ),
        (
            "HB_STAGE",
            "Dev",
            r#"HB_STAGE is "Dev"; expected 1 to 24 characters of a-z, 0-9 and -, such as dev"#,
        ),
        (
            "HB_RATE_LIMIT",
            "0",
            r#"HB_RATE_LIMIT is "0"; expected beats per second, from 1"#,
        ),
        (
            "HB_SWEEP_EVERY_S",
            "9",
            r#"HB_SWEEP_EVERY_S is "9"; expected a whole number in 10..=60"#,
        ),
        (
            "HB_SWEEP_EVERY_S",
            "20s",
            r#"HB_SWEEP_EVERY_S is "20s"; expected a whole number in 10..=60"#,
        ),
        (
            "HB_SEGMENTS",
            "65",
            r#"HB_SEGMENTS is "65"; expected a whole number in 1..=64"#,
        ),
        (
            "HB_CONCURRENCY",
            "-1",
            r#"HB_CONCURRENCY is "-1"; expected a whole number in 1..=256"#,
        ),
        (
            "HB_LOG",
            "verbose",
            r#"HB_LOG is "verbose"; expected one of off, error, warn, info, debug, trace"#,
        ),
    ];
    for (name, value, text) in cases {
        assert_eq!(error(name, value), text);
    }
    for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID"] {
        assert!(error(name, "").contains(name), "{}", error(name, ""));
    }
    for (name, value) in [
        ("HB_RATE_LIMIT", ""),
        ("HB_SWEEP_EVERY_S", "10"),
        ("HB_LOG", "debug"),
    ] {
        assert_eq!(error(name, value), "", "{name}={value}");
    }
}

#[test]
fn canaries_need_both_a_url_and_a_key() {
    let url = error("HB_CANARY_URL", "https://hb.example.com");
    assert_eq!(
        url,
        "HB_CANARY_KEY is not set; expected an API key with the scope canary"
    );
    let key = error("HB_CANARY_KEY", "hunter2");
    assert_eq!(
        key,
        "HB_CANARY_URL is not set; expected the public address of the service, https://HOST"
    );
}

#[test]
#[should_panic(expected = "VARIABLES lists no HB_SEGMENTS for Ingest")]
fn a_variable_that_is_not_listed_for_a_function_cannot_be_read() {
    let environment = Environment {
        variables: &|_| None,
        function: Ingest,
    };
    environment.get("HB_SEGMENTS");
}
