use http_body_util::BodyExt;
use serde_json::json;

use super::*;

fn read(event: Value) -> Request<Body> {
    let HttpEvent { event, mended } = HttpEvent::read(event).unwrap();
    mended.request(event.into())
}

/// What each event of a REST API, or of an HTTP API in format 1.0, has.
fn v1(members: Value) -> Value {
    with(
        json!({"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod", "httpMethod": "GET"}}),
        members,
    )
}

fn balancer(members: Value) -> Value {
    with(
        json!({"httpMethod": "GET", "path": "/", "requestContext": {"elb": {}}}),
        members,
    )
}

fn with(mut event: Value, members: Value) -> Value {
    let Value::Object(members) = members else {
        panic!("members")
    };
    event.as_object_mut().unwrap().extend(members);
    event
}

fn v2(domain: &str, stage: &str, path: &str, query: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": path, "rawQueryString": query,
        "requestContext": {"http": {"method": "GET", "path": path}, "domainName": domain, "stage": stage},
    })
}

#[test]
fn paths_arrive_as_sent_unless_the_gateway_decodes_them() {
    let (url, api) = (
        "abc.lambda-url.eu-west-1.on.aws",
        "abc.execute-api.eu-west-1.amazonaws.com",
    );
    let api_v1 = |version: Value, stage: &str, path: &str| {
        v1(
            json!({"version": version, "path": path, "requestContext": {"stage": stage, "httpMethod": "GET"}}),
        )
    };
    let rest = |stage, path| api_v1(Value::Null, stage, path);
    let cases = [
        (
            v2(url, "$default", "/v1/heartbeat/rack%2F7", ""),
            "/v1/heartbeat/rack%2F7",
        ),
        (
            v2(url, "$default", "/v1/heartbeat/rack/7", ""),
            "/v1/heartbeat/rack/7",
        ),
        (
            v2(api, "$default", "/v1/heartbeat/rack/7", ""),
            "/v1/heartbeat/rack/7",
        ),
        (
            v2(api, "$default", "/v1/heartbeat/a b?#ä%2F", ""),
            "/v1/heartbeat/a%20b%3F%23%C3%A4%252F",
        ),
        (
            v2(api, "prod", "/prod/v1/heartbeat/web-01", ""),
            "/prod/v1/heartbeat/web-01",
        ),
        (
            v2(url, "$default", "/v1/status", "a=%2F&b=a b&a"),
            "/v1/status?a=%2F&b=a%20b&a",
        ),
        (
            rest("v1", "/v1/heartbeat/rack%2F7"),
            "/v1/heartbeat/rack%2F7",
        ),
        // What a parser of addresses would make shorter.
        (
            v2(url, "$default", "/v1/heartbeat/../%2e%2e/web", ""),
            "/v1/heartbeat/../%2e%2e/web",
        ),
        (
            api_v1("1.0".into(), "prod", "/prod/v1/heartbeat/a%b"),
            "/prod/v1/heartbeat/a%25b",
        ),
        (rest("prod", "v1/status"), "/v1/status"),
        (
            balancer(json!({"path": "/v1/heartbeat/rack%2F7"})),
            "/v1/heartbeat/rack%2F7",
        ),
    ];
    for (event, expected) in cases {
        assert_eq!(read(event.clone()).uri(), expected, "{event}");
    }
}

#[test]
fn only_decoded_parameters_are_encoded_again() {
    let query = |event: Value| read(event).uri().query().map(ToOwned::to_owned);
    let event = |event: fn(Value) -> Value, single: Value, multiple: Value| {
        event(json!({"queryStringParameters": single, "multiValueQueryStringParameters": multiple}))
    };
    let (single, multiple) = (
        json!({"m": "a b&c=%+é"}),
        json!({"m": ["1", "2 3"], "n": null}),
    );
    assert_eq!(
        query(event(v1, single.clone(), Value::Null)).unwrap(),
        "m=a+b%26c%3D%25%2B%C3%A9"
    );
    assert_eq!(query(event(v1, single, multiple)).unwrap(), "m=1&m=2+3");
    assert_eq!(query(event(v1, Value::Null, json!({}))), None);
    let (single, multiple) = (json!({"m": "a%20b%26c"}), json!({"m": ["1", "2+3%26"]}));
    assert_eq!(
        query(event(balancer, single.clone(), Value::Null)).unwrap(),
        "m=a%20b%26c"
    );
    assert_eq!(
        query(event(balancer, single, multiple)).unwrap(),
        "m=1&m=2+3%26"
    );
}

#[test]
fn header_lists_take_precedence_over_single_values() {
    let event = |single: Value, multiple: Value| {
        balancer(json!({"headers": single, "multiValueHeaders": multiple}))
    };
    let values = |event: Value| {
        let headers = read(event).headers().clone();
        headers
            .get_all("x-api-key")
            .iter()
            .map(|v| v.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values(event(
            json!({"X-Api-Key": "a", "é": "b", "x-b": "a\nb", "x-c": null}),
            Value::Null
        )),
        ["a"]
    );
    assert_eq!(
        values(event(
            json!({"X-Api-Key": "b"}),
            json!({"x-api-key": ["a", "b"], "x-c": null})
        )),
        ["a", "b"]
    );
    assert!(values(event(Value::Null, Value::Null)).is_empty());
}

#[tokio::test]
async fn bodies_are_decoded_and_invalid_base64_fails_on_reading() {
    let body = async |body: &str, base64: Value| {
        let event = v1(json!({"body": body, "isBase64Encoded": base64}));
        read(event)
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes().to_vec())
    };
    assert_eq!(body("aGI=", false.into()).await.unwrap(), b"aGI=");
    assert_eq!(body("aGI=", Value::Null).await.unwrap(), b"aGI=");
    assert_eq!(body("aGL/", true.into()).await.unwrap(), b"hb\xff");
    for bad in ["aGI", "aG I=", "{}", "é", "aGI_"] {
        assert!(body(bad, true.into()).await.is_err(), "{bad}");
    }
}

#[test]
fn other_events_are_refused_without_quoting_them() {
    let secret = "hbk_secret";
    let events = [
        Value::Null,
        json!([]),
        json!(secret),
        json!({}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event"}),
        json!({"Records": [{"body": secret}]}),
        json!({"httpMethod": "GET", "path": "/"}),
        json!({"httpMethod": "GET", "requestContext": secret}),
        v1(json!({"httpMethod": "G E T"})),
        v1(json!({"path": null})),
        v1(json!({"headers": secret})),
        v1(json!({"path": format!("/{}", "x".repeat(70_000))})),
        balancer(json!({"httpMethod": null})),
        json!({"rawPath": "/", "requestContext": {"http": {}}}),
    ];
    for event in events {
        let text = HttpEvent::read(event.clone())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            text.starts_with("the event is not an HTTP request of"),
            "{event:.80}: {text}"
        );
        assert!(!text.contains(secret), "{text}");
    }
}
