//! HTTP requests as events: from what each gateway delivers to the request that the client sent.
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

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use data_encoding::BASE64;
use futures::{future, stream};
use hb_http::{Body, Client};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use serde::Deserialize;
use serde_json::Value;

use self::target::Path;

/// The form in which a gateway expects its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One value per header: HTTP APIs in format 2.0, function URLs.
    Flat,
    /// Lists of values: REST APIs, and HTTP APIs in format 1.0.
    Lists,
    /// A load balancer; `lists` when its target group has multi-value headers enabled.
    Balancer { lists: bool },
}

/// An HTTP request, and how to answer it.
pub(crate) struct HttpEvent {
    pub(crate) request: Request<Body>,
    pub(crate) format: Format,
}

/// An event that is not an HTTP request. Never quotes the event, which may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the event is not an HTTP request of a function URL, an API Gateway or a load balancer: {0}"
)]
pub(crate) struct NotHttp(&'static str);

/// The members of an event that are read; each may be absent or `null`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    version: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    http_method: Option<String>,
    path: Option<String>,
    headers: Option<Single>,
    multi_value_headers: Option<Multiple>,
    query_string_parameters: Option<Single>,
    multi_value_query_string_parameters: Option<Multiple>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
    request_context: Option<RequestContext>,
}

type Single = BTreeMap<String, Option<String>>;
type Multiple = BTreeMap<String, Option<Vec<String>>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    http: Option<HttpContext>,
    /// Present for load balancers.
    elb: Option<Value>,
    domain_name: Option<String>,
    stage: Option<String>,
    /// Of REST APIs, and of HTTP APIs in format 1.0.
    identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext {
    method: Option<String>,
    source_ip: Option<String>,
}

impl RequestContext {
    /// The address that the gateway saw; a load balancer appends it to a header.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let address = match self {
            Self {
                http: Some(http), ..
            } => http.source_ip.as_deref(),
            Self { elb: Some(_), .. } => {
                let forwarded = headers.get("x-forwarded-for")?.to_str().ok()?;
                forwarded.rsplit(',').next().map(str::trim)
            }
            _ => self.identity.as_ref()?.source_ip.as_deref(),
        };
        address?.parse().ok()
    }
}

impl HttpEvent {
    pub(crate) fn read(event: Value) -> Result<Self, NotHttp> {
        // The parser's message would quote the event.
        let mut raw = Event::deserialize(event).map_err(|_| NotHttp("unknown structure"))?;
        let context = raw.request_context.take().unwrap_or_default();
        let (method, path, query, format) = match context {
            RequestContext {
                http: Some(ref http),
                ..
            } => {
                let method = http.method.clone();
                let path = raw.raw_path.take();
                // Only its domain distinguishes a function URL from an HTTP API.
                let decoded = !context
                    .domain_name
                    .as_ref()
                    .is_some_and(|name| name.contains(".lambda-url."));
                let query = raw.raw_query_string.take().unwrap_or_default();
                (
                    method,
                    path.map(|path| Path { path, decoded }),
                    query,
                    Format::Flat,
                )
            }
            RequestContext { elb: Some(_), .. } => {
                let lists = raw.multi_value_headers.is_some();
                let path = raw.path.take().map(|path| Path {
                    path,
                    decoded: false,
                });
                (
                    raw.http_method.take(),
                    path,
                    target::joined(raw.parameters()),
                    Format::Balancer { lists },
                )
            }
            _ => {
                // Only HTTP APIs send a version.
                let decoded = raw.version.is_some();
                let path = raw.path.take().map(|path| Path { path, decoded });
                (
                    raw.http_method.take(),
                    path,
                    target::encoded(raw.parameters()),
                    Format::Lists,
                )
            }
        };
        let method = method.ok_or(NotHttp("no method"))?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| NotHttp("invalid method"))?;
        let path = path.ok_or(NotHttp("no path"))?;
        let uri = target::uri(&path, context.stage.as_deref(), &query);
        let mut request = Request::new(raw.body());
        *request.method_mut() = method;
        *request.uri_mut() = uri.map_err(|_| NotHttp("path and query are too long"))?;
        *request.headers_mut() = raw.headers();
        if let Some(client) = context.client(request.headers()) {
            request.extensions_mut().insert(Client(client));
        }
        Ok(Self { request, format })
    }
}

impl Event {
    /// The query parameters, one pair per value.
    fn parameters(&mut self) -> Vec<(String, String)> {
        flatten(
            self.multi_value_query_string_parameters.take(),
            self.query_string_parameters.take(),
        )
    }

    fn headers(&mut self) -> HeaderMap {
        let pairs = flatten(self.multi_value_headers.take(), self.headers.take());
        // The router needs no header that is invalid.
        let header = |(name, value): (String, String)| {
            Some((
                name.parse::<HeaderName>().ok()?,
                HeaderValue::from_bytes(value.as_bytes()).ok()?,
            ))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.into_iter().filter_map(header) {
            headers.append(name, value);
        }
        headers
    }

    /// Invalid base64 makes a body that fails when it is read, so that the router checks the key first and then answers
    /// as for any body that ends early.
    fn body(&mut self) -> Body {
        let body = self.body.take().unwrap_or_default();
        if !self.is_base64_encoded.unwrap_or_default() {
            return Body::from(body);
        }
        match BASE64.decode(body.as_bytes()) {
            Ok(bytes) => Body::from(bytes),
            Err(error) => {
                let broken: Result<Vec<u8>, _> =
                    Err(io::Error::new(io::ErrorKind::InvalidData, error));
                Body::from_stream(stream::once(future::ready(broken)))
            }
        }
    }
}

/// One pair per value. Lists, where they are sent, hold all values; single values are the last of each list.
fn flatten(multiple: Option<Multiple>, single: Option<Single>) -> Vec<(String, String)> {
    if let Some(lists) = multiple.filter(|lists| !lists.is_empty()) {
        let each = |(name, values): (String, Option<Vec<String>>)| {
            values
                .unwrap_or_default()
                .into_iter()
                .map(move |value| (name.clone(), value))
        };
        return lists.into_iter().flat_map(each).collect();
    }
    let pair = |(name, value): (String, Option<String>)| Some((name, value?));
    single
        .unwrap_or_default()
        .into_iter()
        .filter_map(pair)
        .collect()
}

#[cfg(test)]
mod tests;
