//! Man pages, shell completions, and the page `docs/cli.md`, all made from the tree of commands.

mod markdown;

use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::args::{Hb, ManArgs};
use crate::exit::Failure;
use crate::output;

/// `hb completions SHELL`.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    // Into memory, because the library panics when a pipe is closed.
    let mut script = Vec::new();
    generate(shell, &mut Hb::command(), "hb", &mut script);
    print(&script)
}

/// `hb man`.
pub(crate) fn man(man: &ManArgs) -> Result<(), Failure> {
    let mut tree = Hb::command();
    tree.build();
    if man.markdown {
        return print(markdown::page(&tree).as_bytes());
    }
    match &man.dir {
        Some(dir) => {
            let written = pages(&tree, dir).map_err(|source| Failure::Dir {
                path: dir.clone(),
                source,
            })?;
            output::line(&format!("wrote {written} pages to {}", dir.display()))?;
            Ok(())
        }
        None => print(&page(tree)?),
    }
}

/// Writes `hb.1` and a page for each subcommand; returns their number.
fn pages(command: &Command, dir: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(dir)?;
    let mut written = 0;
    for (name, command) in every("hb".to_owned(), command) {
        let title = name.replace(' ', "-");
        std::fs::write(
            dir.join(format!("{title}.1")),
            page(command.clone().name(title).bin_name(name))?,
        )?;
        written += 1;
    }
    Ok(written)
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

/// The command and all its subcommands, each with its full name, without hidden ones and `help`.
fn every(name: String, command: &Command) -> Vec<(String, &Command)> {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    let below = command.get_subcommands().filter(shown);
    let below = below
        .flat_map(|below| every(format!("{name} {}", below.get_name()), below))
        .collect::<Vec<_>>();
    std::iter::once((name, command)).chain(below).collect()
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
