//! Files with a row a line, as CSV or JSON.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::output;

/// The number of wrong rows that are reported one by one.
const REPORTED: usize = 20;

/// The line of a row, and the row or what is wrong with it.
pub(crate) type Numbered<T> = (u64, Result<T, String>);

/// The text of a file, or of standard input when it is `-`.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(file)
    }
}

/// The rows of a file with their lines (in JSON their number, from 1). A text that starts with a bracket is JSON, any
/// other is CSV, whose first line names some of the `columns`, and at least `needed`.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    needed: &str,
    columns: &[&str],
) -> Result<Vec<Numbered<T>>, String> {
    let row = |value: Value| serde_json::from_value::<T>(value).map_err(|error| error.to_string());
    if text.trim_start().starts_with('[') {
        let values: Vec<Value> =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        return Ok((1..).zip(values.into_iter().map(row)).collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let head = reader
        .headers()
        .map_err(|error| format!("not CSV: {error}"))?
        .clone();
    if !head.iter().any(|column| column == needed) {
        return Err(format!(
            "the first line must name the columns, at least {needed}, of {}",
            columns.join(",")
        ));
    }
    let (mut line, mut counted) = (1, 0);
    let numbered = |record: Result<csv::StringRecord, csv::Error>| {
        let position = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        if let Some(position) = position {
            let begin = begin_of(text, position.byte());
            line += breaks(text.as_bytes().get(counted..begin).unwrap_or_default());
            counted = begin;
        }
        let record = record.map_err(|error| wrong(&error));
        let row = record.and_then(|record| {
            let cells = head.iter().zip(record.iter());
            let cells = cells.filter(|(_, cell)| !cell.is_empty());
            let fields: Map<_, _> = cells
                .map(|(column, cell)| (column.to_owned(), field(column, cell)))
                .collect();
            row(fields.into())
        });
        (line, row)
    };
    Ok(reader.into_records().map(numbered).collect())
}

/// The rows that `read` takes, given their lines, and how many are wrong. The first wrong ones are reported one by one.
pub(crate) fn sift<T, U>(
    rows: Vec<Numbered<T>>,
    mut read: impl FnMut(u64, T) -> Result<U, String>,
) -> (Vec<U>, usize) {
    let mut right = Vec::new();
    let mut wrong = 0;
    for (line, row) in rows {
        match row.and_then(|row| read(line, row)) {
            Ok(row) => right.push(row),
            Err(cause) => {
                wrong += 1;
                if wrong <= REPORTED {
                    output::remark(&format!("line {line}: {cause}"));
                }
            }
        }
    }
    if wrong > REPORTED {
        output::remark(&format!("and {} more", wrong - REPORTED));
    }
    (right, wrong)
}

/// What is wrong with a line, without the number that `csv` gives it.
fn wrong(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} cells, and the first line has {expected_len}"),
        _ => error.to_string(),
    }
}

/// Where a record begins. Its position is the end of the one before it: these line breaks are between them.
fn begin_of(text: &str, position: u64) -> usize {
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(position..).unwrap_or_default();
    let between = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.saturating_add(between.count())
}

/// How many lines end in a text: `csv` takes `\r`, `\n` and both together, and counts `\n` only.
fn breaks(text: &[u8]) -> u64 {
    let ends = text.iter().enumerate();
    let ends = ends.filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}

fn field(column: &str, cell: &str) -> Value {
    if column == "hostPrefixes" {
        cell.split_whitespace().collect()
    } else {
        cell.into()
    }
}
