//! What goes to standard output: tables for people, JSON for programs; and remarks on standard error.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use clap::ValueEnum;
use hb_domain::{HostPrefix, Timestamp, human_duration, visible};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Something that can be shown in a table and as JSON.
pub(crate) trait Row: Serialize {
    /// The titles of the columns.
    const HEAD: &'static [&'static str];

    /// As many cells as titles.
    fn cells(&self, now: Timestamp) -> Vec<String>;

    /// The titles where [little fits](is_narrow).
    const NARROW_HEAD: &'static [&'static str] = Self::HEAD;

    /// The cells there.
    fn narrow_cells(&self, now: Timestamp) -> Vec<String> {
        self.cells(now)
    }

    /// How a terminal shows the row.
    fn style(&self) -> Style {
        Style::new()
    }
}

/// Below this number of columns, such as on a phone, tables are narrow and times relative.
const NARROW: u16 = 80;

/// Whether a terminal, or what `COLUMNS` says, has few columns.
pub(crate) fn is_narrow() -> bool {
    static NARROW_HERE: LazyLock<bool> = LazyLock::new(|| {
        let said = std::env::var("COLUMNS").ok();
        let said = said.and_then(|columns| columns.parse().ok());
        let shown = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
        said.or_else(shown).is_some_and(|width: u16| width < NARROW)
    });
    *NARROW_HERE
}

/// Prints rows: a table, or a JSON array with one element a line.
pub(crate) fn rows<T: Row>(format: Format, rows: &[T], now: Timestamp) -> io::Result<()> {
    let mut pages = Pages::new(format);
    pages.page(rows, now)?;
    pages.end()
}

/// Rows that come page by page, of any number: each page is printed before the next is requested.
pub(crate) struct Pages<T> {
    format: Format,
    out: BufWriter<Stdout>,
    /// Fitted to the first page.
    columns: Option<Columns>,
    rows: u64,
    row: PhantomData<T>,
}

impl<T: Row> Pages<T> {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            out: BufWriter::new(io::stdout()),
            columns: None,
            rows: 0,
            row: PhantomData,
        }
    }

    pub(crate) fn page(&mut self, rows: &[T], now: Timestamp) -> io::Result<()> {
        match self.format {
            Format::Json => {
                for row in rows {
                    write!(self.out, "{}", if self.rows == 0 { "[\n" } else { ",\n" })?;
                    serde_json::to_writer(&mut self.out, row)?;
                    self.rows += 1;
                }
            }
            Format::Table if rows.is_empty() => {}
            Format::Table => {
                let cells = |row: &T| {
                    if is_narrow() {
                        row.narrow_cells(now)
                    } else {
                        row.cells(now)
                    }
                };
                let cells: Vec<_> = rows.iter().map(cells).collect();
                self.table(&cells, rows.iter().map(T::style))?;
            }
        }
        self.out.flush()
    }

    /// After the last page. A table without rows still has its titles.
    pub(crate) fn end(mut self) -> io::Result<()> {
        if self.format == Format::Table {
            self.table(&[], [])?;
        }
        self.end_without_titles()
    }

    /// After the last page. A table without rows is not printed.
    pub(crate) fn end_without_titles(mut self) -> io::Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "{}", if self.rows == 0 { "[]" } else { "\n]" })?;
        }
        self.out.flush()
    }

    fn table(
        &mut self,
        rows: &[Vec<String>],
        styles: impl IntoIterator<Item = Style>,
    ) -> io::Result<()> {
        let columns = if let Some(columns) = self.columns.take() {
            columns
        } else {
            let head = if is_narrow() { T::NARROW_HEAD } else { T::HEAD };
            let columns = Columns::fit(head, rows);
            writeln!(self.out, "{}", columns.line(head.iter().copied()))?;
            columns
        };
        for (cells, style) in rows.iter().zip(styles) {
            let line = columns.line(cells.iter().map(String::as_str));
            if style.is_plain() {
                writeln!(self.out, "{line}")?;
            } else {
                writeln!(self.out, "{}", styled(&format!("{style}{line}{style:#}")))?;
            }
        }
        self.columns = Some(columns);
        Ok(())
    }
}

