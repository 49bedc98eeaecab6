use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::likelihood::Support;
use crate::model::Model;

/// Checks the values of examples as they are read, so that the error names the bad value's place in
/// the data instead of surfacing later as a NaN loss.
pub(crate) struct Checked {
    examples: Arc<dyn Examples>,
    support: Support,
    /// Number of leading entries that are data; the rest are the condition.
    values: usize,
    /// Whether values in the support's range but outside the support are accepted too.
    between: bool,
    /// Whether such values have been read; `None` if this is not tracked.
    others: Option<AtomicBool>,
}

impl Checked {
    /// Accepts every value for which a bound is defined, such as grey values under a Bernoulli
    /// likelihood.
    pub(crate) fn for_bounds(examples: Arc<dyn Examples>, model: &impl Model) -> Self {
        let (support, values) = (model.support(), model.num_values());
        Self { examples, support, values, between: true, others: None }
    }

    /// Accepts only values in the likelihood's support.
    pub(crate) fn for_likelihoods(examples: Arc<dyn Examples>, model: &impl Model) -> Self {
        Self { between: false, ..Self::for_bounds(examples, model) }
    }

    /// Also tracks whether any value is outside the likelihood's support.
    pub(crate) fn noting_others(self) -> Self {
        Self { others: Some(AtomicBool::new(false)), ..self }
    }

    /// Whether any example read so far has values outside the likelihood's support.
    pub(crate) fn has_others(&self) -> bool {
        self.others.as_ref().is_some_and(|others| others.load(Ordering::Relaxed))
    }

    fn check(&self, indices: &[usize], rows: &[f32]) -> Result<()> {
        let dim = self.dim();
        let range = self.support.range();
        for (row, index) in rows.chunks_exact(dim.max(1)).zip(indices) {
            let (values, condition) = row.split_at(self.values.min(dim));
            let wrong = match (self.support, self.between) {
                (Support::Any, _) => None,
                (_, true) if all_within(values, &range) => None,
                (_, true) => values.iter().position(|value| !range.contains(value)),
                (support, false) => values.iter().position(|value| !support.contains(*value)),
            };
            let bad = |column: usize, what: &str| {
                Err(Error::new(
                    ErrorKind::Data,
                    format!(
                        "example {index} holds {} in column {column} (both counted from 0), but {what}",
                        row[column]
                    ),
                ))
            };
            if let Some(column) = wrong {
                let of = format!("a likelihood with {:?} support", self.support);
                return match (self.between, self.support) {
                    (false, _) => bad(column, &format!("{of} gives it no probability")),
                    (true, Support::Real) => bad(column, &format!("{of} needs finite values")),
                    (true, Support::Count) => {
                        bad(column, &format!("{of} needs finite values of at least 0"))
                    }
                    (true, _) => bad(column, &format!("{of} needs values in [0, 1]")),
                };
            }
            if let Some((first, sum)) = self.support.wrong_group(values) {
                return Err(self.not_one_class(*index, first, sum));
            }
            if let Some(others) = &self.others
                && !self.support.contains_all(values)
            {
                others.store(true, Ordering::Relaxed);
            }
            if let Some(i) = condition.iter().position(|value| !value.is_finite()) {
                return bad(values.len() + i, "a condition must be finite");
            }
        }
        Ok(())
    }

    fn not_one_class(&self, index: usize, first: usize, sum: f64) -> Error {
        let Self { support, values, between, .. } = self;
        let last = match support {
            Support::OneHot(classes) => (first + classes).min(*values) - 1,
            _ => first,
        };
        let needed = match between {
            true => "a single 1 there, or probabilities that sum to 1",
            false => "a single 1 there",
        };
        Error::new(
            ErrorKind::Data,
            format!(
                "example {index} holds values that sum to {sum} in columns {first} to {last}, all \
                 counted from 0, but a likelihood with {support:?} support needs {needed}"
            ),
        )
    }
}

/// Branch-free, for some thousand values per microsecond.
fn all_within(values: &[f32], range: &RangeInclusive<f32>) -> bool {
    let (least, greatest) = (*range.start(), *range.end());
    values.iter().fold(true, |fine, &value| fine & (value >= least) & (value <= greatest))
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl Examples for Checked {
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
        self.check(indices, out)
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.examples.read_in(epoch, indices, out)?;
        self.check(indices, out)
    }

    fn is_fixed_in_memory(&self) -> bool {
        self.examples.is_fixed_in_memory()
    }

    fn protocol(&self) -> Protocol {
        self.examples.protocol()
    }
}
