use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Examples, Protocol, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{read, write_atomically};

/// A shift and a scale for each column, fitted on one data set and applied to others:
/// `y = (x - shift) / scale`.
///
/// Fit it on the training data, apply it to all data, and save it beside the model with
/// [`save`](Self::save) and [`load`](Self::load), or as a serde struct. [`invert`](Self::invert)
/// brings the model's outputs back to the units of the data.
///
/// A column that is constant in the data it is fitted on becomes 0. It is shifted but not scaled,
/// so other data keep their distance from the constant.
///
/// ```
/// use burn_vae::data::{Scaling, Table};
///
/// let train = Table::new(vec![10.0, 1.0, 20.0, 3.0], ["a", "b"])?;
/// let scaling = Scaling::min_max(&train)?;
/// assert_eq!(scaling.table(&train)?.values(), [0.0, 0.0, 1.0, 1.0]);
/// let mut row = [0.5, 0.5];
/// scaling.invert(&mut row)?;
/// assert_eq!(row, [15.0, 2.0]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub struct Scaling(Numbers);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    shift: Vec<f64>,
    scale: Vec<f64>,
    /// Whether scaled values are clamped to [0, 1].
    clip: bool,
}

impl TryFrom<Numbers> for Scaling {
    type Error = Error;

    fn try_from(numbers: Numbers) -> Result<Self> {
        let (shifts, scales) = (numbers.shift.len(), numbers.scale.len());
        if shifts != scales || shifts == 0 {
            return Err(Error::value(format!(
                "a scaling has {shifts} shifts and {scales} scales, but needs one of each for every \
                 column"
            )));
        }
        for (i, (&shift, &scale)) in numbers.shift.iter().zip(&numbers.scale).enumerate() {
            if !shift.is_finite() || !scale.is_finite() || scale <= 0.0 {
                return Err(Error::value(format!(
                    "column {i}, counted from 0, has shift {shift} and scale {scale}, but they must \
                     be finite and the scale above 0"
                )));
            }
        }
        Ok(Self(numbers))
    }
}

impl From<Scaling> for Numbers {
    fn from(scaling: Scaling) -> Self {
        scaling.0
    }
}

/// Number of rows to read at a time while fitting.
const CHUNK: usize = 1024;

impl Scaling {
    /// Scales the minimum of each column to 0 and the maximum to 1.
    ///
    /// Other data may lie outside this range; see [`clipped`](Self::clipped).
    ///
    /// # Errors
    /// If there are no examples, or one cannot be read or holds a value that is not finite.
    pub fn min_max(examples: &dyn Examples) -> Result<Self> {
        let mut least = vec![f64::INFINITY; examples.dim()];
        let mut greatest = vec![f64::NEG_INFINITY; examples.dim()];
        for_each_row(examples, |_, row| {
            for ((least, greatest), &x) in least.iter_mut().zip(&mut greatest).zip(row) {
                *least = least.min(f64::from(x));
                *greatest = greatest.max(f64::from(x));
            }
        })?;
        let ranges = least.iter().zip(greatest).map(|(least, greatest)| greatest - least);
        Self::new(ranges.collect(), least)
    }

    /// Scales each column to mean 0 and standard deviation 1.
    ///
    /// Scaled values lie outside [0, 1], so they do not suit [`BernoulliNll`](crate::BernoulliNll).
    ///
    /// The standard deviation divides by the number of examples, not by one less.
    ///
    /// # Errors
    /// If there are no examples, or one cannot be read or holds a value that is not finite.
    pub fn standard(examples: &dyn Examples) -> Result<Self> {
        // The recurrence of Welford (1962), which does not subtract large numbers from each other.
        let mut mean = vec![0.0; examples.dim()];
        let mut squares = vec![0.0; examples.dim()];
        for_each_row(examples, |number, row| {
            for ((mean, squares), &x) in mean.iter_mut().zip(&mut squares).zip(row) {
                let before = f64::from(x) - *mean;
                *mean += before / number as f64;
                *squares += before * (f64::from(x) - *mean);
            }
        })?;
        let count = examples.len() as f64;
        Self::new(squares.into_iter().map(|squares| (squares / count).sqrt()).collect(), mean)
    }

    fn new(mut scale: Vec<f64>, shift: Vec<f64>) -> Result<Self> {
        scale.iter_mut().filter(|scale| **scale == 0.0).for_each(|scale| *scale = 1.0);
        Self::try_from(Numbers { shift, scale, clip: false })
    }

    /// Returns the logit of each column's [`shift`](Self::shift), which is the mean for a
    /// [`standard`](Self::standard) scaling. It is an initial output bias for a decoder of bits
    /// ([`MlpDecoder::with_output_bias`](crate::decoder::MlpDecoder::with_output_bias)).
    ///
    /// Shifts are clamped to [0.001, 0.999] first.
    ///
    /// # Errors
    /// If a shift lies below 0 or above 1.
    pub fn shift_logits(&self) -> Result<Vec<f32>> {
        let logit = |(i, p): (usize, &f64)| {
            if !(0.0..=1.0).contains(p) {
                return Err(Error::value(format!(
                    "the shift of column {i} is {p}, but only values in [0, 1] have a logit"
                )));
            }
            let p = p.clamp(1e-3, 1.0 - 1e-3);
            Ok((p / (1.0 - p)).ln() as f32)
        };
        self.shift().iter().enumerate().map(logit).collect()
    }

