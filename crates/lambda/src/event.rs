//! HTTP requests as events. `lambda_http` reads them; what it would get wrong is mended before and after.
//!
//! The router distinguishes `rack%2F7` (a host) from `rack/7` (exit code 7 of a host), so a path should arrive as it was sent:
//!
//! | from | path | query |
//! | --- | --- | --- |
//! | function URL, load balancer | as sent | as sent |
//! | REST API | as sent | decoded |
//! | HTTP API | **decoded** | as sent (format 2.0), decoded (1.0) |
//!
//! Decoded text is encoded again. What decoding lost cannot be restored: through an HTTP API, `rack%2F7` is `rack/7`.
//!
//! Sources: Lambda developer guide, "Invoking Lambda function URLs"; API Gateway developer guide, "Create AWS Lambda
//! proxy integrations for HTTP APIs" and "Lambda proxy integrations in API Gateway"; Elastic Load Balancing guide,
//! "Lambda functions as targets" (the query is not decoded). They do not describe paths; for REST APIs
//! github.com/localstack/localstack/pull/7728, for HTTP APIs github.com/fastify/aws-lambda-fastify/issues/169, for
//! all four github.com/middleapi/standard-server/pull/93 report observations on AWS.

mod target;

use std::io;
use std::net::IpAddr;

use data_encoding::BASE64;
use futures::{future, stream};
use hb_http::{Body, Client};
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use lambda_http::request::LambdaRequest;
use serde_json::{Map, Value, from_value};

use self::target::Path;

/// An HTTP request for `lambda_http` to convert.
pub(crate) struct HttpEvent {
    pub(crate) event: LambdaRequest,
    pub(crate) mended: Mended,
}

/// What a request has instead of what the conversion gives it.
pub(crate) struct Mended {
    uri: Uri,
    client: Option<Client>,
    /// Why the body is none.
    broken: Option<data_encoding::DecodeError>,
}

