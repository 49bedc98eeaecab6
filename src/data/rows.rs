//! Parses lines of text into rows of values.

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::gzip;
use super::header::{both, looks_like_header, same_name};
use crate::error::{Error, Result};

/// A column of a table, by its position, counted from 0, or by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Position, counted from 0.
    Index(usize),
    /// Name in the header.
    Name(String),
}

impl From<usize> for Column {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

/// How to read the columns of a table.
///
/// | field | default | meaning |
/// |---|---|---|
/// | `delimiter` | `,` | the character between two fields |
/// | `header` | detected | whether the first line names the columns |
/// | `features` | all but the label | the columns of an example, in this order |
/// | `label` | none | the column with the class |
/// | `max_rows` | all | the number of rows to read; the rest are not checked |
///
/// Without `header`, a first line of names is a header; some of its fields may be empty. A first
/// line of numbers or markers of missing values, such as `?` and `NA`, is a row. A line with names
/// and such values is an error. So is `0,1,2` and so on, which could be a header of positions: set
/// `header` then.
///
/// Two features with the same name are an error. Select one of them by its position, or rename it
/// in the file.
///
/// ```
/// use burn_vae::data::TableOptions;
///
/// let options = TableOptions::new().with_label("species").with_features(["length", "width"]);
/// # assert_eq!(options.label, Some("species".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// The character between two fields.
    pub delimiter: char,
    /// Whether the first line names the columns; `None` to detect it.
    pub header: Option<bool>,
    /// The columns of an example; `None` for all but the label.
    pub features: Option<Vec<Column>>,
    /// The column with the class.
    pub label: Option<Column>,
    /// The number of rows to read.
    pub max_rows: Option<usize>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { delimiter: ',', header: None, features: None, label: None, max_rows: None }
    }
}

impl TableOptions {
    /// Creates options with their defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the character between two fields.
    pub fn with_delimiter(self, delimiter: char) -> Self {
        Self { delimiter, ..self }
    }

    /// Sets whether the first line names the columns.
    pub fn with_header(self, header: bool) -> Self {
        Self { header: Some(header), ..self }
    }

    /// Sets the columns of an example and their order.
    pub fn with_features(self, features: impl IntoIterator<Item = impl Into<Column>>) -> Self {
        Self { features: Some(features.into_iter().map(Into::into).collect()), ..self }
    }

    /// Sets the column with the class.
    pub fn with_label(self, label: impl Into<Column>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// Sets the number of rows to read.
    pub fn with_max_rows(self, max_rows: usize) -> Self {
        Self { max_rows: Some(max_rows), ..self }
    }
}

/// Where the values of an example are in a line.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    delimiter: char,
    /// Names of all columns of the file, from its header.
    header: Option<Vec<String>>,
    width: usize,
    features: Vec<usize>,
    label: Option<usize>,
}

/// The label of a row, and the position of its line in the file.
pub(super) struct Row {
    pub(super) label: Option<u8>,
    pub(super) bytes: Range<u64>,
}

/// Maximum length of a line in bytes; a longer one means that the file is not a table.
const MAX_LINE: u64 = 1 << 24;
/// Advice if columns have the same name.
const TAKE_ONE: &str = "rename one in the file, or select one of them by its position";

