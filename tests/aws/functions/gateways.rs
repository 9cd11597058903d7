//! The events that each gateway makes of a request.
//!
//! Built after the samples of the Lambda developer guide ("Using AWS Lambda with Amazon API Gateway", "Invoking Lambda
//! function URLs", "Using AWS Lambda with an Application Load Balancer") and of `aws_lambda_events` 1.2.1
//! (`example-apigw-request`, `example-apigw-v2-request-no-authorizer`, `example-alb-lambda-target-request-*`). Which of
//! them decode path and query: `crates/lambda/src/event.rs`.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::requests::Case;

/// Who makes the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    FunctionUrl,
    /// In format 2.0.
    HttpApi,
    /// In format 1.0.
    HttpApiOld,
    RestApi,
    Balancer,
    /// With lists of values switched on.
    BalancerLists,
}

impl Gateway {
    pub(crate) const ALL: [Self; 6] = [
        Self::FunctionUrl,
        Self::HttpApi,
        Self::HttpApiOld,
        Self::RestApi,
        Self::Balancer,
        Self::BalancerLists,
    ];

    pub(crate) fn decodes_paths(self) -> bool {
        matches!(self, Self::HttpApi | Self::HttpApiOld)
    }

    /// The event of a request that was sent with this key; text goes as base64 as well.
    pub(crate) fn event(self, case: &Case, key: &str, base64: bool) -> Value {
        let (method, target) = case.line();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = case.headers(key);
        headers.insert("host".to_owned(), "beats.example.com".to_owned());
        headers.insert("x-forwarded-for".to_owned(), "192.0.2.1".to_owned());
        let path = if self.decodes_paths() {
            percent_decode_str(path).decode_utf8_lossy().into_owned()
        } else {
            path.to_owned()
        };
        let (body, base64) = match (case.text(), base64) {
            (None, _) => (case.body_base64.clone().unwrap(), true),
            (Some(text), true) => (BASE64.encode(text.as_bytes()), true),
            (Some(text), false) => (text, false),
        };
        let mut event = match self {
            Self::FunctionUrl => version_2(
                method,
                &path,
                query,
                &headers,
                "x.lambda-url.eu-west-1.on.aws",
            ),
            Self::HttpApi => version_2(
                method,
                &path,
                query,
                &headers,
                "x.execute-api.eu-west-1.amazonaws.com",
            ),
            Self::HttpApiOld => version_1(method, &format!("/prod{path}"), query, &headers, true),
            Self::RestApi => version_1(method, &path, query, &headers, false),
            Self::Balancer => balancer(method, &path, query, &headers, false),
            Self::BalancerLists => balancer(method, &path, query, &headers, true),
        };
        event["isBase64Encoded"] = base64.into();
        event["body"] = if body.is_empty() {
            Value::Null
        } else {
            body.into()
        };
        event
    }

    /// Status, a header of the answer, and its body, as the client gets them.
    pub(crate) fn answer(self, answer: &Value) -> (u16, BTreeMap<String, String>, String) {
        let lists = matches!(self, Self::RestApi | Self::HttpApiOld | Self::BalancerLists);
        let member = if lists {
            "multiValueHeaders"
        } else {
            "headers"
        };
        let text = |value: &Value| match value {
            Value::Array(values) => values
                .iter()
                .map(|v| v.as_str().unwrap())
                .collect::<Vec<_>>()
                .join(", "),
            value => value.as_str().unwrap().to_owned(),
        };
        let headers = answer[member].as_object().unwrap();
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        assert_eq!(answer["isBase64Encoded"], false);
        assert_eq!(
            answer["statusDescription"].is_string(),
            matches!(self, Self::Balancer | Self::BalancerLists)
        );
        let status = answer["statusCode"].as_u64().unwrap().try_into().unwrap();
        (status, headers, answer["body"].as_str().unwrap().to_owned())
    }
}

fn version_2(
    method: &str,
    path: &str,
    query: &str,
    headers: &BTreeMap<String, String>,
    domain: &str,
) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
        "requestContext": {
            "accountId": "123456789012", "apiId": "x", "domainName": domain, "domainPrefix": "x",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl/8"},
            "requestId": "id", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_u64,
        },
    })
}

/// Of a REST API; or of an HTTP API, which names its version.
fn version_1(
    method: &str,
    path: &str,
    query: &str,
    headers: &BTreeMap<String, String>,
    http_api: bool,
) -> Value {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let (single, multiple) = parameters(&pairs);
    let mut event = json!({
        "resource": "/{proxy+}", "path": path, "httpMethod": method,
        "headers": headers, "multiValueHeaders": lists(headers),
        "queryStringParameters": single, "multiValueQueryStringParameters": multiple,
        "pathParameters": {"proxy": path.trim_start_matches('/')}, "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012", "apiId": "x", "domainName": "x.execute-api.eu-west-1.amazonaws.com",
            "httpMethod": method, "identity": {"sourceIp": "192.0.2.1", "userAgent": "curl/8"},
            "path": format!("/prod{path}"), "protocol": "HTTP/1.1", "requestId": "id",
            "resourceId": "123456", "resourcePath": "/{proxy+}", "stage": "prod",
        },
    });
    if http_api {
        event["version"] = "1.0".into();
    }
    event
}

fn balancer(
    method: &str,
    path: &str,
    query: &str,
    headers: &BTreeMap<String, String>,
    lists_on: bool,
) -> Value {
    let target =
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/hb/6d0ecf831eec9f09";
    let pairs: Vec<_> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let (single, multiple) = parameters(&pairs);
    let mut event = json!({"requestContext": {"elb": {"targetGroupArn": target}}, "httpMethod": method, "path": path});
    if lists_on {
        event["multiValueQueryStringParameters"] = multiple;
        event["multiValueHeaders"] = lists(headers);
    } else {
        event["queryStringParameters"] = single;
        event["headers"] = json!(headers);
    }
    event
}

/// The last value of each parameter, and all of them; `null` when there are none, as API Gateway has it.
fn parameters(pairs: &[(String, String)]) -> (Value, Value) {
    let (mut single, mut multiple) = (Map::new(), Map::new());
    for (name, value) in pairs {
        single.insert(name.clone(), value.clone().into());
        let values = multiple.entry(name.clone()).or_insert_with(|| json!([]));
        values.as_array_mut().unwrap().push(value.clone().into());
    }
    if pairs.is_empty() {
        (Value::Null, Value::Null)
    } else {
        (single.into(), multiple.into())
    }
}

fn lists(headers: &BTreeMap<String, String>) -> Value {
    headers
        .iter()
        .map(|(name, value)| (name.clone(), json!([value])))
        .collect::<Map<_, _>>()
        .into()
}
