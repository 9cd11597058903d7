//! The pages for users name every word that users meet: a new one cannot be forgotten there.

use hb_domain::Kind;

#[test]
fn usage_names_every_kind_of_notice() {
    let page = include_str!("../../../docs/usage.md");
    for kind in Kind::ALL {
        assert!(
            page.contains(&format!("`{kind}`")),
            "docs/usage.md does not name `{kind}`"
        );
    }
}