/// A table without lines, two blanks between its columns.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = Columns::fit(head, rows);
    let rows = rows
        .iter()
        .map(|row| columns.line(row.iter().map(String::as_str)));
    std::iter::once(columns.line(head.iter().copied()))
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Facts, each behind its name, and below them what else there is.
pub(crate) fn details<N: Display>(
    facts: impl IntoIterator<Item = (N, String)>,
    rest: Option<String>,
) -> String {
    let facts = facts.into_iter();
    let facts: Vec<_> = facts
        .map(|(name, fact)| format!("{name:<14}{fact}"))
        .collect();
    let rest = rest.map(|rest| format!("\n\n{rest}"));
    facts.join("\n") + &rest.unwrap_or_default()
}

/// The widths of columns. A cell that is wider only pushes the rest of its own line.
struct Columns(Vec<usize>);

impl Columns {
    fn fit(head: &[&str], rows: &[Vec<String>]) -> Self {
        let width = |(column, title): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| visible(cell).chars().count())
                .fold(title.len(), usize::max)
        };
        Self(head.iter().enumerate().map(width).collect())
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let cell = |(cell, width): (&str, &usize)| {
            let cell = visible(cell).replace('\n', " ");
            format!("{cell:<width$}")
        };
        let cells: Vec<_> = cells.zip(&self.0).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    }
}

/// Prints one thing: `text`, or the JSON of `value`.
pub(crate) fn one(format: Format, text: &str, value: &impl Serialize) -> io::Result<()> {
    line(&shown(format, text, value)?)
}

/// What [`one`] prints.
pub(crate) fn shown(
    format: Format,
    text: &str,
    value: &impl Serialize,
) -> serde_json::Result<String> {
    match format {
        Format::Table => Ok(visible(text)),
        Format::Json => serde_json::to_string(value),
    }
}

/// Prints a line, as it is, and flushes it.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// `text` with its colours if standard output shows them: on a terminal, unless `NO_COLOR` is set.
pub(crate) fn styled(text: &str) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => strip_str(text).to_string(),
        _ => text.to_owned(),
    }
}

/// Shows on a terminal, and only there, that `what` is under way.
pub(crate) fn progress(what: &'static str) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_message(what);
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

/// Prints something that is not data, on standard error. A closed one is not a failure.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(text));
}

/// An instant and its distance from now: `2026-01-31T10:02:00Z (4 min ago)`; where little fits, the latter.
pub(crate) fn instant(instant: Timestamp, now: Timestamp) -> String {
    let relative = relative(instant, now);
    if is_narrow() {
        relative
    } else {
        format!("{instant} ({relative})")
    }
}

/// The distance from now alone: `4 min ago`, `in 4 min`.
pub(crate) fn relative(instant: Timestamp, now: Timestamp) -> String {
    let whole = |duration: Duration| human_duration(Duration::from_secs(duration.as_secs()));
    if instant > now {
        format!("in {}", whole(instant.since(now)))
    } else {
        format!("{} ago", whole(now.since(instant)))
    }
}

/// The same with the local time, where it differs from UTC: `2026-01-31T10:02:00Z (11:02:00 CET, in 4 min)`.
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

/// The hosts that some prefixes cover, in a cell.
pub(crate) fn covered(prefixes: &[HostPrefix]) -> String {
    let names: Vec<_> = prefixes.iter().map(HostPrefix::as_str).collect();
    if names.is_empty() {
        "all".to_owned()
    } else {
        names.join(" ")
    }
}

/// The text of a cell, a dash for an empty one.
pub(crate) fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_titles_and_cells_and_keep_each_row_on_one_line() {
        let row = |cells: [&str; 3]| cells.map(ToOwned::to_owned).to_vec();
        let rows = [
            row(["ü\u{202e}", "longer than its title", "two\nlines"]),
            row(["b", "-", ""]),
        ];
        let expected = "\
A  B                      LAST ERROR
ü  longer than its title  two lines
b  -";
        assert_eq!(table(&["A", "B", "LAST ERROR"], &rows), expected);
    }
}
