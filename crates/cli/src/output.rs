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
        Format::Table => writeln!(
            out,
            "{}",
            table(T::HEAD, rows.iter().map(|row| row.cells(now)))
        )?,
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

/// Rows that come page by page, of any number: each page is printed before the next is asked for.
///
/// A table gets the widths of its first page; a later cell that is wider pushes its line only.
pub(crate) struct Pages {
    format: Format,
    out: io::BufWriter<io::Stdout>,
    widths: Vec<usize>,
    rows: u64,
}

impl Pages {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            out: io::BufWriter::new(io::stdout()),
            widths: Vec::new(),
            rows: 0,
        }
    }

    pub(crate) fn page<T: Row>(&mut self, rows: &[T], now: Timestamp) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.format {
            Format::Json => {
                for row in rows {
                    write!(self.out, "{}", if self.rows == 0 { "[\n" } else { ",\n" })?;
                    serde_json::to_writer(&mut self.out, row)?;
                    self.rows += 1;
                }
            }
            Format::Table => {
                let cells: Vec<_> = rows.iter().map(|row| row.cells(now)).collect();
                if self.rows == 0 {
                    self.head(T::HEAD, &cells)?;
                }
                for row in &cells {
                    self.line(row.iter().map(String::as_str))?;
                }
                self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            }
        }
        self.out.flush()
    }

    /// After the last page, without the head of an empty table.
    pub(crate) fn end_if_begun(mut self) -> io::Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "{}", if self.rows == 0 { "[]" } else { "\n]" })?;
        }
        self.out.flush()
    }

    /// After the last page.
    pub(crate) fn end<T: Row>(mut self) -> io::Result<()> {
        match (self.format, self.rows) {
            (Format::Table, 0) => self.head(T::HEAD, &[])?,
            (Format::Table, _) => {}
            (Format::Json, 0) => writeln!(self.out, "[]")?,
            (Format::Json, _) => writeln!(self.out, "\n]")?,
        }
        self.out.flush()
    }

    fn head(&mut self, head: &[&str], cells: &[Vec<String>]) -> io::Result<()> {
        let width = |column: usize| {
            let cells = cells
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count());
            cells.chain([head[column].len()]).max().unwrap_or(0)
        };
        self.widths = (0..head.len()).map(width).collect();
        self.line(head.iter().copied())
    }

    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let cells = cells
            .zip(&self.widths)
            .map(|(cell, width)| format!("{cell:<width$}  "));
        writeln!(self.out, "{}", cells.collect::<String>().trim_end())
    }
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
    table
        .load_style(presets::NOTHING)
        .set_header(head.iter().copied())
        .add_rows(rows);
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

/// The same with the time on the wall, where that is another: `2026-01-31T10:02:00Z (11:02:00 CET, in 4 min)`.
pub(crate) fn instant_here(at: Timestamp, now: Timestamp) -> String {
    let text = instant(at, now);
    let Ok(utc) = jiff::Timestamp::from_millisecond(at.as_millis()) else {
        return text;
    };
    let here = utc.to_zoned(jiff::tz::TimeZone::system());
    if here.offset() == jiff::tz::Offset::UTC {
        return text;
    }
    let format = if here.date() == utc.to_zoned(jiff::tz::TimeZone::UTC).date() {
        "%H:%M:%S %Z"
    } else {
        "%F %H:%M:%S %Z"
    };
    text.replacen(" (", &format!(" ({}, ", here.strftime(format)), 1)
}

/// What stands in a cell that holds nothing.
pub(crate) fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}