    /// Also clamps scaled values to [0, 1].
    ///
    /// For [`min_max`](Self::min_max) and a likelihood with values in [0, 1].
    /// [`invert`](Self::invert) does not restore clamped values.
    pub fn clipped(mut self) -> Self {
        self.0.clip = true;
        self
    }

    /// The number of columns.
    pub fn dim(&self) -> usize {
        self.0.shift.len()
    }

    /// The value subtracted from each column: its minimum or, for [`standard`](Self::standard), its
    /// mean.
    pub fn shift(&self) -> &[f64] {
        &self.0.shift
    }

    /// The value each column is then divided by: its range or its standard deviation.
    pub fn scale(&self) -> &[f64] {
        &self.0.scale
    }

    /// Sum of the logarithms of the scales: how much larger `-log p` of an example is in the units
    /// of the data than in scaled units, in nats. Values moved by [`clipped`](Self::clipped) have
    /// no such density.
    ///
    /// See [`LogLikelihood::bits_per_dim`](crate::eval::LogLikelihood::bits_per_dim).
    pub fn log_det(&self) -> f64 {
        self.scale().iter().map(|scale| scale.ln()).sum()
    }

    /// Scales rows of values in place.
    ///
    /// # Errors
    /// If `values` does not hold a whole number of rows.
    pub fn apply(&self, values: &mut [f32]) -> Result<()> {
        self.each(values, |x, shift, scale| {
            let y = ((f64::from(x) - shift) / scale) as f32;
            if self.0.clip { y.clamp(0.0, 1.0) } else { y }
        })
    }

    /// Brings scaled rows of values back to the units of the data, in place.
    ///
    /// # Errors
    /// If `values` does not hold a whole number of rows.
    pub fn invert(&self, values: &mut [f32]) -> Result<()> {
        self.each(values, |y, shift, scale| (f64::from(y) * scale + shift) as f32)
    }

    fn each(&self, values: &mut [f32], f: impl Fn(f32, f64, f64) -> f32) -> Result<()> {
        let Numbers { shift, scale, .. } = &self.0;
        if !values.len().is_multiple_of(shift.len()) {
            return Err(Error::new(
                ErrorKind::Shape,
                format!(
                    "{} values are not a whole number of rows of {}",
                    values.len(),
                    shift.len()
                ),
            ));
        }
        for row in values.chunks_exact_mut(shift.len()) {
            for ((x, &shift), &scale) in row.iter_mut().zip(shift).zip(scale) {
                *x = f(*x, shift, scale);
            }
        }
        Ok(())
    }

    /// Returns a scaled copy of a table, with its names and labels.
    ///
    /// # Errors
    /// If the number of columns is not that of the scaling.
    pub fn table(&self, table: &Table) -> Result<Table> {
        self.check(table.dim())?;
        table.scaled(|values| self.apply(values))
    }

    /// Wraps any examples, which are scaled as they are read.
    ///
    /// # Errors
    /// If the length of an example is not the number of columns of the scaling.
    pub fn scaled(&self, examples: Arc<dyn Examples>) -> Result<Scaled> {
        self.check(examples.dim())?;
        Ok(Scaled { examples, scaling: self.clone() })
    }

    fn check(&self, dim: usize) -> Result<()> {
        if dim == self.dim() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Shape,
            format!("examples have {dim} columns, but the scaling has {}", self.dim()),
        ))
    }

    /// Writes the scaling to a file, as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::saved(path, &error).with_source(error))?;
        write_atomically(path, &json)
    }

    /// Reads a file written by [`save`](Self::save).
    ///
    /// # Errors
    /// If the file cannot be read or is not a scaling. The message names the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let json = read(path)?;
        serde_json::from_slice(&json).map_err(|error| Error::saved(path, &error).with_source(error))
    }
}

/// Calls `f` with the number of each example, counted from 1, and its values.
fn for_each_row(examples: &dyn Examples, mut f: impl FnMut(usize, &[f32])) -> Result<()> {
    let (len, dim) = (examples.len(), examples.dim());
    if len == 0 || dim == 0 {
        return Err(Error::new(ErrorKind::Data, "a scaling cannot be fitted: there are no values"));
    }
    let mut values = Vec::new();
    for start in (0..len).step_by(CHUNK) {
        let indices = (start..len.min(start + CHUNK)).collect::<Vec<_>>();
        values.resize(indices.len() * dim, 0.0);
        examples.read(&indices, &mut values)?;
        for (row, &index) in values.chunks_exact(dim).zip(&indices) {
            if let Some(column) = row.iter().position(|x| !x.is_finite()) {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!(
                        "example {index}, column {column}, both counted from 0: {} is not a finite \
                         number",
                        row[column]
                    ),
                ));
            }
            f(index + 1, row);
        }
    }
    Ok(())
}

/// Examples that are scaled as they are read; see [`Scaling::scaled`].
#[derive(Clone)]
pub struct Scaled {
    examples: Arc<dyn Examples>,
    scaling: Scaling,
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl Examples for Scaled {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dim(&self) -> usize {
        self.examples.dim()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.examples.read(indices, out)?;
        self.scaling.apply(out)
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.examples.read_in(epoch, indices, out)?;
        self.scaling.apply(out)
    }

    fn is_fixed_in_memory(&self) -> bool {
        self.examples.is_fixed_in_memory()
    }

    fn protocol(&self) -> Protocol {
        Protocol::Scaled
    }
}

impl std::fmt::Debug for Scaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaled").field("len", &self.len()).field("dim", &self.dim()).finish()
    }
}
