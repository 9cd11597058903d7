//! Finds the API key in a request.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use data_encoding::BASE64;

/// The key that was sent, in `x-api-key` or, when that is absent, as `Authorization: Bearer`, or as password or user of
/// `Authorization: Basic`: so clients send it that know nothing but a URL (`http://:KEY@HOST/`).
///
/// A header that is not text counts as an empty key, which is as wrong as any other.
pub(crate) fn presented(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    if let Some(value) = headers.get("x-api-key") {
        return Some(value.to_str().unwrap_or_default().trim().into());
    }
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, sent) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(sent.trim().into());
    }
    let basic = scheme.eq_ignore_ascii_case("basic").then(|| sent.trim())?;
    let pair = String::from_utf8(BASE64.decode(basic.as_bytes()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    let key = if password.is_empty() { user } else { password };
    Some(key.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_in_either_header() {
        type Sent<'a> = &'a [(&'a str, &'a [u8])];
        let cases: [(Sent, Option<&str>); 14] = [
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
            // `a:` no base64, `:k`, `k:`, `u:k`, and `k` without a colon.
            (&[("authorization", b"Basic a:")], None),
            (&[("authorization", b"Basic Oms=")], Some("k")),
            (&[("authorization", b"basic  azo=")], Some("k")),
            (&[("authorization", b"Basic dTpr")], Some("k")),
            (&[("authorization", b"Basic aw==")], None),
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
            assert_eq!(presented(&headers.collect()).as_deref(), found, "{sent:?}");
        }
    }
}