/// Reads a table line by line and calls `row` for each row.
pub(super) fn scan(
    input: impl Read,
    path: &Path,
    options: &TableOptions,
    mut row: impl FnMut(Row, &[f32]),
) -> Result<Layout> {
    if options.max_rows == Some(0) {
        return Err(Error::config("max_rows is 0, but it must be at least 1"));
    }
    let mut input = std::io::BufReader::new(input);
    let (mut line, mut offset, mut rows) = (Vec::new(), 0u64, 0);
    let mut layout = None;
    let mut values = Vec::new();
    let mut blank = None;
    for number in 1.. {
        line.clear();
        let read = (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line);
        let read = read.map_err(|error| gzip::corrupt(path, error))? as u64;
        if read == 0 {
            break;
        }
        if read > MAX_LINE {
            if line.contains(&b'\r') {
                return Err(lone_cr(path, number));
            }
            let message = format!("line {number} has more than {MAX_LINE} bytes; is this a table?");
            return Err(Error::data(path, message));
        }
        let bytes = offset..offset + read;
        offset += read;
        let text = text(&line, path, number)?;
        // A line of missing values alone, between tabs, is not empty.
        if text.trim().is_empty() && !text.contains(options.delimiter) {
            blank = blank.or(Some(number));
            continue;
        }
        if let Some(blank) = blank {
            return Err(Error::data(path, format!("line {blank} is empty, but others follow")));
        }
        let layout = match &layout {
            Some(layout) => layout,
            None => {
                let found = Layout::of(text, path, options)?;
                let is_header = found.header.is_some();
                let found = layout.insert(found);
                if is_header {
                    continue;
                }
                found
            }
        };
        values.resize(layout.features.len(), 0.0);
        let label = layout.parse(text, path, number, &mut values)?;
        row(Row { label, bytes }, &values);
        rows += 1;
        if Some(rows) == options.max_rows {
            break;
        }
    }
    match layout {
        Some(layout) if rows > 0 => Ok(layout),
        Some(_) => Err(Error::data(path, "there is a header, but no row follows")),
        None => Err(Error::data(path, "the file is empty")),
    }
}

/// Decodes a line, without its line ending and, in the first line, the byte order mark.
pub(super) fn text<'a>(line: &'a [u8], path: &Path, number: u64) -> Result<&'a str> {
    let text = std::str::from_utf8(line)
        .map_err(|_| Error::data(path, format!("line {number} is not UTF-8 text")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.contains('\r') {
        return Err(lone_cr(path, number));
    }
    if text.matches('"').count() % 2 == 1 {
        let message = format!("line {number} has an unclosed quote");
        return Err(Error::data(path, message));
    }
    Ok(if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text })
}

/// Some programs end a row at a lone carriage return and others do not, so rows could be lost.
fn lone_cr(path: &Path, number: u64) -> Error {
    Error::data(
        path,
        format!(
            "line {number} has a carriage return without a line feed; lines must end in LF or CRLF, so \
             convert the line endings of the file"
        ),
    )
}

impl Layout {
    /// Derives the layout from the first line and the options.
    fn of(first: &str, path: &Path, options: &TableOptions) -> Result<Self> {
        let delimiter = options.delimiter;
        if matches!(delimiter, '"' | '\n' | '\r') || !delimiter.is_ascii() {
            return Err(Error::config(format!("{delimiter:?} cannot be the delimiter")));
        }
        let cells = fields(first, delimiter);
        let header = match options.header {
            Some(header) => header,
            None => looks_like_header(&cells, path)?,
        };
        let header = header.then(|| cells.iter().map(|cell| cell.trim().to_owned()).collect());
        let mut layout =
            Self { delimiter, header, width: cells.len(), features: Vec::new(), label: None };
        layout.label = options.label.as_ref().map(|label| layout.find(label, path)).transpose()?;
        layout.features = match &options.features {
            None => (0..layout.width).filter(|&column| Some(column) != layout.label).collect(),
            Some(names) => {
                names.iter().map(|name| layout.find(name, path)).collect::<Result<_>>()?
            }
        };
        for (i, &column) in layout.features.iter().enumerate() {
            if Some(column) == layout.label || layout.features[..i].contains(&column) {
                let place = layout.place(column);
                let message = format!("{place} is selected more than once");
                return Err(Error::data(path, message));
            }
        }
        if let Some(header) = &layout.header {
            let used = layout.features.iter().map(|&column| (column, header[column].as_str()));
            if let Some(same) = same_name(used) {
                return Err(Error::data(path, format!("{same}; {TAKE_ONE}")));
            }
        }
        if layout.features.is_empty() {
            return Err(Error::data(
                path,
                format!("no column is left as a feature; the delimiter is {delimiter:?}"),
            ));
        }
        Ok(layout)
    }

