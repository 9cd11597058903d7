//! Events of AWS Lambda.

use data_encoding::BASE64;
use http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use crate::world::{Answer, RequestText, World, run};

/// What is wrong with an event, which is never quoted.
const REASONS: [&str; 3] = [
    "unknown structure",
    "no path",
    "path and query are too long",
];

/// An object of JSON is an event. Any other input is a request, which each gateway that keeps paths as they are turns
/// into an event: the answer must be the one that the router gives without it.
pub fn event(data: &[u8]) {
    match serde_json::from_slice::<Value>(data) {
        Ok(event) => run(any(event)),
        Err(_) => {
            if let Some(text) = RequestText::parse(data) {
                run(through_gateways(&text));
            }
        }
    }
}

async fn any(event: Value) {
    let world = World::new().await;
    match answer(&world, event).await {
        Ok(answer) => {
            // Events of a method HEAD have answers without a body.
            answer.check(answer.body.is_empty());
            let stored = world.stored().await;
            assert!(stored.is_none() || answer.status == 200);
        }
        Err(cause) => assert!(
            REASONS.iter().any(|reason| cause.ends_with(reason)),
            "{cause}"
        ),
    }
}

async fn answer(world: &World, event: Value) -> Result<Answer, String> {
    let value =
        hb_lambda::testing::answer(world.router.clone(), world.clock.clone(), event).await?;
    let status = value["statusCode"].as_u64().expect("a status");
    let body = value["body"].as_str().unwrap_or_default();
    assert!(!value["isBase64Encoded"].as_bool().unwrap_or_default());
    Ok(Answer {
        status: status.try_into().expect("a status"),
        body: body.to_owned(),
    })
}

async fn through_gateways(text: &RequestText) {
    let Some(request) = text.request() else {
        return;
    };
    // `lambda_http` would refuse an event with other headers, so they are left out.
    if request
        .headers()
        .values()
        .any(|value| value.to_str().is_err())
    {
        return;
    }
    let events = events(text, request.uri());
    let world = World::new().await;
    let direct = world.send(request).await;
    let stored = world.stored().await;
    for event in events {
        let world = World::new().await;
        let answer = answer(&world, event.clone()).await.expect("an answer");
        // Of two mistakes in a query, a load balancer may send the other one first.
        let facts = |answer: &Answer| (answer.status, answer.code());
        assert_eq!(facts(&answer), facts(&direct), "{event}");
        let mut kept = world.stored().await;
        // Only a gateway says who the client is.
        if let Some((_, heartbeat)) = &mut kept {
            heartbeat.address = None;
        }
        assert_eq!(kept, stored, "{event}");
    }
}

/// The request as a function URL, and as a load balancer with and without lists, deliver it.
fn events(text: &RequestText, uri: &Uri) -> Vec<Value> {
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let method = text.method.as_str();
    let (mut single, mut lists) = (Map::new(), Map::new());
    let mut headers = HeaderMap::new();
    headers.extend(text.headers.iter().cloned());
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| str::from_utf8(value.as_bytes()).ok())
            .collect();
        // One header twice: a gateway that joins them changes the request.
        if values.len() == 1 {
            single.insert(name.to_string(), values[0].into());
        }
        lists.insert(name.to_string(), values.into());
    }
    let body = json!({"body": BASE64.encode(&text.body), "isBase64Encoded": true});
    let with = |members: Value| {
        let mut event = body.clone();
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members);
        }
        event
    };
    let mut events = Vec::new();
    if single.len() == lists.len() {
        events.push(with(json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": single,
            "requestContext": {"http": {"method": method}, "domainName": "abc.lambda-url.eu-west-1.on.aws"},
        })));
    }
    let mut parameters: Map<String, Value> = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let values = parameters
            .entry(name)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.into());
        }
    }
    events.push(with(json!({
        "httpMethod": method, "path": path, "multiValueHeaders": lists,
        "multiValueQueryStringParameters": parameters, "requestContext": {"elb": {}},
    })));
    events
}
