use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use burn::tensor::{Device, Tensor, TensorData};

use super::header::same_name;
use super::rows::{self, Layout, TableOptions};
use super::subset::{check_indices, check_range};
use super::{Examples, HeldOut, Protocol, gzip};
use crate::error::{At, Error, ErrorKind, Result};
use crate::exec::lock;
use crate::files;
use crate::seed::Seed;

/// A table of numbers in memory; each row is an example.
///
/// The file is UTF-8 text such as CSV, one row per line, raw or compressed with gzip. Fields may be
/// quoted, but a line ending always ends the row. Empty lines may only be at the end. Lines end in
/// LF or CRLF; a lone CR, as in files of old Macs, is an error. So are two columns with the same
/// name. Every value must be present and finite; it is stored as a 32-bit float, with about seven
/// digits. Labels are integers from 0 to 255, and `1.0` is accepted for 1. Columns that are not
/// selected may hold anything. Messages count lines and columns from 1, as editors do.
///
/// A pipe passed by a shell, as in `<(xzcat table.csv.xz)`, is read like a file. Any other pipe and
/// any device is an error, since reading it might never end.
///
/// Clones share the memory.
///
/// ```no_run
/// use burn_vae::data::{Table, TableOptions};
///
/// let table = Table::read("SUSY.csv.gz", &TableOptions::new().with_label(0))?;
/// let (train, test) = table.split_last(0.1)?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone)]
pub struct Table {
    values: Arc<[f32]>,
    labels: Option<Arc<[u8]>>,
    names: Arc<[String]>,
    protocol: Protocol,
}

impl Table {
    /// Reads a table; see [`TableOptions`] for the choice of columns.
    ///
    /// # Errors
    /// If the file cannot be read, is empty or is damaged; if a selected column is missing or has
    /// the name of another; if a row has more or fewer fields than the first; or if a field is
    /// invalid. The message names the file, the line and the column.
    pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self> {
        let path = path.as_ref();
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        let layout = rows::scan(gzip::open(path)?, path, options, |row, row_values| {
            values.extend_from_slice(row_values);
            labels.extend(row.label);
        })?;
        let labels = options.label.is_some().then(|| labels.into());
        let (values, names) = (values.into(), layout.names().into());
        Ok(Self { values, labels, names, protocol: Protocol::AsMeasured })
    }

    /// Creates a table from its values, row by row, and a name for each column.
    ///
    /// # Errors
    /// If there are no columns, if two have the same name, if `values` does not hold a whole number
    /// of rows, or if a value is not finite.
    pub fn new(
        values: impl Into<Arc<[f32]>>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let values = values.into();
        let names = names.into_iter().map(Into::into).collect::<Arc<[String]>>();
        let (len, dim) = (values.len(), names.len());
        if dim == 0 || !len.is_multiple_of(dim) {
            return Err(Error::new(
                ErrorKind::Data,
                format!("{len} values are not a whole number of rows of {dim} columns"),
            ));
        }
        if let Some(same) = same_name(names.iter().map(String::as_str).enumerate()) {
            return Err(Error::new(ErrorKind::Data, same));
        }
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            let (row, name, value) = (i / dim, &names[i % dim], values[i]);
            return Err(Error::new(
                ErrorKind::Data,
                format!("row {row}, column `{name}`: {value} is not a finite number"),
            ));
        }
        Ok(Self { values, labels: None, names, protocol: Protocol::AsMeasured })
    }

    /// Adds the class of each row.
    ///
    /// # Errors
    /// If the number of labels is not the number of rows.
    pub fn with_labels(self, labels: impl Into<Arc<[u8]>>) -> Result<Self> {
        let labels = labels.into();
        if labels.len() != self.len() {
            return Err(Error::new(
                ErrorKind::Data,
                format!("there are {} labels for {} rows", labels.len(), self.len()),
            ));
        }
        Ok(Self { labels: Some(labels), ..self })
    }

    /// The name of each column, from the header; `column 1` and so on without a header.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of each row, if known.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns a range of rows as a tensor, `[rows.len(), dim]`.
    ///
    /// # Errors
    /// If the range is empty or reaches beyond the last row.
    pub fn tensor(&self, rows: Range<usize>, device: &Device) -> Result<Tensor<2>> {
        check_range(&rows, self.len())?;
        let (dim, shape) = (self.dim(), [rows.len(), self.dim()]);
        let values = self.values[rows.start * dim..rows.end * dim].to_vec();
        Ok(Tensor::from_data(TensorData::new::<f32, _>(values, shape), device))
    }

    /// Returns the rows at `indices` with their labels, in that order.
    ///
    /// # Errors
    /// If there are no indices, or one of them is beyond the last row.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        check_indices(indices, self.len())?;
        let dim = self.dim();
        let values = indices.iter().flat_map(|&i| &self.values[i * dim..][..dim]).copied();
        let labels =
            self.labels.as_ref().map(|labels| indices.iter().map(|&i| labels[i]).collect());
        Ok(Self { values: values.collect(), labels, ..self.clone() })
    }

    /// Splits off the last rows; see [`split_last`](super::split_last).
    ///
    /// # Errors
    /// If a part would be empty, or a fraction is not above 0 and below 1.
    pub fn split_last(&self, held_out: impl Into<HeldOut>) -> Result<(Self, Self)> {
        let left = held_out.into().left_of(self.len())?;
        let part = |rows: Range<usize>| self.select(&rows.collect::<Vec<_>>());
        Ok((part(0..left)?, part(left..self.len())?))
    }

    /// Splits off rows drawn at random; see [`split_random`](super::split_random).
    ///
    /// # Errors
    /// If a part would be empty, or a fraction is not above 0 and below 1.
    pub fn split_random(
        &self,
        held_out: impl Into<HeldOut>,
        seed: impl Into<Seed>,
    ) -> Result<(Self, Self)> {
        let [left, out] = held_out.into().draw(self.len(), seed.into())?;
        Ok((self.select(&left)?, self.select(&out)?))
    }

    /// Returns a copy whose values were changed by `change`.
    pub(super) fn scaled(&self, change: impl Fn(&mut [f32]) -> Result<()>) -> Result<Self> {
        let mut values = self.values.to_vec();
        change(&mut values)?;
        Ok(Self { values: values.into(), protocol: Protocol::Scaled, ..self.clone() })
    }
}

