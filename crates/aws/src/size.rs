//! The size of an item as DynamoDB counts it, which reads, writes and scans are charged by.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// An item: attributes by name.
pub type AttributeMap = HashMap<String, AttributeValue>;

/// The size of an item in bytes, for capacity units. Storage is charged 100 bytes more per item.
///
/// The rules are in the DynamoDB developer guide, "`DynamoDB` Item sizes and formats": names and texts in UTF-8; a
/// number 1 byte and half a byte for each significant digit, without zeros at both ends; a list or map 3 bytes and 1
/// byte for each element.
#[must_use]
pub fn item_size(item: &AttributeMap) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_size(number),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number_size(number)).sum(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        AttributeValue::L(values) => {
            3 + values
                .iter()
                .map(|value| 1 + value_size(value))
                .sum::<usize>()
        }
        AttributeValue::M(values) => {
            3 + values
                .iter()
                .map(|(name, value)| 1 + name.len() + value_size(value))
                .sum::<usize>()
        }
        // True, false, null, and types that this SDK does not know.
        _ => 1,
    }
}

/// For numbers without an exponent: this crate writes no others.
fn number_size(number: &str) -> usize {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let negative = usize::from(number.starts_with('-'));
    digits.trim_matches('0').len().div_ceil(2) + 1 + negative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_documented_rules() {
        let n = |text: &str| AttributeValue::N(text.to_owned());
        let s = |text: &str| AttributeValue::S(text.to_owned());
        let cases = [
            (s("ä"), 2),
            (s(""), 0),
            (n("1700000000123"), 8),
            (n("600000"), 2),
            (n("0"), 1),
            (n("-25"), 3),
            (AttributeValue::Bool(true), 1),
            (AttributeValue::L(vec![s("ab"), n("7")]), 3 + 1 + 2 + 1 + 2),
            (
                AttributeValue::M([("a".to_owned(), s("b"))].into()),
                3 + 1 + 1 + 1,
            ),
        ];
        for (value, size) in cases {
            assert_eq!(
                item_size(&[("name".to_owned(), value.clone())].into()),
                4 + size,
                "{value:?}"
            );
        }
    }
}
