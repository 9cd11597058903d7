//! The pages for users name every word that users meet: a new one cannot be forgotten there.

use hb_domain::{ActKind, Kind, Protocol};

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

#[test]
fn subscription_management_names_every_protocol() {
    let page = include_str!("../../../docs/subscription-management.md");
    // No command adds the console: it is part of `hb serve`.
    for protocol in Protocol::ALL
        .into_iter()
        .filter(|protocol| *protocol != Protocol::Console)
    {
        assert!(
            page.contains(&format!("`{protocol}`")),
            "docs/subscription-management.md does not name `{protocol}`"
        );
    }
}

#[test]
fn operations_names_every_act() {
    let page = include_str!("../../../docs/operations.md");
    for act in ActKind::ALL {
        assert!(
            page.contains(&format!("`{act}`")),
            "docs/operations.md does not name `{act}`"
        );
    }
}
