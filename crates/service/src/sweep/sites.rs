//! How many hosts each site has, as a scan counts them.

use std::collections::{BTreeMap, HashMap};

use hb_domain::{Fleet, HostKey, limits};

/// The sizes of at most [`limits::SITES`] sites; of more, of none.
#[derive(Default)]
pub(super) struct Sites {
    sizes: BTreeMap<Fleet, HashMap<String, u32>>,
    number: usize,
}

impl Sites {
    /// Counts a host.
    pub(super) fn count(&mut self, key: &HostKey) {
        if let Some(site) = key.host.site() {
            self.add(&key.fleet, site, 1);
        }
    }

    fn add(&mut self, fleet: &Fleet, site: &str, hosts: u32) {
        if self.number > limits::SITES {
            return;
        }
        let known = self.sizes.get_mut(fleet);
        if let Some(size) = known.and_then(|sizes| sizes.get_mut(site)) {
            *size += hosts;
            return;
        }
        self.number += 1;
        let sizes = self.sizes.entry(fleet.clone()).or_default();
        sizes.insert(site.to_owned(), hosts);
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        for (fleet, sizes) in other.sizes {
            for (site, hosts) in sizes {
                self.add(&fleet, &site, hosts);
            }
        }
        self
    }

    /// How many hosts a site has; `None` when that is not known.
    pub(super) fn size(&self, fleet: &Fleet, site: &str) -> Option<u32> {
        let sizes = self.sizes.get(fleet)?;
        let known = self.number <= limits::SITES;
        sizes.get(site).copied().filter(|_| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fleet: &str, host: &str) -> HostKey {
        HostKey::new(fleet.parse().unwrap(), host.parse().unwrap())
    }

    fn counted(hosts: impl IntoIterator<Item = HostKey>) -> Sites {
        let mut sites = Sites::default();
        hosts.into_iter().for_each(|host| sites.count(&host));
        sites
    }

    #[test]
    fn hosts_are_counted_by_fleet_and_site_in_all_parts_of_a_scan() {
        let one = counted([
            key("main", "a/1"),
            key("main", "a/2"),
            key("main", "web-01"),
        ]);
        let other = counted([key("main", "a/3"), key("lab", "a/1"), key("main", "b/1")]);
        let all = one.merge(other);
        let main = Fleet::main();
        let sizes = [
            all.size(&main, "a"),
            all.size(&"lab".parse().unwrap(), "a"),
            all.size(&main, "b"),
            all.size(&main, "c"),
        ];
        assert_eq!(sizes, [Some(3), Some(1), Some(1), None]);
    }

    #[test]
    fn too_many_sites_are_not_counted() {
        let sites = |from: usize, to: usize| {
            counted((from..to).map(|site| key("main", &format!("{site}/a"))))
        };
        let most = sites(0, limits::SITES);
        assert_eq!(most.size(&Fleet::main(), "0"), Some(1));
        let more = most.merge(sites(limits::SITES, limits::SITES + 10));
        assert_eq!(more.size(&Fleet::main(), "0"), None);
        assert_eq!(more.number, limits::SITES + 1);
    }
}
