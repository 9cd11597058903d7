//! Requests with their expected responses, which must be the same from `hb serve` and from the Lambda function.
//!
//! The tests of both (`tests/system`, `tests/aws`) read them from `requests.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Headers that the server of the connection adds.
const OF_THE_CONNECTION: [&str; 4] = ["connection", "content-length", "date", "transfer-encoding"];

/// A request, its response and what is stored of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    /// What it shows.
    pub(crate) what: String,
    /// Method and target, as on the wire.
    request: String,
    /// Whose key: `ingest` (the default), `prefixed` (may beat for `web`), `read`, `typo`, `none`.
    #[serde(default = "ingest")]
    pub(crate) key: String,
    /// The text before the key, by default `x-api-key:`.
    r#as: Option<String>,
    #[serde(default)]
    sent: BTreeMap<String, String>,
    body: Option<String>,
    pub(crate) body_base64: Option<String>,
    /// The length to which the body is padded with spaces.
    #[serde(default)]
    padding: usize,
    /// Whether a load balancer that keeps only one value of a parameter changes the request.
    #[serde(default)]
    lost_by_balancers: bool,
    status: u16,
    /// The `code` of a problem.
    code: Option<String>,
    /// The `detail` of a problem.
    detail: Option<String>,
    /// The detail when a gateway has percent-decoded the path, if that makes a difference.
    detail_when_decoded: Option<String>,
    /// The names of unknown fields that come back.
    #[serde(default)]
    ignored: Vec<String>,
    /// The headers that not every response has.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    stored: Option<Stored>,
    /// What is stored when a gateway has percent-decoded the path, if that makes a difference.
    stored_when_decoded: Option<Stored>,
}

/// What is stored of a host.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) host: String,
    pub(crate) signal: String,
    pub(crate) interval_ms: i64,
    pub(crate) message: Option<String>,
}

fn ingest() -> String {
    "ingest".to_owned()
}

/// All of them, in the order in which they are sent.
pub(crate) fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("requests.json")).unwrap()
}

impl Case {
    /// Whether this request passes unchanged through a proxy that, with `single_values`, keeps one value of a parameter, and
    /// whether it is still ours behind the stage of a gateway that puts one before its path, as a `staged` one does.
    pub(crate) fn arrives(&self, single_values: bool, staged: bool) -> bool {
        let has_stage = self.line().1.find("/v1/hear") > Some(0);
        !(self.lost_by_balancers && single_values || has_stage && staged)
    }

    /// The method and the target.
    pub(crate) fn line(&self) -> (&str, &str) {
        self.request.split_once(' ').unwrap()
    }

    /// The headers, with this key.
    pub(crate) fn headers(&self, key: &str) -> BTreeMap<String, String> {
        let mut headers = self.sent.clone();
        if self.key != "none" {
            let (name, before) = self
                .r#as
                .as_deref()
                .unwrap_or("x-api-key:")
                .split_once(':')
                .unwrap();
            headers.insert(
                name.to_lowercase(),
                format!("{before} {key}").trim().to_owned(),
            );
        }
        headers
    }

    /// The body, if it is text.
    pub(crate) fn text(&self) -> Option<String> {
        if self.body_base64.is_some() {
            return None;
        }
        let mut body = self.body.clone().unwrap_or_default();
        body += &" ".repeat(self.padding.saturating_sub(body.len()));
        Some(body)
    }

    /// What is stored of it, when its path arrived as sent or `decoded`.
    pub(crate) fn stored(&self, decoded: bool) -> Option<Stored> {
        self.stored_when_decoded
            .clone()
            .filter(|_| decoded)
            .or(self.stored.clone())
    }

    /// Compares a whole response with the expected one; `decoded` as for [`Self::stored`].
    pub(crate) fn check(
        &self,
        decoded: bool,
        status: u16,
        headers: &BTreeMap<String, String>,
        body: &str,
    ) {
        let what = &self.what;
        assert_eq!(status, self.status, "{what}: {body}");
        let kind = if status == 200 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let always = [
            ("content-type", kind),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ];
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let expected: BTreeMap<_, _> = always.into_iter().chain(own).collect();
        let received = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let received: BTreeMap<_, _> = received
            .filter(|(name, _)| !OF_THE_CONNECTION.contains(name))
            .collect();
        assert_eq!(received, expected, "{what}");
        match (self.line().0, status) {
            ("HEAD", _) => assert_eq!(body, "", "{what}"),
            (_, 200) => {
                // The status also names the program, and a database that is the server's own.
                let body = body
                    .split_once(r#","version""#)
                    .map_or(body.to_owned(), |(body, _)| format!("{body}}}"));
                let ignored = match &self.ignored[..] {
                    [] => String::new(),
                    names => format!(r#","ignored":{}"#, json!(names)),
                };
                assert_eq!(body, format!(r#"{{"message":"OK"{ignored}}}"#), "{what}");
            }
            _ => {
                let body: Value = serde_json::from_str(body).unwrap();
                assert_eq!(body, self.problem(decoded), "{what}");
            }
        }
    }

    fn problem(&self, decoded: bool) -> Value {
        let detail = self
            .detail_when_decoded
            .as_ref()
            .filter(|_| decoded)
            .or(self.detail.as_ref());
        let title = match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            413 => "Payload Too Large",
            other => panic!("no title for {other}"),
        };
        let (status, code) = (self.status, &self.code);
        json!({"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, "message": detail})
    }
}
