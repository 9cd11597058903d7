//! `hb doctor`: reports what is wrong, why, and what to do about it. Changes nothing.

mod server;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use hb_domain::{Incarnation, visible};
use hb_service::doctor::{Finding, Verdict};
use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use serde::Serialize;

use crate::args::{Chosen, DoctorArgs};
use crate::config::Config;
use crate::exit::Failure;
use crate::output::{self, Format};

/// All findings, and the worst of them.
#[derive(Serialize)]
struct Diagnosis {
    verdict: Verdict,
    findings: Vec<Finding>,
}

/// Exits with 1 when there is a problem.
pub(crate) async fn run(
    target: Chosen,
    config: &Config,
    format: Format,
    doctor: DoctorArgs,
) -> Result<ExitCode, Failure> {
    let progress = output::progress("checking every page of the database");
    let mut findings = vec![read_from(config)];
    let url = doctor.url.as_ref().or(config.url.as_ref());
    // A stage has no default address.
    let has_server = url.is_some() || matches!(target, Chosen::Folder(_));
    let (found, database) = of_target(target).await?;
    findings.extend(found);
    if has_server {
        findings.extend(server::examine(url.map(String::as_str), database).await?);
    }
    progress.finish_and_clear();
    let verdict = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    let diagnosis = Diagnosis { verdict, findings };
    match format {
        Format::Table => output::line(&diagnosis.text())?,
        Format::Json => output::one(format, "", &diagnosis)?,
    }
    Ok(ExitCode::from(u8::from(verdict == Verdict::Problem)))
}

fn read_from(config: &Config) -> Finding {
    let path = config.path.as_ref().map(|path| path.display().to_string());
    Finding::ok("config file", path.unwrap_or_else(|| "none".to_owned()))
}

/// First the findings that only the adapter can make, then those common to all; and of a folder what tells its database
/// from another.
async fn of_target(target: Chosen) -> Result<(Vec<Finding>, Option<Incarnation>), Failure> {
    let now = SystemClock.now();
    match target {
        Chosen::Folder(dir) => Ok(crate::backend::examine_folder(&dir, now).await),
        #[cfg(feature = "stage")]
        Chosen::Stage {
            name,
            profile,
            regions,
        } => crate::backend::examine_stage(&name, profile.as_deref(), regions, now)
            .await
            .map(|findings| (findings, None)),
        #[cfg(not(feature = "stage"))]
        Chosen::Stage { .. } => Err(Failure::NotBuiltIn("stage")),
    }
}

impl Diagnosis {
    /// A line for each finding, and its next step below it.
    fn text(&self) -> String {
        let width = self
            .findings
            .iter()
            .map(|finding| finding.thing.len())
            .max()
            .unwrap_or(0);
        let lines = self.findings.iter().map(
            |Finding {
                 verdict,
                 thing,
                 cause,
                 next_step,
             }| {
                let style = style(*verdict);
                let line = format!(
                    "{style}{:<9}{style:#}{thing:<width$}  {}",
                    verdict.as_str(),
                    visible(cause),
                );
                match next_step {
                    Some(next_step) => {
                        format!("{line}\n{:width$}  -> {next_step}", "", width = width + 9)
                    }
                    None => line,
                }
            },
        );
        output::styled(&lines.collect::<Vec<_>>().join("\n"))
    }
}

fn style(verdict: Verdict) -> Style {
    let (colour, style) = match verdict {
        Verdict::Ok => (AnsiColor::Green, Style::new()),
        Verdict::Warning => (AnsiColor::Yellow, Style::new()),
        Verdict::Problem => (AnsiColor::Red, Style::new().bold()),
    };
    style.fg_color(Some(colour.into()))
}