    fn find(&self, column: &Column, path: &Path) -> Result<usize> {
        let of = self.width;
        match (column, &self.header) {
            (&Column::Index(index), _) if index < of => Ok(index),
            (Column::Index(index), _) => Err(Error::data(
                path,
                format!("column {index}, counted from 0, is selected, but there are only {of}"),
            )),
            (Column::Name(name), None) => Err(Error::data(
                path,
                format!("column `{name}` is selected, but there is no header with names"),
            )),
            (Column::Name(name), Some(header)) => {
                let mut found = (0..of).filter(|&i| header[i] == *name);
                match (found.next(), found.next()) {
                    (Some(index), None) => Ok(index),
                    (None, _) => Err(Error::data(
                        path,
                        format!("there is no column `{name}`; the columns are {}", quoted(header)),
                    )),
                    (Some(one), Some(other)) => {
                        Err(Error::data(path, format!("{}; {TAKE_ONE}", both(one, other, name))))
                    }
                }
            }
        }
    }

    /// Names of the columns of an example.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |&column: &usize| match &self.header {
            Some(header) => header[column].clone(),
            None => format!("column {}", column + 1),
        };
        self.features.iter().map(name).collect()
    }

    /// Number of the first line that holds a row.
    pub(super) fn first_line(&self) -> u64 {
        if self.header.is_some() { 2 } else { 1 }
    }

    /// Parses the values of a line into `values`, and returns its label.
    pub(super) fn parse(
        &self,
        text: &str,
        path: &Path,
        number: u64,
        values: &mut [f32],
    ) -> Result<Option<u8>> {
        let cells = fields(text, self.delimiter);
        if cells.len() != self.width {
            let (found, expected) = (cells.len(), self.width);
            let fields = if found == 1 { "field" } else { "fields" };
            let message =
                format!("line {number} has {found} {fields}, but the first has {expected}");
            return Err(Error::data(path, message));
        }
        let bad = |column: usize, reason: &str| {
            let (place, cell) = (self.place(column), cells[column].trim());
            let mut cell = cell.escape_debug().to_string();
            if cell.chars().count() > 40 {
                cell = cell.chars().take(40).chain("...".chars()).collect();
            }
            let what = if cell.is_empty() { "an empty field".into() } else { format!("`{cell}`") };
            Error::data(path, format!("line {number}, {place}: {what} {reason}"))
        };
        let parse = |column: usize| cells[column].trim().parse::<f64>();
        for (value, &column) in values.iter_mut().zip(&self.features) {
            let number = parse(column).map_err(|_| bad(column, "is not a number"))?;
            *value = number as f32;
            if !number.is_finite() {
                return Err(bad(column, "is not a finite number"));
            }
            if !value.is_finite() {
                return Err(bad(column, "is beyond the range of 32-bit floats"));
            }
        }
        let Some(column) = self.label else { return Ok(None) };
        match parse(column) {
            Ok(label) if (0.0..=255.0).contains(&label) && label.fract() == 0.0 => {
                Ok(Some(label as u8))
            }
            _ => Err(bad(column, "is not a label, an integer from 0 to 255")),
        }
    }

    /// Describes a column for messages: its number, counted from 1, and its name.
    fn place(&self, column: usize) -> String {
        match &self.header {
            Some(header) => format!("column {} (`{}`)", column + 1, header[column]),
            None => format!("column {}", column + 1),
        }
    }
}

/// Splits a line into fields. A quoted field may hold the delimiter, but no line ending.
fn fields(line: &str, delimiter: char) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(delimiter).map(Cow::Borrowed).collect();
    }
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).delimiter(delimiter as u8);
    let mut records = reader.from_reader(line.as_bytes()).into_records();
    match (records.next(), records.next()) {
        (Some(Ok(record)), None) => record.iter().map(|field| field.to_owned().into()).collect(),
        _ => vec![Cow::Borrowed(line)],
    }
}

fn quoted(names: &[String]) -> String {
    let mut list = names.iter().take(30).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    if names.len() > list.len() {
        list.push("...".into());
    }
    list.join(", ")
}
