//! `hb status`: whether all is well, in one line.

use std::process::ExitCode;

use hb_domain::State;
use hb_service::doctor::{Doctor, Finding, Verdict};
use serde::Serialize;

use super::report_unreadable;
use crate::backend::Backend;
use crate::exit::Failure;
use crate::output::{self, Format};

/// Most hosts that the line names of each state.
const NAMED: usize = 3;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    well: bool,
    hosts: u64,
    missing: Vec<String>,
    failing: Vec<String>,
    /// What `hb doctor` finds wrong with the service.
    problems: Vec<Finding>,
}

/// Exits with 1 unless all is well.
pub(crate) async fn run(backend: &Backend, format: Format) -> Result<ExitCode, Failure> {
    let mut status = Status::default();
    let hosts = backend.hosts();
    let mut listing = hosts.listing(None).await?;
    while let Some((views, unreadable)) = listing.next_page().await? {
        report_unreadable("host", &unreadable);
        for view in views {
            status.hosts += 1;
            let trouble = match view.state {
                State::Missing => &mut status.missing,
                State::Failing => &mut status.failing,
                _ => continue,
            };
            trouble.push(view.key.short());
        }
    }
    let doctor = Doctor {
        ports: backend.ports.clone(),
        expectations: backend.expectations(),
    };
    let now = backend.ports.clock.now();
    let findings = doctor.examine(now).await.into_iter();
    status.problems = findings
        .filter(|finding| finding.verdict == Verdict::Problem)
        .collect();
    status.well =
        status.missing.is_empty() && status.failing.is_empty() && status.problems.is_empty();
    output::one(format, &status.text(), &status)?;
    Ok(ExitCode::from(u8::from(!status.well)))
}

impl Status {
    /// `all well: 12 hosts`, or `2 missing (web-01, web-02) of 12 hosts; sweep: ...`.
    fn text(&self) -> String {
        let hosts = match self.hosts {
            1 => "1 host".to_owned(),
            hosts => format!("{hosts} hosts"),
        };
        if self.well {
            return format!("all well: {hosts}");
        }
        let states = [("missing", &self.missing), ("failing", &self.failing)];
        let states = states.into_iter().filter(|(_, names)| !names.is_empty());
        let states: Vec<_> = states.map(|(state, names)| named(state, names)).collect();
        let trouble = (!states.is_empty()).then(|| format!("{} of {hosts}", states.join(", ")));
        let problems = self.problems.iter();
        let problems = problems.map(|finding| format!("{}: {}", finding.thing, finding.cause));
        let all: Vec<_> = trouble.into_iter().chain(problems).collect();
        all.join("; ")
    }
}

/// `5 missing (web-01, web-02, web-03 and 2 more)`.
fn named(state: &str, names: &[String]) -> String {
    let first = names[..names.len().min(NAMED)].join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {state} ({first}{more})", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_all_well_or_what_is_not() {
        let names = |count: usize| (0..count).map(|n| format!("web-{n}")).collect();
        let text = |well, hosts, missing, failing, problems: &[Finding]| {
            let status = Status {
                well,
                hosts,
                missing: names(missing),
                failing: names(failing),
                problems: problems.to_vec(),
            };
            status.text()
        };
        assert_eq!(text(true, 1, 0, 0, &[]), "all well: 1 host");
        assert_eq!(
            text(false, 12, 5, 1, &[]),
            "5 missing (web-0, web-1, web-2 and 2 more), 1 failing (web-0) of 12 hosts"
        );
        let sweep = [Finding::problem("sweep", "none completed", "start it")];
        assert_eq!(text(false, 12, 0, 0, &sweep), "sweep: none completed");
    }
}
