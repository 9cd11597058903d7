//! The hosts of a digest by their sites, for texts.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Member;
use crate::text::ascii;

/// What a text names as one.
pub(super) enum Place<'a> {
    /// Several hosts of a site.
    Site {
        name: &'a str,
        members: Vec<&'a Member>,
        /// How many hosts it has in all, where that is known.
        of: Option<u32>,
    },
    /// A host without a site, or the only one of its site.
    Host(&'a Member),
}

impl Place<'_> {
    pub(super) fn hosts(&self) -> usize {
        match self {
            Self::Site { members, .. } => members.len(),
            Self::Host(_) => 1,
        }
    }

    /// `all 7`, `3 of 7`, or `3`; nothing of a host.
    pub(super) fn share(&self) -> Option<String> {
        let Self::Site { members, of, .. } = self else {
            return None;
        };
        let count = members.len();
        Some(match of.map(|of| of as usize) {
            Some(of) if of > count => format!("{count} of {of}"),
            Some(_) => format!("all {count}"),
            None => count.to_string(),
        })
    }

    /// Its name of at most so many characters.
    pub(super) fn name(&self, chars: usize) -> String {
        match self {
            Self::Site { name, .. } => ascii(name, chars),
            Self::Host(member) => ascii(member.host.as_str(), chars),
        }
    }
}

/// The hosts by site, in the order in which the list has the first of each.
pub(super) fn places<'a>(members: &'a [Member], sizes: &BTreeMap<String, u32>) -> Vec<Place<'a>> {
    let mut by_site: HashMap<&str, Vec<&Member>> = HashMap::new();
    for member in members {
        if let Some(site) = member.host.site() {
            by_site.entry(site).or_default().push(member);
        }
    }
    let place = |member: &'a Member| {
        let Some(name) = member.host.site() else {
            return Some(Place::Host(member));
        };
        // Named with its first host.
        let members = by_site.remove(name)?;
        Some(match members[..] {
            [only] => Place::Host(only),
            _ => Place::Site {
                name,
                members,
                of: sizes.get(name).copied(),
            },
        })
    };
    members.iter().filter_map(place).collect()
}
