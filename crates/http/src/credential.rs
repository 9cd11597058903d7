//! Finds the API key in a request.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The key that was sent, in `x-api-key` or, when that is absent, as `Authorization: Bearer`.
///
/// A header that is not text counts as an empty key, which is as wrong as any other.
pub(crate) fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get("x-api-key") {
        return Some(value.to_str().unwrap_or_default().trim());
    }
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, key) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_in_either_header() {
        type Sent<'a> = &'a [(&'a str, &'a [u8])];
        let cases: [(Sent, Option<&str>); 10] = [
            (&[], None),
            (&[("x-api-key", b"a")], Some("a")),
            (&[("X-Api-Key", b" a ")], Some("a")),
            (&[("authorization", b"Bearer a")], Some("a")),
            (&[("authorization", b"bEARER  a")], Some("a")),
            (
                &[("authorization", b"Bearer b"), ("x-api-key", b"a")],
                Some("a"),
            ),
            (
                &[("authorization", b"Bearer b"), ("x-api-key", b"")],
                Some(""),
            ),
            (&[("authorization", b"Basic a")], None),
            (&[("authorization", b"Bearer")], None),
            (&[("x-api-key", b"\xff")], Some("")),
        ];
        for (sent, found) in cases {
            let headers = sent.iter().map(|(name, value)| {
                (
                    name.to_lowercase().parse().unwrap(),
                    axum::http::HeaderValue::from_bytes(value).unwrap(),
                )
            });
            assert_eq!(presented(&headers.collect()), found, "{sent:?}");
        }
    }
}
