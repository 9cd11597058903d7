//! Events that are broken, or none for `ingest`: whatever comes, the next one is answered.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::gateways::Gateway;
use super::ingest::{World, beat};
use super::requests;

const TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn bad_base64_is_a_bad_request_in_the_form_of_each_gateway_for_those_with_a_key() {
    let world = World::new(&[]).await;
    let case = &requests::cases()[0];
    for gateway in Gateway::ALL {
        for (key, status, code) in [
            (world.key.as_str(), 400, "invalid_body"),
            ("", 401, "unauthenticated"),
        ] {
            let mut event = gateway.event(case, key, true);
            event["body"] = r#"{"hostId": "web-01"}"#.into();
            let answer = world.function.invoke(&event).await.unwrap();
            let (told, headers, body) = gateway.answer(&answer);
            assert_eq!(told, status, "{gateway:?}: {answer}");
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["code"], code);
        }
    }
    assert_eq!(world.beat("web-01").await["statusCode"], 200);
}

#[tokio::test]
async fn an_event_that_is_no_request_is_an_error_and_the_next_one_is_answered() {
    let world = World::new(&[]).await;
    let secret = world.key.as_str();
    let events = [
        json!({"source": "aws.events", "detail": {}}),
        json!([1]),
        json!(secret),
        json!({"x": secret}),
        Value::Null,
    ];
    for event in &events {
        let error = world.function.invoke(event).await.unwrap_err();
        assert_eq!(error["errorType"], "NotHttp");
        let text = error["errorMessage"].as_str().unwrap();
        assert!(
            text.starts_with("the event is not an HTTP request of a function URL"),
            "{text}"
        );
        assert!(!text.contains(&secret[16..]));
    }
    assert_eq!(world.beat("web-01").await["statusCode"], 200);
    let log = world.function.log(events.len()).await;
    assert_eq!(log.len(), events.len(), "one line each: {log:#?}");
    assert!(
        log.iter()
            .all(|line| line["level"] == "ERROR" && line["span"]["requestId"].is_string()),
        "{log:#?}"
    );
    assert_eq!(world.function.metrics(1).await.len(), 1, "of the beat");
}

#[tokio::test]
async fn bytes_that_are_no_json_are_an_error_and_the_next_one_is_answered() {
    let world = World::new(&[]).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let secret = format!("{{\"headers\": {{\"x-api-key\": \"{}\"", world.key);
    for event in [
        b"".to_vec(),
        b"\xff\xfe".to_vec(),
        deep.into_bytes(),
        secret.into_bytes(),
    ] {
        let error = world.function.invoke_bytes(event, TIME).await.unwrap_err();
        assert!(!error.to_string().contains(&world.key[16..]), "{error}");
        assert_eq!(world.beat("web-01").await["statusCode"], 200);
    }
}

/// Any JSON, a few levels deep, with the names that are asked for.
fn rubbish() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>().boxed(),
        "[A-Z]{0,8}".boxed(),
        "(/v1/heartbeat)?[/%a-f0-9?#&= ]{0,12}".boxed(),
        Just("\r\n\0\u{2028}".to_owned()).boxed(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = prop_oneof![
        4 => proptest::sample::select(&NAMES[..]).prop_map(ToOwned::to_owned),
        1 => any::<String>(),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..8)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

const NAMES: [&str; 17] = [
    "version",
    "rawPath",
    "rawQueryString",
    "httpMethod",
    "path",
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "body",
    "isBase64Encoded",
    "requestContext",
    "http",
    "method",
    "elb",
    "domainName",
    "stage",
];

/// Puts `rubbish` in the place of one member or element, the `at`th of all, which are counted down.
fn spoil(event: &mut Value, at: &mut usize, rubbish: &Value) {
    let inner: Vec<&mut Value> = match event {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(elements) => elements.iter_mut().collect(),
        _ => return,
    };
    for value in inner {
        if *at == 0 {
            value.clone_from(rubbish);
        }
        *at = at.wrapping_sub(1);
        spoil(value, at, rubbish);
    }
}

#[tokio::test]
async fn no_rubbish_ends_the_function() {
    const EVENTS: usize = 600;
    let world = World::new(&[("HB_LOG", "off")]).await;
    let cases = requests::cases();
    let (mut runner, strategy) = (
        TestRunner::deterministic(),
        (rubbish(), any::<usize>(), 0..40_usize),
    );
    let (mut answered, mut refused) = (0, 0);
    for i in 0..EVENTS {
        let (rubbish, pick, mut at) = strategy.new_tree(&mut runner).unwrap().current();
        let event = if i % 3 == 0 {
            rubbish
        } else {
            let gateway = Gateway::ALL[pick % Gateway::ALL.len()];
            let mut event = gateway.event(&cases[pick % cases.len()], &world.key, i % 2 == 0);
            spoil(&mut event, &mut at, &rubbish);
            event
        };
        match world.function.invoke(&event).await {
            Ok(answer) => {
                let status = answer["statusCode"].as_u64().unwrap();
                assert!((200..500).contains(&status), "{status} to {event}");
                answered += 1;
            }
            Err(error) => {
                assert_eq!(error["errorType"], "NotHttp", "{error} to {event}");
                refused += 1;
            }
        }
    }
    assert!(
        answered > EVENTS / 4 && refused > EVENTS / 8,
        "{answered} answered, {refused} refused"
    );
    assert_eq!(
        world
            .function
            .invoke(&beat("web-01", &world.key))
            .await
            .unwrap()["statusCode"],
        200
    );
}
