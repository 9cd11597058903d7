//! The config file: values for options that neither the command line nor the environment gives.
//!
//! `heartbeat/config.toml` in the user's config folder, or the file that `HB_CONFIG` names; an empty name means none.
//! Where an option is used, its value is taken from the command line, else the environment, else this file, else its
//! default; nothing here knows the options.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::args::Command;
use crate::exit::Failure;
use crate::output::Format;

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The file, if there is one.
    #[serde(skip)]
    pub(crate) path: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) stage: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) regions: Vec<String>,
    pub(crate) output: Option<Format>,
    pub(crate) url: Option<String>,
}

impl Config {
    /// Reads the file, unless `command` only prints what `hb` knows of itself: that works with a wrong file as well.
    pub(crate) fn load(command: &Command) -> Result<Self, Failure> {
        if matches!(command, Command::Completions { .. } | Command::Man(_)) {
            return Ok(Self::default());
        }
        let named = std::env::var_os("HB_CONFIG").map(PathBuf::from);
        let usual = || {
            let base = etcetera::choose_base_strategy().ok()?;
            Some(base.config_dir().join("heartbeat/config.toml"))
        };
        let path = named.clone().or_else(usual).unwrap_or_default();
        if path.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(Failure::Config(format!(
                "{} cannot be read: {error}",
                path.display()
            ))),
        }
    }

    /// Parses the text of the file at `path`; an error names the file, the line and the key.
    fn parse(text: &str, path: PathBuf) -> Result<Self, Failure> {
        let wrong = |line: usize, cause: &str| {
            Failure::Config(format!("{}:{line}: {cause}", path.display()))
        };
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text[..start].matches('\n').count();
            let key = text.lines().nth(line).and_then(|line| line.split_once('='));
            let message = error.message();
            match key.map(|(key, _)| key.trim()) {
                Some(key) if !message.contains(key) => {
                    wrong(line + 1, &format!("{key}: {message}"))
                }
                _ => wrong(line + 1, message),
            }
        })?;
        if config.data_dir.is_some() && config.stage.is_some() {
            return Err(wrong(
                1,
                "data_dir and stage name two services: keep one of them",
            ));
        }
        // Relative to the file, so that it means the same wherever a command is run.
        let folder = path.parent().unwrap_or(Path::new(""));
        config.data_dir = config.data_dir.map(|dir| folder.join(dir));
        config.path = Some(path);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "/etc/hb/config.toml".into()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_key() {
        for (text, expected) in [
            ("url = 'a'\n\ncolour = true", "3: unknown field `colour`"),
            ("output = 'xml'", "1: output: unknown variant `xml`"),
            ("\nregions = 'eu'", "2: regions: invalid type: string"),
            ("url = 7", "1: url: invalid type: integer `7`"),
            ("url = ", "1: url: "),
            (
                "data_dir = 'a'\nstage = 'b'",
                "1: data_dir and stage name two services",
            ),
        ] {
            let message = parse(text).unwrap_err();
            let expected = format!("the config file is wrong: /etc/hb/config.toml:{expected}");
            assert!(message.starts_with(&expected), "{message}");
        }
        let twice = parse("url = 'a'\nurl = 'b'").unwrap_err();
        assert!(!twice.contains('\n'), "one line: {twice}");
    }

    #[test]
    fn a_relative_data_folder_is_relative_to_the_file() {
        let data_dir = |text| parse(text).unwrap().data_dir.unwrap();
        assert_eq!(data_dir("data_dir = 'data'"), Path::new("/etc/hb/data"));
        assert_eq!(
            data_dir("data_dir = '/var/lib/hb'"),
            Path::new("/var/lib/hb")
        );
    }
}
