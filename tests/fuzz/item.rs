//! Stored items: of DynamoDB, of the queue of echoes, and of SQLite.

use hb_aws::testing::{AttributeMap, AttributeValue, Blob};
use hb_sqlite::testing::Value;

/// The first line names the store and the kind. Each other line is an attribute or a column: its name, its type (`S`,
/// `N`, `B`, `L` for texts separated by blanks, `0`), its value.
pub fn item(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(first) = lines.next().and_then(|line| str::from_utf8(line).ok()) else {
        return;
    };
    let fields = || lines.clone().filter_map(field);
    match first.split_once(' ') {
        Some(("aws", "echo")) => {
            let body = data
                .get(first.len() + 1..)
                .and_then(|rest| str::from_utf8(rest).ok());
            if let Some(body) = body {
                let _ = hb_aws::testing::echo(body);
            }
        }
        Some(("aws", kind)) => {
            let item = fields().filter_map(|(name, type_of, value)| {
                Some((name.to_owned(), attribute(type_of, value)?))
            });
            dynamo(kind, &item.collect());
        }
        Some(("sqlite", kind)) => {
            let columns = fields().map(|(name, type_of, value)| (name, column(type_of, value)));
            // The most columns of a table of ours are 13.
            sqlite(kind, &columns.take(20).collect::<Vec<_>>());
        }
        _ => {}
    }
}

fn field(line: &[u8]) -> Option<(&str, u8, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (name, rest) = line.split_at(space);
    let [_, type_of, rest @ ..] = rest else {
        return None;
    };
    let value = rest.strip_prefix(b" ").unwrap_or(rest);
    Some((str::from_utf8(name).ok()?, *type_of, value))
}

/// `None` for what DynamoDB cannot hold.
fn attribute(type_of: u8, value: &[u8]) -> Option<AttributeValue> {
    let text = || str::from_utf8(value).ok().map(str::to_owned);
    let texts = |text: String| {
        let texts = text.split(' ').filter(|text| !text.is_empty());
        texts
            .map(|text| AttributeValue::S(text.to_owned()))
            .collect()
    };
    match type_of {
        b'S' => text().map(AttributeValue::S),
        b'N' => text().map(AttributeValue::N),
        b'L' => text().map(texts).map(AttributeValue::L),
        b'B' => Some(AttributeValue::B(Blob::new(value))),
        _ => Some(AttributeValue::Null(true)),
    }
}

fn column(type_of: u8, value: &[u8]) -> Value<'_> {
    let number = || str::from_utf8(value).ok();
    match type_of {
        b'S' => Value::Text(value),
        b'B' => Value::Blob(value),
        b'N' => match number().and_then(|text| text.parse().ok()) {
            Some(integer) => Value::Integer(integer),
            None => Value::Real(number().and_then(|text| text.parse().ok()).unwrap_or(0.5)),
        },
        _ => Value::Null,
    }
}

/// What was read can be written, and read again.
fn dynamo(kind: &str, item: &AttributeMap) {
    match hb_aws::testing::read_twice(kind, item) {
        None => {}
        Some(Ok([first, second])) => assert_eq!(first, second, "{kind}"),
        Some(Err(cause)) => assert!(cause.starts_with("attribute "), "{cause}"),
    }
}

/// An error does not show what may be a secret, unless another column shows it as well.
fn sqlite(kind: &str, columns: &[(&str, Value<'_>)]) {
    let Some(Err(cause)) = hb_sqlite::testing::read(kind, columns) else {
        return;
    };
    assert!(!cause.is_empty());
    let texts = columns.iter().filter_map(|(name, value)| match value {
        Value::Text(text) => Some((
            ["address", "webhook"].contains(name),
            str::from_utf8(text).ok()?,
        )),
        _ => None,
    });
    let (secrets, others): (Vec<_>, Vec<_>) = texts.partition(|(secret, _)| *secret);
    for (_, secret) in secrets {
        let shown = others.iter().any(|(_, other)| other.contains(secret));
        assert!(
            shown || secret.len() < 40 || !cause.contains(secret),
            "{cause}"
        );
    }
}
