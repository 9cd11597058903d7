//! What a command did in each region of the service.

use std::collections::BTreeMap;

use hb_domain::Region;
use hb_service::admin::InRegion;
use hb_service::ports::PortError;

use crate::exit::Failure;
use crate::output;

/// The results of the regions that succeeded, and the failure to end with if others did not.
pub(super) struct RegionResults<T> {
    pub(super) regions: BTreeMap<Region, T>,
    failure: Option<Failure>,
}

impl<T> RegionResults<T> {
    /// Fails if a region failed.
    pub(super) fn end(self) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), Err)
    }

    /// Fails with `absent`, or with the failure of a region, unless one region has what `is_there` looks for.
    pub(super) fn require(
        self,
        is_there: impl Fn(&T) -> bool,
        absent: impl FnOnce() -> Failure,
    ) -> Result<Self, Failure> {
        if self.regions.values().any(is_there) {
            Ok(self)
        } else {
            Err(self.failure.unwrap_or_else(absent))
        }
    }
}

/// Reports what was done in each region, if there are several; fails when all regions failed.
pub(super) fn report<T>(
    regions: Vec<InRegion<T>>,
    word: impl Fn(&T) -> &'static str,
) -> Result<RegionResults<T>, Failure> {
    let of = regions.len();
    let mut done = BTreeMap::new();
    let mut errors = Vec::new();
    for InRegion { region, result } in regions {
        match result {
            Ok(value) => {
                if of > 1 {
                    output::remark(&format!("{region}: {}", word(&value)));
                }
                done.insert(region, value);
            }
            Err(error) => {
                if of > 1 {
                    report_failed(&region, &error);
                }
                errors.push(error);
            }
        }
    }
    Ok(RegionResults {
        failure: failure(errors, done.len())?,
        regions: done,
    })
}

pub(super) fn report_failed(region: &Region, error: &PortError) {
    output::remark(&format!("{region}: FAILED: {error}"));
}

/// The failure to end with after the work of `done` regions; `Err` when nothing was done at all.
pub(super) fn failure(errors: Vec<PortError>, done: usize) -> Result<Option<Failure>, Failure> {
    let failed = errors.len();
    match errors.into_iter().next() {
        None => Ok(None),
        Some(error) if done == 0 => Err(error.into()),
        Some(_) => Ok(Some(Failure::InPart {
            failed,
            of: failed + done,
            what: "regions",
        })),
    }
}
