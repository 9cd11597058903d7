use super::*;

#[test]
fn exit_codes_are_listed_once_and_in_order() {
    let listed: Vec<_> = CODES
        .iter()
        .filter_map(|(code, _)| code.parse::<u8>().ok())
        .collect();
    assert!(listed.is_sorted_by(|a, b| a < b));
    let cause = String::new;
    let failures = [
        Failure::ClosedPipe,
        Failure::NoSuchSubscription(String::new()),
        Failure::NoApiKey,
        Failure::Internal(String::new()),
        Failure::Refused {
            status: 403,
            cause: cause(),
        },
        Failure::NotDelivered {
            tries: 1,
            cause: cause(),
        },
        Failure::Listen {
            address: ([127, 0, 0, 1], 80).into(),
            source: io::Error::other(""),
        },
        Failure::InPart {
            failed: 1,
            of: 2,
            what: "regions",
        },
        Failure::Unrecorded(1),
    ];
    let codes: Vec<_> = failures.iter().map(|f| f.facts(false).code).collect();
    assert_eq!(codes, listed[..codes.len()]);
}

#[test]
fn a_command_that_is_not_built_in_is_wrong_usage_and_names_its_feature() {
    let failure = Failure::NotBuiltIn("watch");
    let Facts { code, next_step } = failure.facts(false);
    assert_eq!(code, 2);
    assert!(failure.to_string().contains("`watch`") && next_step.contains("--features full"));
}

#[test]
fn a_subscription_that_is_already_there_is_not_reported_as_worth_another_try() {
    for on_stage in [false, true] {
        let error = PortError::conflict("subscription on-call", "it is confirmed already");
        let Facts { code, next_step } = Failure::from(error).facts(on_stage);
        assert_eq!(code, 1, "the store works");
        assert!(next_step.contains("will fail again"), "{next_step}");
    }
}
