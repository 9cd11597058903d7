//! The config file: defaults for options, below what the command line and the environment say.
//!
//! `heartbeat/config.toml` in the user's config folder, or the file that `HB_CONFIG` names; an empty name means none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, ValueEnum};
use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::args::{Format, Hb};
use crate::exit::Failure;

/// What the file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    stage: Option<String>,
    profile: Option<String>,
    #[serde(default)]
    regions: Vec<String>,
    output: Option<Output>,
    url: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    Table,
    Json,
}

/// The defaults that were read.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The file, if there is one.
    pub(crate) path: Option<PathBuf>,
    /// Options of the command line, by their names there, and their values.
    defaults: Vec<(&'static str, Vec<OsString>)>,
}

/// Reads the command line, and under it the config file. Ends the process where clap does: for help, the version, and
/// usage that is wrong.
pub(crate) fn parse() -> Result<(Hb, Config), Failure> {
    let matches = Hb::command().get_matches();
    let config = if is_about_hb(&matches) {
        Config::default()
    } else {
        Config::load(&matches)?
    };
    let matches = if config.defaults.is_empty() {
        matches
    } else {
        config.under(Hb::command()).get_matches()
    };
    let hb =
        Hb::from_arg_matches(&matches).map_err(|error| Failure::Internal(error.to_string()))?;
    Ok((hb, config))
}

/// Commands that look at nothing but `hb` itself work with any file.
fn is_about_hb(matches: &ArgMatches) -> bool {
    matches!(matches.subcommand_name(), Some("completions" | "man"))
}

impl Config {
    fn load(matches: &ArgMatches) -> Result<Self, Failure> {
        let named = std::env::var_os("HB_CONFIG").map(PathBuf::from);
        if named
            .as_ref()
            .is_some_and(|named| named.as_os_str().is_empty())
        {
            return Ok(Self::default());
        }
        let usual = || {
            Some(
                etcetera::choose_base_strategy()
                    .ok()?
                    .config_dir()
                    .join("heartbeat/config.toml"),
            )
        };
        let Some(path) = named.clone().or_else(usual) else {
            return Ok(Self::default());
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let typed = |id: &str| {
                    matches.ids().any(|known| known == id)
                        && matches!(
                            matches.value_source(id),
                            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
                        )
                };
                let given = |id: &str| typed(id) || variable(id).is_some_and(is_set);
                let defaults = defaults(&text, &path, given)?;
                Ok(Self {
                    path: Some(path),
                    defaults,
                })
            }
            // Nobody said that there is one.
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(Failure::Config(format!(
                "{} cannot be read: {error}",
                path.display()
            ))),
        }
    }

    /// The same command with these defaults.
    fn under(&self, mut command: Command) -> Command {
        let known: Vec<_> = command
            .get_arguments()
            .map(|arg| arg.get_id().to_string())
            .collect();
        for (id, values) in self
            .defaults
            .iter()
            .filter(|(id, _)| known.iter().any(|known| known == id))
        {
            command = command.mut_arg(id, |arg| arg.default_values(values.clone()));
        }
        let names: Vec<_> = command
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect();
        for name in names {
            command = command.mut_subcommand(name, |command| self.under(command));
        }
        command
    }
}

/// The variable of an option that is not clap's business (see [`Target`](crate::args::Target)).
fn variable(id: &str) -> Option<&'static str> {
    match id {
        "data_dir" => Some("HB_DATA_DIR"),
        "stage" => Some("HB_STAGE"),
        "profile" => Some("AWS_PROFILE"),
        _ => None,
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// The defaults in `text`. Those that name another service than the one that was `given` otherwise do not count.
fn defaults(
    text: &str,
    path: &Path,
    given: impl Fn(&str) -> bool,
) -> Result<Vec<(&'static str, Vec<OsString>)>, Failure> {
    let wrong =
        |line: usize, cause: &str| Failure::Config(format!("{}:{line}: {cause}", path.display()));
    let file: File = toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        wrong(before.matches('\n').count() + 1, error.message())
    })?;
    if file.data_dir.is_some() && file.stage.is_some() {
        return Err(wrong(
            1,
            "data_dir and stage name two services: keep one of them",
        ));
    }
    let data_dir = file
        .data_dir
        .filter(|_| !given("stage") && !given("data_dir"));
    // A path means the same wherever a command is run.
    let data_dir = data_dir.map(|dir| {
        path.parent()
            .map_or_else(|| dir.clone(), |home| home.join(&dir))
    });
    let of_stage = !given("data_dir");
    let text = |value: Option<String>| value.map(|value| vec![OsString::from(value)]);
    let regions: Vec<_> = file.regions.into_iter().map(OsString::from).collect();
    let output = file.output.and_then(|output| {
        let format = match output {
            Output::Table => Format::Table,
            Output::Json => Format::Json,
        };
        Some(format.to_possible_value()?.get_name().to_owned())
    });
    let all = [
        ("data_dir", data_dir.map(|dir| vec![dir.into_os_string()])),
        (
            "stage",
            text(file.stage).filter(|_| of_stage && !given("stage")),
        ),
        (
            "profile",
            text(file.profile).filter(|_| of_stage && !given("profile")),
        ),
        (
            "regions",
            Some(regions).filter(|regions| of_stage && !regions.is_empty()),
        ),
        ("output", text(output)),
        ("url", text(file.url)),
    ];
    Ok(all
        .into_iter()
        .filter_map(|(id, values)| Some((id, values?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, given: &str) -> Result<Vec<&'static str>, String> {
        let read = defaults(text, Path::new("/etc/hb.toml"), |id| id == given);
        read.map(|all| all.into_iter().map(|(id, _)| id).collect())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let said = |text| read(text, "").unwrap_err();
        assert!(
            said("url = 'a'\n\ncolour = true")
                .starts_with("the config file is wrong: /etc/hb.toml:3: unknown field `colour`")
        );
        assert!(
            said("output = 'xml'")
                .starts_with("the config file is wrong: /etc/hb.toml:1: unknown variant `xml`")
        );
        assert!(said("\nregions = 'eu'").contains("/etc/hb.toml:2: "));
        assert!(said("url = ").contains("/etc/hb.toml:1: "));
        assert!(said("data_dir = 'a'\nstage = 'b'").contains("name two services"));
        assert!(!said("url = 'a'\nurl = 'b'").contains('\n'), "one line");
    }

    #[test]
    fn who_names_a_service_gets_that_one() {
        let stage = "stage = 'prod'\nprofile = 'ops'\nregions = ['eu-west-1']\noutput = 'json'";
        assert_eq!(
            read(stage, ""),
            Ok(vec!["stage", "profile", "regions", "output"])
        );
        assert_eq!(read(stage, "data_dir"), Ok(vec!["output"]));
        assert_eq!(read("data_dir = 'x'\nurl = 'u'", "stage"), Ok(vec!["url"]));
        assert_eq!(read("data_dir = 'x'", "data_dir"), Ok(vec![]));
        assert_eq!(read("", ""), Ok(vec![]));
    }

    #[test]
    fn a_folder_lies_beside_the_file_wherever_one_is() {
        let folder = |text| {
            defaults(text, Path::new("/etc/hb/config.toml"), |_| false)
                .unwrap()
                .remove(0)
                .1
        };
        assert_eq!(folder("data_dir = 'data'"), ["/etc/hb/data"]);
        assert_eq!(folder("data_dir = '/var/lib/hb'"), ["/var/lib/hb"]);
    }
}
