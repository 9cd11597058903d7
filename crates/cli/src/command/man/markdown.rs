//! The page `docs/cli.md`: every command with its arguments.

use clap::{Arg, Command};

use crate::exit;

const HEAD: &str = "# Command line

Generated from the program (`just docs`); a test compares the two. [Usage](usage.md) shows examples.
";

pub(super) fn page(tree: &Command) -> String {
    let commands = super::every("hb".to_owned(), tree);
    // Global options are listed once, for `hb` itself.
    let global: Vec<_> = tree
        .get_arguments()
        .filter(|arg| arg.is_global_set())
        .map(Arg::get_id)
        .collect();
    let sections = commands.iter().enumerate().map(|(n, (name, command))| {
        section(name, command, |arg| {
            n == 0 || !global.contains(&arg.get_id())
        })
    });
    let sections: String = sections.collect();
    let codes: Vec<_> = exit::CODES
        .iter()
        .map(|(code, meaning)| format!("| {code} | {meaning} |"))
        .collect();
    let codes = format!(
        "\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n{}\n",
        codes.join("\n")
    );
    format!("{HEAD}{sections}{codes}")
}

fn section(name: &str, command: &Command, shown: impl Fn(&Arg) -> bool) -> String {
    let about = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let about = wrapped(&about);
    let about = if about.ends_with('.') {
        about
    } else {
        about + "."
    };
    let usage = command.clone().render_usage().to_string();
    let usage = usage
        .trim_start_matches("Usage: ")
        .lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("\n");
    let own = |arg: &&Arg| {
        !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version") && shown(arg)
    };
    let rows: Vec<_> = command.get_arguments().filter(own).map(row).collect();
    let table = if rows.is_empty() {
        String::new()
    } else {
        format!(
            "\n| argument | environment | default | meaning |\n| --- | --- | --- | --- |\n{}\n",
            rows.join("\n")
        )
    };
    format!("\n## {name}\n\n{about}\n\n```text\n{usage}\n```\n{table}")
}

fn row(arg: &Arg) -> String {
    let values: Vec<_> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    let takes = arg.get_action().takes_values();
    let name = match arg.get_long() {
        Some(long) if takes => format!("--{long} {}", values.join(" ")),
        Some(long) => format!("--{long}"),
        None => values.join(" "),
    };
    let variable = arg
        .get_env()
        .map_or("", |name| name.to_str().unwrap_or_default());
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let default = if takes {
        defaults.join(", ")
    } else {
        String::new()
    };
    let help = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = if help.ends_with(['.', ']']) {
        help
    } else {
        help + "."
    };
    let choices: Vec<_> = if takes {
        let choices = arg.get_possible_values();
        choices
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| code(value.get_name()))
            .collect()
    } else {
        Vec::new()
    };
    let choices = if choices.is_empty() {
        String::new()
    } else {
        format!(" One of {}.", choices.join(", "))
    };
    let cells = [
        code(&name),
        code(variable),
        code(&default),
        format!("{}{choices}", cell(&help)),
    ];
    format!("| {} |", cells.join(" | "))
}

/// As code, if there is any.
fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{}`", cell(text))
    }
}

/// Escapes what would end a cell or start a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}

/// Paragraphs, each on one line.
fn wrapped(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}
