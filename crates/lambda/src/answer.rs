//! Answers in the form that each gateway expects.
//!
//! Sources: Lambda developer guide, "Response payload format" of function URLs; API Gateway developer guide, "Output
//! format of a Lambda function for proxy integration"; Elastic Load Balancing guide, "Respond to the load balancer".

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use serde::Serialize;

use crate::event::Format;

/// An answer to an HTTP event.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) status_code: u16,
    /// For load balancers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    body: String,
    is_base64_encoded: bool,
}

impl Answer {
    pub(crate) fn new(format: Format, head: &Parts, body: &[u8]) -> Self {
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &head.headers {
            // The gateway sets these for its own connection.
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                lists.entry(name.to_string()).or_default().push(value);
            }
        }
        let (headers, multi_value_headers) = match format {
            Format::Lists | Format::Balancer { lists: true } => (None, Some(lists)),
            Format::Flat | Format::Balancer { lists: false } => (
                Some(
                    lists
                        .into_iter()
                        .map(|(name, values)| (name, values.join(", ")))
                        .collect(),
                ),
                None,
            ),
        };
        let description =
            matches!(format, Format::Balancer { .. }).then(|| head.status.to_string());
        let (body, is_base64_encoded) = match str::from_utf8(body) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (BASE64.encode(body), true),
        };
        let status_code = head.status.as_u16();
        Self {
            status_code,
            status_description: description,
            headers,
            multi_value_headers,
            body,
            is_base64_encoded,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn answer(format: Format, body: &[u8]) -> String {
        let response = Response::builder()
            .status(503)
            .header("retry-after", "5")
            .header("content-length", "2");
        let response = response
            .header("allow", "GET")
            .header("allow", "HEAD")
            .body(())
            .unwrap();
        serde_json::to_string(&Answer::new(format, &response.into_parts().0, body)).unwrap()
    }

    #[test]
    fn each_gateway_gets_the_form_it_expects() {
        let answers = [
            answer(Format::Flat, b"hb"),
            answer(Format::Lists, b"hb"),
            answer(Format::Balancer { lists: false }, b"hb"),
            answer(Format::Balancer { lists: true }, b"\xff"),
        ];
        insta::assert_snapshot!(answers.join("\n"), @r#"
        {"statusCode":503,"headers":{"allow":"GET, HEAD","retry-after":"5"},"body":"hb","isBase64Encoded":false}
        {"statusCode":503,"multiValueHeaders":{"allow":["GET","HEAD"],"retry-after":["5"]},"body":"hb","isBase64Encoded":false}
        {"statusCode":503,"statusDescription":"503 Service Unavailable","headers":{"allow":"GET, HEAD","retry-after":"5"},"body":"hb","isBase64Encoded":false}
        {"statusCode":503,"statusDescription":"503 Service Unavailable","multiValueHeaders":{"allow":["GET","HEAD"],"retry-after":["5"]},"body":"/w==","isBase64Encoded":true}
        "#);
    }
}
