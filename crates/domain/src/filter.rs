//! Which notices a subscription wants.

use serde::{Deserialize, Serialize};

use crate::access::HostPrefix;
use crate::host::{Fleet, HostId};
use crate::limits;
use crate::notice::Notice;
use crate::transition::{Kind, Severity};

/// Which notices a subscription wants. An absent part does not restrict: an empty filter lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Only of this fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
    /// Only of these kinds; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Only of these severities; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
    /// Only of hosts that one of these covers, such as those of a site; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_prefixes: Vec<HostPrefix>,
}

/// Why a filter is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// No notice of this kind ever has one of the severities.
    #[error(
        "no notice of kind {0} would pass: its severity is {severities}",
        severities = words(*.0)
    )]
    Contradiction(Kind),
    /// More than [`limits::FILTER_PREFIXES`].
    #[error(
        "a filter has at most {most} host prefixes, not {0}",
        most = limits::FILTER_PREFIXES
    )]
    Prefixes(usize),
}

fn words(kind: Kind) -> String {
    let severities: Vec<_> = kind.severities().map(Severity::as_str).collect();
    severities.join(" or ")
}

impl Filter {
    /// Whether each of its kinds can pass, and it has no more prefixes than any topic takes.
    pub fn check(&self) -> Result<(), FilterError> {
        let prefixes = self.host_prefixes.len();
        if prefixes > limits::FILTER_PREFIXES {
            return Err(FilterError::Prefixes(prefixes));
        }
        let passes = |kind: &Kind| kind.severities().any(|one| self.severities.contains(&one));
        match self.kinds.iter().find(|kind| !passes(kind)) {
            Some(kind) if !self.severities.is_empty() => Err(FilterError::Contradiction(*kind)),
            _ => Ok(()),
        }
    }

    /// Whether `notice` passes, with at least one of its hosts.
    #[must_use]
    pub fn lets_through(&self, notice: &Notice) -> bool {
        self.fleet
            .as_ref()
            .is_none_or(|fleet| *fleet == notice.fleet)
            && (self.kinds.is_empty() || self.kinds.contains(&notice.kind))
            && (self.severities.is_empty() || self.severities.contains(&notice.severity()))
            && notice.host_ids().any(|host| self.covers(host))
    }

    /// Whether what happens to `host` is of interest. A test is about no host of anybody, and for everybody.
    #[must_use]
    pub fn covers(&self, host: &HostId) -> bool {
        let covered = |prefix: &HostPrefix| prefix.covers(host);
        self.host_prefixes.is_empty()
            || *host == HostId::test()
            || self.host_prefixes.iter().any(covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Region;
    use crate::time::Timestamp;
    use crate::transition::Caveat;

    #[test]
    fn filters_match_the_shared_table() {
        let cases = include_str!("../../../tests/shared/filters.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
        for case in cases {
            let filter: Filter = serde_json::from_value(case["filter"].clone()).unwrap();
            for fleet in ["main", "lab"] {
                for kind in Kind::ALL {
                    let notice = test_notice(fleet, kind);
                    let delivered = case["delivered"]
                        .as_array()
                        .unwrap()
                        .contains(&format!("{fleet}/{kind}").into());
                    assert_eq!(
                        filter.lets_through(&notice),
                        delivered,
                        "{filter:?} {fleet}/{kind}"
                    );
                }
            }
        }
    }

    fn test_notice(fleet: &str, kind: Kind) -> Notice {
        Notice::test(
            fleet.parse().unwrap(),
            kind,
            Region::local(),
            Timestamp::MIN,
        )
    }

    fn of_sites(prefixes: &[&str]) -> Filter {
        serde_json::from_value(serde_json::json!({"hostPrefixes": prefixes})).unwrap()
    }

    #[test]
    fn a_prefix_covers_the_hosts_of_its_site_and_a_test_reaches_everybody() {
        let filter = of_sites(&["restaurant-17/", "restaurant-2"]);
        let covers = |host: &str| filter.covers(&host.parse().unwrap());
        for host in [
            "restaurant-17/pos-3",
            "restaurant-17/bar/pos-1",
            "restaurant-2/pos-1",
            "hb:test",
        ] {
            assert!(covers(host), "{host}");
        }
        for host in [
            "restaurant-17",
            "restaurant-170/pos-1",
            "restaurant-20/pos-1",
            "hb:clock",
        ] {
            assert!(!covers(host), "{host}");
        }
        assert!(filter.lets_through(&test_notice("main", Kind::Missing)));
        assert_eq!(
            serde_json::to_string(&filter).unwrap(),
            r#"{"hostPrefixes":["restaurant-17/","restaurant-2"]}"#
        );
    }

    #[test]
    fn a_kind_that_no_severity_lets_through_is_refused() {
        let filter = |kinds: &[Kind], severities: &[Severity]| Filter {
            kinds: kinds.to_vec(),
            severities: severities.to_vec(),
            ..Filter::default()
        };
        let refused = filter(&[Kind::Missing, Kind::Recovered], &[Severity::Critical]).check();
        assert_eq!(refused, Err(FilterError::Contradiction(Kind::Recovered)));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no notice of kind recovered would pass: its severity is info"
        );
        let info = filter(&[Kind::Missing], &[Severity::Info]).check();
        assert_eq!(
            info.unwrap_err().to_string(),
            "no notice of kind missing would pass: its severity is critical or warning"
        );
        for fine in [
            filter(&[Kind::Recovered], &[]),
            filter(&[], &[Severity::Critical]),
            filter(&[Kind::Missing], &[Severity::Warning]),
            filter(
                &[Kind::Slowed, Kind::Recovered],
                &[Severity::Warning, Severity::Info],
            ),
        ] {
            assert_eq!(fine.check(), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn the_number_of_prefixes_is_bounded() {
        let prefixes = ["a"; limits::FILTER_PREFIXES + 1];
        assert_eq!(of_sites(&prefixes[1..]).check(), Ok(()));
        let refused = of_sites(&prefixes).check();
        assert_eq!(refused, Err(FilterError::Prefixes(prefixes.len())));
    }

    #[test]
    fn the_severities_of_a_kind_are_those_of_its_notices() {
        let blackout = crate::coverage::Blackout {
            since: Timestamp::MIN,
            until: Timestamp::MIN,
        };
        let marked = Severity::of(Kind::Missing, Some(&Caveat::Blackout(blackout)));
        assert!(
            Kind::Missing
                .severities()
                .any(|severity| severity == marked)
        );
        for kind in Kind::ALL {
            assert!(
                kind.severities()
                    .any(|severity| severity == Severity::of(kind, None))
            );
        }
    }
}
