//! Which service a command is about.

use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;

use crate::exit::Failure;

/// Which service a command is about: the database of this machine, or a deployed stage.
///
/// The variables are read by hand: to clap one that is set counts as typed, and what is typed must win.
#[derive(Debug, Default, Args)]
pub(crate) struct Target {
    /// The folder of the embedded database [env: HB_DATA_DIR] [default: heartbeat in the user's data folder].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A deployed stage, such as dev or prod [env: HB_STAGE].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "data_dir")]
    stage: Option<String>,
    /// The AWS profile of the stage [env: AWS_PROFILE].
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "data_dir")]
    profile: Option<String>,
    /// A region of the stage, may be repeated; hosts and keys are read in the first [default: that of the profile, and
    /// then all of the stage].
    #[arg(
        long = "region",
        global = true,
        value_name = "REGION",
        conflicts_with = "data_dir"
    )]
    regions: Vec<String>,
}

/// The service that was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The database in this folder.
    Folder(PathBuf),
    /// A deployed stage.
    Stage {
        /// Its name, as it was typed.
        name: String,
        /// The AWS profile, if one was named.
        profile: Option<String>,
        /// The regions that were named.
        regions: Vec<String>,
    },
}

impl Target {
    /// The service that the command line names, or else the environment, or else the user's own folder.
    pub(crate) fn choose(&self) -> Result<Chosen, Failure> {
        self.choose_by(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn choose_by(
        &self,
        variable: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Chosen, Failure> {
        let of_stage = |name: String| Chosen::Stage {
            name,
            profile: self.profile.clone(),
            regions: self.regions.clone(),
        };
        if let Some(name) = &self.stage {
            return Ok(of_stage(name.clone()));
        }
        if let Some(dir) = &self.data_dir {
            return Ok(Chosen::Folder(dir.clone()));
        }
        match (variable("HB_DATA_DIR"), variable("HB_STAGE")) {
            (Some(_), Some(_)) => Err(Failure::TwoPlaces),
            (None, Some(name)) => Ok(of_stage(name.to_string_lossy().into_owned())),
            _ if self.profile.is_some() || !self.regions.is_empty() => Err(Failure::NoStage),
            (dir, None) => Ok(Chosen::Folder(
                dir.map_or_else(folder_of_user, PathBuf::from),
            )),
        }
    }

    /// The folder of `hb serve`, which runs on one machine only.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        match self.choose()? {
            Chosen::Folder(dir) => Ok(dir),
            Chosen::Stage { .. } => Err(Failure::ServeOnStage),
        }
    }
}

/// `heartbeat` in the user's data folder, or `hb-data` here for a user without a home.
fn folder_of_user() -> PathBuf {
    let of_user = etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.data_dir().join("heartbeat"));
    of_user.unwrap_or_else(|| Path::new("hb-data").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(target: &Target, dir: Option<&str>, stage: Option<&str>) -> Result<Chosen, Failure> {
        target.choose_by(|name| match name {
            "HB_DATA_DIR" => dir.map(Into::into),
            "HB_STAGE" => stage.map(Into::into),
            other => panic!("{other} is not asked for"),
        })
    }

    fn stage(name: &str) -> Chosen {
        Chosen::Stage {
            name: name.to_owned(),
            profile: None,
            regions: Vec::new(),
        }
    }

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let typed = || Target {
            stage: Some("dev".to_owned()),
            ..Target::default()
        };
        assert_eq!(choose(&typed(), Some("/data"), None).unwrap(), stage("dev"));
        let typed = || Target {
            data_dir: Some("/here".into()),
            ..Target::default()
        };
        assert_eq!(
            choose(&typed(), Some("/data"), Some("dev")).unwrap(),
            Chosen::Folder("/here".into())
        );
        assert_eq!(
            choose(&Target::default(), None, Some("dev")).unwrap(),
            stage("dev")
        );
        assert_eq!(
            choose(&Target::default(), Some("/data"), None).unwrap(),
            Chosen::Folder("/data".into())
        );
        assert!(matches!(
            choose(&Target::default(), None, None),
            Ok(Chosen::Folder(_))
        ));
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused() {
        let both = choose(&Target::default(), Some("/data"), Some("dev"));
        assert!(matches!(both, Err(Failure::TwoPlaces)));
        let lonely = Target {
            regions: vec!["eu-west-1".to_owned()],
            ..Target::default()
        };
        assert!(matches!(choose(&lonely, None, None), Err(Failure::NoStage)));
    }
}
