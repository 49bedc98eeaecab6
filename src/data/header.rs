//! Header detection.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};

/// Markers for missing values in tables of UCI, R, pandas, SQL and spreadsheets. `nan` is not
/// listed because it parses as a number.
const MISSING: [&str; 14] = [
    "?", "NA", "<NA>", "N/A", "n/a", "#N/A", "#NA", "NULL", "null", "None", "none", "-", "--", ".",
];

/// Whether the first line names the columns.
pub(super) fn looks_like_header(cells: &[Cow<'_, str>], path: &Path) -> Result<bool> {
    let count = |is: fn(&str) -> bool| cells.iter().filter(|cell| is(cell.trim())).count();
    let numbers = count(|cell| cell.parse::<f64>().is_ok());
    let marks = count(|cell| MISSING.contains(&cell));
    let names = cells.len() - numbers - marks - count(str::is_empty);
    let places = (0..).zip(cells).all(|(i, cell)| cell.trim() == i.to_string());
    if names > 0 && numbers + marks == 0 {
        return Ok(true);
    }
    if names == 0 && !(places && numbers > 1) {
        return Ok(false);
    }
    let (values, of) = (numbers + marks, cells.len());
    let what = if marks == 0 { "numbers" } else { "numbers or missing values" };
    Err(Error::data(
        path,
        format!(
            "line 1 may be a header or a row ({values} of its {of} fields are {what}); set the \
             option `header` to true or false"
        ),
    ))
}

/// Returns the error message if two columns have the same name.
pub(super) fn same_name<'a>(columns: impl IntoIterator<Item = (usize, &'a str)>) -> Option<String> {
    let mut places = HashMap::new();
    columns.into_iter().find_map(|(column, name)| {
        let other = places.insert(name, column)?;
        Some(both(other.min(column), other.max(column), name))
    })
}

pub(super) fn both(one: usize, other: usize, name: &str) -> String {
    format!("columns {} and {} are both called `{name}`", one + 1, other + 1)
}