/// An event that is not an HTTP request. Never quotes the event, which may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the event is not an HTTP request of a function URL, an API Gateway or a load balancer: {0}"
)]
pub(crate) struct NotHttp(&'static str);

const UNKNOWN: NotHttp = NotHttp("unknown structure");

type Members = Map<String, Value>;

impl HttpEvent {
    pub(crate) fn read(event: Value) -> Result<Self, NotHttp> {
        let Value::Object(mut event) = event else {
            return Err(UNKNOWN);
        };
        let Some(Value::Object(mut context)) = event.remove("requestContext") else {
            return Err(UNKNOWN);
        };
        // The conversion adds the stage to some paths, and panics at a host that is none.
        context.remove("stage");
        let domain = text(&mut context, "domainName");
        mend_headers(&mut event);
        let broken = mend_body(&mut event);
        let parameters = parameters(&mut event);
        let member = |of: &str, name: &str| context.get(of)?.get(name)?.as_str()?.parse().ok();
        let (path, query, client): (_, _, Option<IpAddr>);
        let read: fn(Value) -> serde_json::Result<LambdaRequest>;
        if context.contains_key("http") {
            // Only its domain distinguishes a function URL from an HTTP API.
            let decoded = !domain.is_some_and(|domain| domain.contains(".lambda-url."));
            path = Path::new(text(&mut event, "rawPath"), decoded);
            query = text(&mut event, "rawQueryString").unwrap_or_default();
            client = member("http", "sourceIp");
            read = |event| from_value(event).map(LambdaRequest::ApiGatewayV2);
        } else if context.contains_key("elb") {
            path = Path::new(text(&mut event, "path"), false);
            query = target::joined(parameters);
            client = forwarded(&event);
            read = |event| from_value(event).map(LambdaRequest::Alb);
        } else {
            // Only HTTP APIs send a version.
            let decoded = text(&mut event, "version").is_some();
            path = Path::new(text(&mut event, "path"), decoded);
            query = target::encoded(parameters);
            client = member("identity", "sourceIp");
            read = |event| from_value(event).map(LambdaRequest::ApiGatewayV1);
        }
        let uri = target::uri(&path.ok_or(NotHttp("no path"))?, &query);
        event.insert("requestContext".to_owned(), context.into());
        Ok(Self {
            // The parser's message would quote the event.
            event: read(event.into()).map_err(|_| UNKNOWN)?,
            mended: Mended {
                uri: uri.map_err(|_| NotHttp("path and query are too long"))?,
                client: client.map(Client),
                broken,
            },
        })
    }
}

impl Mended {
    /// The request that the client sent. Invalid base64 makes a body that fails when it is read, so that the router
    /// checks the key first and then answers as for any body that ends early.
    pub(crate) fn request(&self, converted: lambda_http::Request) -> Request<Body> {
        let (mut head, body) = converted.into_parts();
        head.uri = self.uri.clone();
        if let Some(client) = self.client {
            head.extensions.insert(client);
        }
        let body = match self.broken {
            None => Body::from(body.to_vec()),
            Some(error) => {
                let broken: Result<Vec<u8>, _> =
                    Err(io::Error::new(io::ErrorKind::InvalidData, error));
                Body::from_stream(stream::once(future::ready(broken)))
            }
        };
        Request::from_parts(head, body)
    }
}

fn text(members: &mut Members, name: &str) -> Option<String> {
    match members.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Leaves one of the two forms, since the conversion would put the single values, which are the last of each list, in
/// the place of the lists; and no header that it would refuse the event for. The router needs none of them.
fn mend_headers(event: &mut Members) {
    let name_of_lists = "multiValueHeaders";
    if let Some(Value::Object(lists)) = event.get(name_of_lists)
        && !lists.is_empty()
    {
        event.remove("headers");
    }
    let valid = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.parse::<HeaderValue>().is_ok())
    };
    for form in ["headers", name_of_lists] {
        let Some(Value::Object(headers)) = event.get_mut(form) else {
            continue;
        };
        headers.retain(|name, value| {
            if let Value::Array(values) = value {
                values.retain(valid);
            } else if !valid(value) {
                return false;
            }
            name.parse::<HeaderName>().is_ok_and(|name| name != HOST)
        });
    }
}

/// Removes a body that is not base64 though the event says so: the conversion would panic.
fn mend_body(event: &mut Members) -> Option<data_encoding::DecodeError> {
    let encoded = event
        .get("isBase64Encoded")
        .is_some_and(|flag| *flag == true);
    let body = event
        .get("body")
        .and_then(Value::as_str)
        .filter(|_| encoded)?;
    let error = BASE64.decode(body.as_bytes()).err()?;
    event.remove("isBase64Encoded");
    event.remove("body");
    Some(error)
}

/// The query parameters, one pair per value. Lists, where they are sent, hold all values.
fn parameters(event: &mut Members) -> Vec<(String, String)> {
    let lists = event.remove("multiValueQueryStringParameters");
    let single = event.remove("queryStringParameters");
    let members = |value: Option<Value>| match value {
        Some(Value::Object(members)) => Some(members).filter(|members| !members.is_empty()),
        _ => None,
    };
    let each = |(name, values): (String, Value)| {
        let values = match values {
            Value::Array(values) => values,
            single => vec![single],
        };
        let pair = move |value| match value {
            Value::String(value) => Some((name.clone(), value)),
            _ => None,
        };
        values.into_iter().filter_map(pair)
    };
    let chosen = members(lists).or_else(|| members(single));
    chosen
        .unwrap_or_default()
        .into_iter()
        .flat_map(each)
        .collect()
}

/// The address that a load balancer appended to a header.
fn forwarded(event: &Members) -> Option<IpAddr> {
    let headers = event
        .get("multiValueHeaders")
        .or_else(|| event.get("headers"))?;
    let header = headers.get("x-forwarded-for")?;
    let last = header
        .as_array()
        .map_or(Some(header), |values| values.last());
    last?.as_str()?.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
