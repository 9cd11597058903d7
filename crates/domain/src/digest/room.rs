//! How many hosts fit into one digest.

use std::collections::HashSet;

use super::Member;
use crate::entry::Entry;
use crate::host::HostId;
use crate::limits;

/// What is left of a digest's limits.
#[derive(Default)]
pub(super) struct Room<'a> {
    hosts: usize,
    bytes: usize,
    /// What SNS filters on, and how many hosts sites have, is there once.
    sites: HashSet<&'a str>,
}

impl<'a> Room<'a> {
    /// Takes the place of a `host` that needs so many bytes, if there is room for it. The first one always fits.
    pub(super) fn take(&mut self, host: &'a HostId, bytes: usize) -> bool {
        const AROUND: usize = r#""/","":4294967295,"#.len();
        let known = &self.sites;
        let new = host.site_prefixes().filter(|site| !known.contains(site));
        let of_sites: usize = new.map(|site| AROUND + 2 * site.len()).sum();
        let bytes = self.bytes + bytes + of_sites;
        let fits = self.hosts < limits::DIGEST_HOSTS && bytes <= limits::DIGEST_BYTES;
        if fits || self.hosts == 0 {
            (self.hosts, self.bytes) = (self.hosts + 1, bytes);
            self.sites.extend(host.site_prefixes());
            return true;
        }
        false
    }
}

/// Splits `entries` so that each part fits into one digest.
#[must_use]
pub fn digest_parts<'a>(entries: &[&'a Entry]) -> Vec<Vec<&'a Entry>> {
    let mut parts: Vec<Vec<&Entry>> = Vec::new();
    let mut room = Room::default();
    for entry in entries {
        let host = &entry.key.host;
        let bytes = Member::of(entry).map_or(0, |member| member.bytes());
        match parts.last_mut() {
            Some(part) if room.take(host, bytes) => part.push(entry),
            _ => {
                room = Room::default();
                room.take(host, bytes);
                parts.push(vec![entry]);
            }
        }
    }
    parts
}