impl Examples for Table {
    fn len(&self) -> usize {
        self.values.len() / self.dim()
    }

    fn dim(&self) -> usize {
        self.names.len()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let dim = self.dim();
        for (&index, row) in indices.iter().zip(out.chunks_exact_mut(dim)) {
            row.copy_from_slice(&self.values[index * dim..][..dim]);
        }
        Ok(())
    }

    fn is_fixed_in_memory(&self) -> bool {
        true
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).field("names", &self.names).finish()
    }
}

/// A table of numbers on disk, whose rows are read on demand.
///
/// The format and the values are those of [`Table`]. Every row is read once when the file is
/// opened, so a bad one is reported before training starts. Nine bytes per row stay in memory.
pub struct TableFile {
    path: PathBuf,
    file: Mutex<File>,
    state: (u64, Option<SystemTime>),
    layout: Layout,
    names: Vec<String>,
    /// The offset at which each line starts, and that at which the last one ends.
    bounds: Vec<u64>,
    labels: Option<Vec<u8>>,
}

impl TableFile {
    /// Opens a table and reads it once; see [`TableOptions`] for the choice of columns.
    ///
    /// # Errors
    /// As [`Table::read`]; also if the file is compressed or any kind of pipe, because rows could
    /// then not be read individually.
    pub fn open(path: impl AsRef<Path>, options: &TableOptions) -> Result<Self> {
        let path = path.as_ref();
        let mut file = files::open(path)?;
        let state = state(&file.metadata().at(path)?);
        let mut start = Vec::new();
        (&mut file).take(2).read_to_end(&mut start).at(path)?;
        if gzip::is_magic(&start) {
            return Err(Error::data(
                path,
                "compressed with gzip, so its rows cannot be read one by one; decompress it, or read \
                 it into memory with Table::read",
            ));
        }
        file.rewind().at(path)?;
        let (mut bounds, mut labels) = (Vec::new(), Vec::new());
        let mut end = 0;
        let layout = rows::scan(&mut file, path, options, |row, _| {
            bounds.push(row.bytes.start);
            end = row.bytes.end;
            labels.extend(row.label);
        })?;
        bounds.push(end);
        let labels = options.label.is_some().then_some(labels);
        let names = layout.names();
        let (path, file) = (path.to_owned(), Mutex::new(file));
        Ok(Self { path, file, state, layout, names, bounds, labels })
    }

    /// The name of each column, from the header; `column 1` and so on without a header.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of each row, if known.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }
}

impl Examples for TableFile {
    fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    fn dim(&self) -> usize {
        self.names.len()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let path = &self.path;
        // The position is set before every read, so a panic while the lock was held does no harm.
        let mut file = lock(&self.file);
        if state(&file.metadata().at(path)?) != self.state {
            return Err(Error::data(path, "the file has changed since it was opened"));
        }
        let mut line = Vec::new();
        for (&index, row) in indices.iter().zip(out.chunks_exact_mut(self.dim())) {
            let (start, end) = (self.bounds[index], self.bounds[index + 1]);
            line.resize((end - start) as usize, 0);
            file.seek(SeekFrom::Start(start)).at(path)?;
            file.read_exact(&mut line).at(path)?;
            let number = self.layout.first_line() + index as u64;
            self.layout.parse(rows::text(&line, path, number)?, path, number, row)?;
        }
        Ok(())
    }
}

/// Size and modification time, to detect changes to the file.
fn state(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl std::fmt::Debug for TableFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("TableFile");
        debug.field("path", &self.path).field("len", &self.len()).field("names", &self.names);
        debug.finish()
    }
}
