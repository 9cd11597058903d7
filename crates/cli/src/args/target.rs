//! Which service a command works on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;

use crate::config::Config;
use crate::exit::Failure;

/// Which service a command works on: the database of this machine, or a deployed stage.
///
/// The variables are not declared to clap, for which a variable counts as typed: `--stage` on the command line would
/// conflict with `HB_DATA_DIR` in the environment.
#[derive(Debug, Default, Args)]
pub(crate) struct Target {
    /// The folder of the database [env: HB_DATA_DIR] [default: heartbeat in the user's data folder].
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A deployed stage, such as dev or prod [env: HB_STAGE].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "data_dir")]
    stage: Option<String>,
    /// The AWS profile of the stage [env: AWS_PROFILE].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "data_dir")]
    profile: Option<String>,
    /// A region of the stage, may be repeated; hosts and keys are read in the first [default: the region of the
    /// profile, then all regions of the stage].
    #[arg(
        long = "region",
        global = true,
        value_name = "REGION",
        conflicts_with = "data_dir"
    )]
    regions: Vec<String>,
}

/// The service that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The database in this folder.
    Folder(PathBuf),
    Stage {
        name: String,
        profile: Option<String>,
        /// Empty means all regions of the stage.
        regions: Vec<String>,
    },
}

impl Chosen {
    /// The folder of a command that does not work on a stage, such as `serve`.
    pub(crate) fn folder_for(self, command: &'static str) -> Result<PathBuf, Failure> {
        match self {
            Self::Folder(dir) => Ok(dir),
            Self::Stage { .. } => Err(Failure::NotOnStage(command)),
        }
    }
}

impl Target {
    /// The service that the command line names, else the environment, else the config file, else the user's folder.
    pub(crate) fn choose(&self, config: &Config) -> Result<Chosen, Failure> {
        self.choose_by(config, |name| {
            std::env::var_os(name).filter(|value| !value.is_empty())
        })
    }

    fn choose_by(
        &self,
        config: &Config,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Chosen, Failure> {
        let typed = (self.data_dir.clone(), self.stage.clone());
        let environment = (
            variable("HB_DATA_DIR").map(PathBuf::from),
            variable("HB_STAGE").map(|name| name.to_string_lossy().into_owned()),
        );
        let file = (config.data_dir.clone(), config.stage.clone());
        let named = [typed, environment, file]
            .into_iter()
            .find(|(dir, stage)| dir.is_some() || stage.is_some());
        match named.unwrap_or_default() {
            (Some(_), Some(_)) => Err(Failure::TwoTargets),
            (None, Some(name)) => Ok(self.stage(name, config, variable("AWS_PROFILE").is_some())),
            _ if self.profile.is_some() || !self.regions.is_empty() => Err(Failure::NoStage),
            (dir, None) => Ok(Chosen::Folder(dir.unwrap_or_else(user_folder))),
        }
    }

    /// A profile of the environment is read by the client of AWS itself.
    fn stage(&self, name: String, config: &Config, profile_in_environment: bool) -> Chosen {
        let configured = || config.profile.clone().filter(|_| !profile_in_environment);
        let regions = if self.regions.is_empty() {
            &config.regions
        } else {
            &self.regions
        };
        Chosen::Stage {
            name,
            profile: self.profile.clone().or_else(configured),
            regions: regions.clone(),
        }
    }
}

/// `heartbeat` in the user's data folder, or `hb-data` here for a user without a home.
fn user_folder() -> PathBuf {
    etcetera::choose_base_strategy().map_or_else(
        |_| Path::new("hb-data").to_owned(),
        |base| base.data_dir().join("heartbeat"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Environment<'a> = &'a [(&'a str, &'a str)];

    fn choose(
        target: &Target,
        environment: Environment,
        config: &Config,
    ) -> Result<Chosen, Failure> {
        target.choose_by(config, |name| {
            let (_, value) = environment.iter().find(|(known, _)| *known == name)?;
            Some(value.into())
        })
    }

    fn typed_stage(name: &str) -> Target {
        Target {
            stage: Some(name.to_owned()),
            ..Target::default()
        }
    }

    fn typed_dir(dir: &str) -> Target {
        Target {
            data_dir: Some(dir.into()),
            ..Target::default()
        }
    }

    fn file_with_stage() -> Config {
        Config {
            stage: Some("prod".to_owned()),
            profile: Some("ops".to_owned()),
            regions: vec!["eu-west-1".to_owned()],
            ..Config::default()
        }
    }

    fn stage(name: &str, profile: Option<&str>, regions: &[&str]) -> Chosen {
        Chosen::Stage {
            name: name.to_owned(),
            profile: profile.map(ToOwned::to_owned),
            regions: regions.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn command_line_wins_over_environment_over_file_over_default() {
        let none = Target::default();
        let empty = Config::default();
        let dir = [("HB_DATA_DIR", "/data")];
        let env_stage = [("HB_STAGE", "dev")];
        let folder = |dir: &str| Chosen::Folder(dir.into());
        for (target, environment, config, expected) in [
            (
                &typed_stage("dev"),
                &dir[..],
                &empty,
                stage("dev", None, &[]),
            ),
            (
                &typed_dir("/here"),
                &env_stage,
                &file_with_stage(),
                folder("/here"),
            ),
            (&none, &env_stage, &empty, stage("dev", None, &[])),
            (&none, &dir, &file_with_stage(), folder("/data")),
            (
                &none,
                &[],
                &file_with_stage(),
                stage("prod", Some("ops"), &["eu-west-1"]),
            ),
            (&none, &[], &empty, Chosen::Folder(user_folder())),
        ] {
            assert_eq!(choose(target, environment, config).unwrap(), expected);
        }
    }

    #[test]
    fn profile_and_regions_of_the_file_yield_to_those_given() {
        let file = file_with_stage();
        let typed = Target {
            profile: Some("mine".to_owned()),
            regions: vec!["eu-north-1".to_owned()],
            ..Target::default()
        };
        let expected = stage("prod", Some("mine"), &["eu-north-1"]);
        assert_eq!(choose(&typed, &[], &file).unwrap(), expected);
        let environment = [("AWS_PROFILE", "env")];
        let expected = stage("prod", None, &["eu-west-1"]);
        assert_eq!(
            choose(&Target::default(), &environment, &file).unwrap(),
            expected
        );
    }

    #[test]
    fn two_targets_of_one_rank_and_regions_without_a_stage_are_refused() {
        let both = [("HB_DATA_DIR", "/data"), ("HB_STAGE", "dev")];
        let both = choose(&Target::default(), &both, &Config::default());
        assert!(matches!(both, Err(Failure::TwoTargets)));
        let region = Target {
            regions: vec!["eu-west-1".to_owned()],
            ..Target::default()
        };
        let alone = choose(&region, &[], &Config::default());
        assert!(matches!(alone, Err(Failure::NoStage)));
    }
}
