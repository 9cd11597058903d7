//! Attribute names in DynamoDB expressions.

use std::collections::HashMap;

/// The attribute names of the aliases in `expressions`: `#l` means the attribute `l`.
///
/// Every name is aliased, because DynamoDB reserves hundreds of words and may reserve more.
pub(crate) fn names(expressions: &[&str]) -> HashMap<String, String> {
    let aliases = expressions.iter().flat_map(|text| text.split('#').skip(1));
    let end = |text: &str| {
        text.find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(text.len())
    };
    aliases
        .map(|text| &text[..end(text)])
        .map(|name| (format!("#{name}"), name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_alias() {
        let found = names(&[
            "SET #l = :l, #first=if_not_exists(#f, :f)",
            "attribute_exists(#h)",
        ]);
        let expected = ["l", "first", "f", "h"].map(|name| (format!("#{name}"), name.to_owned()));
        assert_eq!(found, expected.into());
        assert_eq!(names(&["attribute_exists(h)"]), [].into());
    }
}
