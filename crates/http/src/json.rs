//! Parses the JSON that real clients send: lenient where a beat would be lost over a detail, strict about the rest.

use std::fmt::{self, Write};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::ignored::Ignored;
use crate::invalid::Invalid;

/// The members `names` of the object that `body` is, `null` for those that are absent, and the names of [others](Ignored).
///
/// Accepts a byte order mark and, inside strings, bytes that are not UTF-8, halves of surrogate pairs, and raw line
/// breaks. `serde_json` limits nesting (127 levels), also in unknown members.
pub(crate) fn members<const N: usize>(
    body: &[u8],
    names: [&'static str; N],
) -> Result<([Value; N], Ignored), Invalid> {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim().is_empty() {
        return Err(Invalid::EmptyBody);
    }
    let text = repair(text);
    let mut json = serde_json::Deserializer::from_str(&text);
    let read = json
        .deserialize_any(Members(names))
        .and_then(|members| json.end().map(|()| members));
    read.map_err(|error| match error.to_string() {
        _ if error.is_data() => Invalid::NotAnObject,
        // `serde_json` distinguishes this by its message alone; a test pins that.
        words if words.starts_with("recursion limit") => Invalid::TooDeep,
        words => Invalid::NotJson(words),
    })?
}

/// Visits an object. The inner error is about a member; outer errors are about the text.
struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = Result<([Value; N], Ignored), Invalid>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [const { None }; N];
        let mut twice = None;
        let mut ignored = Ignored::default();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            match self.0.iter().position(|known| *known == name) {
                Some(index) if found[index].replace(value).is_some() => {
                    twice = twice.or(Some(self.0[index]));
                }
                Some(_) => {}
                None => ignored.add(&name),
            }
        }
        Ok(match twice {
            Some(name) => Err(Invalid::Twice(name)),
            None => Ok((found.map(Option::unwrap_or_default), ignored)),
        })
    }
}

/// Repairs what shells and old clients get wrong inside strings; all other errors stay errors.
fn repair(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let (mut inside, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\\' if inside => {
                taken = match (unit(rest), rest.get(6..).and_then(unit)) {
                    (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
                    (Some(_), _) => 6,
                    (None, _) => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
                };
                let lone = taken == 6 && matches!(unit(rest), Some(0xd800..=0xdfff));
                repaired.push_str(if lone { "\u{fffd}" } else { &rest[..taken] });
            }
            c if inside && c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(repaired, "\\u{:04x}", u32::from(c));
            }
            c => {
                inside ^= c == '"';
                repaired.push(c);
            }
        }
        rest = &rest[taken..];
    }
    repaired
}

/// The UTF-16 unit at the start of `text`, if that is `\u` and four hexadecimal digits.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` would take a sign.
    u16::from_str_radix(digits, 16)
        .ok()
        .filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members<const N: usize>(
        body: &[u8],
        names: [&'static str; N],
    ) -> Result<[Value; N], Invalid> {
        super::members(body, names).map(|(values, _)| values)
    }

    #[test]
    fn broken_strings_are_repaired() {
        let cases: [(&[u8], &str); 10] = [
            (br#"{"m": "plain \"\\ \u00e4 \n"}"#, "plain \"\\ ä \n"),
            (br#"{"m": "\ud83d\ude00"}"#, "😀"),
            (br#"{"m": "a\ud83d"}"#, "a\u{fffd}"),
            (br#"{"m": "a\ude00b"}"#, "a\u{fffd}b"),
            (br#"{"m": "\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (br#"{"m": "\\ud83d"}"#, "\\ud83d"),
            (b"{\"m\": \"a\xff\xe4b\"}", "a\u{fffd}\u{fffd}b"),
            (b"{\"m\": \"a\r\n\tb\"}", "a\r\n\tb"),
            (b"\xef\xbb\xbf\r\n{\"m\": \"bom\"}\r\n", "bom"),
            (
                b"{\"\\ud83d\": \"\\ud83d\", \"\xff\": 0, \"m\": \"other members\"}",
                "other members",
            ),
        ];
        for (body, message) in cases {
            assert_eq!(
                members(body, ["m"]),
                Ok([Value::from(message)]),
                "{}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn other_mistakes_stay_mistakes() {
        for body in [
            "{",
            "{'m': 1}",
            "m=1",
            "{\"m\": \"\\u+123\"}",
            "{\"m\": \"\\",
            "{\"m\": 1} {}",
            "{\"m\": 1,}",
            "\u{1}",
        ] {
            assert!(
                matches!(members(body.as_bytes(), ["m"]), Err(Invalid::NotJson(_))),
                "{body}"
            );
        }
        for body in ["[]", "[{\"m\": 1}]", "\"m\"", "7", "null", "true"] {
            assert_eq!(
                members(body.as_bytes(), ["m"]),
                Err(Invalid::NotAnObject),
                "{body}"
            );
        }
        for body in ["", " \r\n", "\u{feff}"] {
            assert_eq!(
                members(body.as_bytes(), ["m"]),
                Err(Invalid::EmptyBody),
                "{body:?}"
            );
        }
        assert_eq!(
            members(br#"{"m": null, "m": 1}"#, ["m"]),
            Err(Invalid::Twice("m"))
        );
    }

    #[test]
    fn nesting_is_limited_in_unknown_members_too() {
        let nested = |open: &str, close: &str, n: usize| {
            format!(r#"{{"x": {}0{}}}"#, open.repeat(n), close.repeat(n))
        };
        for (open, close) in [("[", "]"), (r#"{"x": "#, "}")] {
            assert!(members(nested(open, close, 100).as_bytes(), ["m"]).is_ok());
            for levels in [128, 500] {
                assert_eq!(
                    members(nested(open, close, levels).as_bytes(), ["m"]),
                    Err(Invalid::TooDeep)
                );
            }
        }
        assert_eq!(
            members(format!(r#"{{"x": {}"#, "[".repeat(4_000)).as_bytes(), ["m"]),
            Err(Invalid::TooDeep)
        );
    }

    proptest! {
        #[test]
        fn valid_json_is_read_unchanged(text in "\\PC*", other in any::<String>()) {
            let body = serde_json::json!({ "m": text, "x": other }).to_string();
            prop_assert_eq!(members(body.as_bytes(), ["x", "m"]), Ok([Value::from(other), Value::from(text)]));
        }
    }
}
