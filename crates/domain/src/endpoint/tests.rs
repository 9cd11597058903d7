use super::*;

#[test]
fn endpoints_are_checked_by_protocol() {
    let good = [
        (Protocol::Email, "on-call@example.com"),
        (Protocol::Http, "http://127.0.0.1:9000/hook?x=1"),
        (Protocol::Https, "https://hooks.example.com/T0/secret"),
        (Protocol::Sms, "+15550100123"),
        (Protocol::Sqs, "arn:aws:sqs:eu-west-1:123456789012:hb"),
    ];
    for (protocol, address) in good {
        assert_eq!(
            Endpoint::parse(protocol, address).unwrap().address(),
            address
        );
    }
    let bad = [
        (Protocol::Email, "on-call"),
        (Protocol::Email, "a@example.com\r\nBcc: b@example.com"),
        (Protocol::Http, "https://example.com"),
        (Protocol::Https, "example.com/hook"),
        (Protocol::Sms, "0151 234"),
        (Protocol::Sqs, "https://sqs.eu-west-1.amazonaws.com/1/hb"),
    ];
    for (protocol, address) in bad {
        assert!(Endpoint::parse(protocol, address).is_err(), "{address}");
    }
}

fn refusal(protocol: Protocol, address: &str, allow_private: bool) -> Option<String> {
    let endpoint = Endpoint::parse(protocol, address).unwrap();
    let checked = endpoint.check_reachable(allow_private);
    checked.err().map(|error| error.to_string())
}

#[test]
fn addresses_that_can_work_are_accepted() {
    for (protocol, address) in [
        (Protocol::Email, "on-call@example.com"),
        (Protocol::Email, "On-Call+heartbeat@Example.COM"),
        (Protocol::Email, "root@localhost"),
        (Protocol::Email, "on-call@xn--bcher-kva.example"),
        (Protocol::Email, "Jörg <joerg@example.com>"),
        (Protocol::Http, "http://localhost:9000/hook"),
        (Protocol::Http, "http://127.0.0.1:9000/hook"),
        (Protocol::Http, "http://[::1]/hook"),
        (Protocol::Http, "http://10.1.2.3/hook"),
        (Protocol::Http, "http://alert_manager:9000/"),
        (Protocol::Https, "https://hooks.example.com./T0/B0"),
        (Protocol::Https, "https://bücher.example/hook"),
        (Protocol::Sms, "+15550100123"),
    ] {
        assert_eq!(refusal(protocol, address, false), None, "{address}");
    }
}

#[test]
fn addresses_that_can_never_work_are_refused_with_advice() {
    let long = format!("https://{}.example/", "a".repeat(64));
    let longer = format!("https://{}example/", "abc.".repeat(64));
    for (protocol, address, advice) in [
        (Protocol::Email, "a@[127.0.0.1]", "not an IP address"),
        (Protocol::Email, "a@[IPv6:::1]", "not an IP address"),
        (Protocol::Email, "a@127.0.0.1", "not an IP address"),
        (Protocol::Email, "jörg@example.com", "SMTPUTF8"),
        (Protocol::Email, "\"on call\"@example.com", "quotation"),
        (
            Protocol::Email,
            "a@bücher.example",
            "as xn--bcher-kva.example",
        ),
        (Protocol::Https, "https://a..b/hook", "empty"),
        (Protocol::Https, "https://hook$.example/", "not of a-z"),
        (Protocol::Https, long.as_str(), "63 characters"),
        (Protocol::Https, longer.as_str(), "253 characters"),
        (Protocol::Http, "http://example.com:0/", "port 0"),
        (Protocol::Http, "http://224.0.0.1/", "multicast"),
        (Protocol::Http, "http://255.255.255.255/", "multicast"),
        (Protocol::Http, "http://[ff02::1]/", "multicast"),
    ] {
        for allow_private in [false, true] {
            let said = refusal(protocol, address, allow_private).expect(address);
            assert!(said.contains(advice), "{address}: {said}");
        }
    }
}

#[test]
fn webhooks_to_addresses_that_are_off_limits_need_to_be_allowed() {
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9.254.0251.0376/",
        "http://0xa9fea9fe/",
        "http://169.254.43518/",
        "http://１６９.254.169.254/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://0/",
        "http://0.0.0.0:9000/",
        "http://[::]/",
        "http://metadata.google.internal/",
        "http://METADATA.google.internal./",
        "http://metadata/",
        "http://instance-data/",
    ] {
        let said = refusal(Protocol::Http, url, false).expect(url);
        assert!(said.contains("add --allow-private"), "{url}: {said}");
        assert_eq!(refusal(Protocol::Http, url, true), None, "{url}");
    }
    let secret = refusal(
        Protocol::Https,
        "https://u:s3cret@169.254.1.1/s3cret?s3cret",
        false,
    );
    assert!(!secret.unwrap().contains("s3cret"));
}

/// An address of every protocol, and the part of it that must stay hidden, if any.
fn address_and_secret(protocol: Protocol) -> (&'static str, Option<&'static str>) {
    match protocol {
        Protocol::Console => ("s3cret", Some("s3cret")),
        Protocol::Email => ("on-call@example.com", None),
        Protocol::Sms => ("+15550100123", None),
        Protocol::Http => (
            "http://user:s3cret@127.0.0.1:9000/s3cret?s3cret#s3cret",
            Some("s3cret"),
        ),
        Protocol::Https => ("https://hooks.example.com/T0/s3cret", Some("s3cret")),
        Protocol::Sqs => ("arn:aws:sqs:eu-west-1:123456789012:hb", None),
    }
}

#[test]
fn the_secret_in_an_address_is_shown_for_no_protocol() {
    for protocol in Protocol::ALL {
        let (address, secret) = address_and_secret(protocol);
        let endpoint = Endpoint::parse(protocol, address).unwrap();
        for shown in [endpoint.to_string(), format!("{endpoint:?}")] {
            match secret {
                Some(secret) => assert!(!shown.contains(secret), "{shown}"),
                None => assert!(shown.contains(address), "{shown}"),
            }
        }
    }
}
