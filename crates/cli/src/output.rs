//! What goes to standard output: tables for people, JSON for programs.

use std::io::{self, Write};
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use comfy_table::Table;
use comfy_table::presets;
use hb_domain::{Timestamp, human_duration};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::Format;

/// Something that can be shown in a table and as JSON.
pub(crate) trait Row: Serialize {
    /// The heads of the columns.
    const HEAD: &'static [&'static str];

    /// The cells, as many as heads.
    fn cells(&self, now: Timestamp) -> Vec<String>;
}

/// Prints rows: a table, or a JSON array with one element a line.
pub(crate) fn rows<T: Row>(format: Format, rows: &[T], now: Timestamp) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Table => writeln!(out, "{}", table(T::HEAD, rows.iter().map(|row| row.cells(now))))?,
        Format::Json => {
            write!(out, "[")?;
            for (i, row) in rows.iter().enumerate() {
                write!(out, "{}", if i == 0 { "\n" } else { ",\n" })?;
                serde_json::to_writer(&mut out, row)?;
            }
            writeln!(out, "{}]", if rows.is_empty() { "" } else { "\n" })?;
        }
    }
    out.flush()
}

/// Prints one thing: `text`, or the JSON of `value`.
pub(crate) fn one(format: Format, text: &str, value: &impl Serialize) -> io::Result<()> {
    match format {
        Format::Table => line(text),
        Format::Json => line(&serde_json::to_string(value)?),
    }
}

/// Prints a line at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// `text` with its colours where standard output shows them: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn styled(text: &str) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Shows on a terminal, and only there, that something takes its time.
pub(crate) fn progress(what: &'static str) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_message(what);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

/// Says something beside the data, on standard error. A closed one is no reason to fail.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table without lines, two blanks between its columns.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.iter().copied()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// An instant and how far it is: `2026-01-31T10:02:00Z (4 min ago)`.
pub(crate) fn instant(instant: Timestamp, now: Timestamp) -> String {
    let whole = |duration: Duration| human_duration(Duration::from_secs(duration.as_secs()));
    if instant > now {
        format!("{instant} (in {})", whole(instant.since(now)))
    } else {
        format!("{instant} ({} ago)", whole(now.since(instant)))
    }
}

/// What stands in a cell that holds nothing.
pub(crate) fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}
