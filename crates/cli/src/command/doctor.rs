//! `hb doctor`: what is wrong, why, and what to do about it. Changes nothing.

mod server;

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use hb_service::doctor::{Finding, Verdict};
use hb_service::ports::Clock;
use hb_service::system::SystemClock;
use serde::Serialize;

use crate::args::{Chosen, DoctorArgs, Format, Target};
use crate::config::Config;
use crate::exit::Failure;
use crate::output;

/// All findings, and the worst of them.
#[derive(Serialize)]
struct Diagnosis {
    verdict: Verdict,
    findings: Vec<Finding>,
}

/// Ends with 1 when there is a problem.
pub(crate) async fn run(
    target: &Target,
    config: &Config,
    format: Format,
    doctor: DoctorArgs,
) -> Result<ExitCode, Failure> {
    let progress = output::progress("looking at every page of the database");
    let mut findings = vec![read_from(config)];
    findings.extend(of_place(target).await?);
    // Of a stage nobody knows the address; on one machine there is a usual one.
    if doctor.url.is_some() || matches!(target.choose()?, Chosen::Folder(_)) {
        findings.extend(server::examine(doctor.url.as_deref()).await?);
    }
    progress.finish_and_clear();
    let verdict = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    let diagnosis = Diagnosis { verdict, findings };
    output::one(format, &diagnosis.text(), &diagnosis)?;
    Ok(ExitCode::from(u8::from(verdict == Verdict::Problem)))
}

fn read_from(config: &Config) -> Finding {
    let path = config.path.as_ref().map(|path| path.display().to_string());
    Finding::ok("config file", path.unwrap_or_else(|| "none".to_owned()))
}

/// What the place shows that the command line names: first what its adapter alone can know, then what all have.
async fn of_place(target: &Target) -> Result<Vec<Finding>, Failure> {
    let now = SystemClock.now();
    match target.choose()? {
        Chosen::Folder(dir) => Ok(crate::backend::examine_folder(&dir, now).await),
        #[cfg(feature = "stage")]
        Chosen::Stage {
            name,
            profile,
            regions,
        } => crate::backend::examine_stage(&name, profile.as_deref(), regions, now).await,
        #[cfg(not(feature = "stage"))]
        Chosen::Stage { .. } => Err(Failure::BuiltWithoutStages),
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
                    "{style}{:<9}{style:#}{thing:<width$}  {cause}",
                    verdict.as_str()
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
