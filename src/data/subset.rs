use std::ops::Range;
use std::sync::Arc;

use rand::seq::SliceRandom;

use super::{Examples, Protocol};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A part of a data set, shared rather than copied.
///
/// ```
/// use std::sync::Arc;
/// use burn_vae::data::{ByteImages, Examples, Subset};
///
/// let images = Arc::new(ByteImages::new(vec![0, 51, 102, 153], [1, 1, 1])?);
/// let part = Subset::range(images.clone(), 1..3)?;
/// assert_eq!(part.len(), 2);
/// let part = Subset::select(images, [3, 0, 0])?; // any order, and again
/// assert_eq!(part.indices().collect::<Vec<_>>(), [3, 0, 0]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone)]
pub struct Subset {
    examples: Arc<dyn Examples>,
    part: Part,
}

#[derive(Clone)]
enum Part {
    Range(Range<usize>),
    List(Arc<[usize]>),
}

impl Subset {
    /// Selects the examples of a range.
    ///
    /// # Errors
    /// If the range is empty or reaches beyond the last example.
    pub fn range(examples: Arc<dyn Examples>, range: Range<usize>) -> Result<Self> {
        check_range(&range, examples.len())?;
        Ok(Self::unchecked(examples, range))
    }

    /// Selects the examples at `indices`, in that order.
    ///
    /// # Errors
    /// If there are no indices, or one of them is beyond the last example.
    pub fn select(examples: Arc<dyn Examples>, indices: impl Into<Arc<[usize]>>) -> Result<Self> {
        let indices = indices.into();
        check_indices(&indices, examples.len())?;
        Ok(Self { examples, part: Part::List(indices) })
    }

    /// Selects a range that is known to lie within the examples; it may be empty.
    pub(super) fn unchecked(examples: Arc<dyn Examples>, range: Range<usize>) -> Self {
        Self { examples, part: Part::Range(range) }
    }

    /// Indices of the selected examples in the whole data set, for example to look up their labels.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        (0..self.len()).map(|i| self.index(i))
    }

    fn index(&self, i: usize) -> usize {
        match &self.part {
            Part::Range(range) => range.start + i,
            Part::List(indices) => indices[i],
        }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl Examples for Subset {
    fn len(&self) -> usize {
        match &self.part {
            Part::Range(range) => range.len(),
            Part::List(indices) => indices.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dim(&self) -> usize {
        self.examples.dim()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let indices = indices.iter().map(|&i| self.index(i)).collect::<Vec<_>>();
        self.examples.read(&indices, out)
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let indices = indices.iter().map(|&i| self.index(i)).collect::<Vec<_>>();
        self.examples.read_in(epoch, &indices, out)
    }

    fn is_fixed_in_memory(&self) -> bool {
        self.examples.is_fixed_in_memory()
    }

    fn protocol(&self) -> Protocol {
        self.examples.protocol()
    }
}

impl std::fmt::Debug for Subset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = self.examples.len();
        f.debug_struct("Subset").field("len", &self.len()).field("of", &of).finish()
    }
}

/// The size of the part to hold out, as a count or a fraction.
///
/// For `n` examples and the fraction `f`, `floor(n * (1 - f))` examples remain for training, which
/// is how Keras rounds its `validation_split`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeldOut {
    /// Number of examples.
    Count(usize),
    /// Fraction of all examples, above 0 and below 1.
    Fraction(f64),
}

impl From<usize> for HeldOut {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for HeldOut {
    fn from(fraction: f64) -> Self {
        Self::Fraction(fraction)
    }
}

impl HeldOut {
    /// Returns the size of the training part; both parts are non-empty.
    pub(super) fn left_of(self, len: usize) -> Result<usize> {
        let (left, what) = match self {
            Self::Count(count) => (len.saturating_sub(count), format!("{count}")),
            Self::Fraction(f) if f > 0.0 && f < 1.0 => {
                ((len as f64 * (1.0 - f)).floor() as usize, format!("the fraction {f}"))
            }
            Self::Fraction(f) => {
                let range = "but it must be above 0 and below 1";
                return Err(Error::config(format!("the fraction to hold out is {f}, {range}")));
            }
        };
        match left {
            0 => Err(Error::config(format!(
                "{what} of {len} examples cannot be held out: none would be left to train on"
            ))),
            left if left == len => Err(Error::config(format!(
                "{what} of {len} examples cannot be held out: at least one is needed"
            ))),
            left => Ok(left),
        }
    }

    /// Draws the indices for training and those held out at random, and returns both in ascending
    /// order.
    pub(super) fn draw(self, len: usize, seed: Seed) -> Result<[Vec<usize>; 2]> {
        let left = self.left_of(len)?;
        let mut indices = (0..len).collect::<Vec<_>>();
        indices.shuffle(&mut seed.rng());
        let mut held_out = indices.split_off(left);
        indices.sort_unstable();
        held_out.sort_unstable();
        Ok([indices, held_out])
    }
}

/// Splits off the last examples, by count or fraction, as Keras's `validation_split` does.
///
/// Returns the training part and the part held out. If the examples are sorted, for example by
/// class, use [`split_random`].
///
/// ```
/// use std::sync::Arc;
/// use burn_vae::data::{ByteImages, Examples, split_last};
///
/// let images = Arc::new(ByteImages::new(vec![0; 10], [1, 1, 1])?);
/// let (train, valid) = split_last(images, 0.2)?;
/// assert_eq!((train.len(), valid.len()), (8, 2));
/// # Ok::<(), burn_vae::Error>(())
/// ```
///
/// # Errors
/// If a part would be empty, or a fraction is not above 0 and below 1.
pub fn split_last(
    examples: Arc<dyn Examples>,
    held_out: impl Into<HeldOut>,
) -> Result<(Subset, Subset)> {
    let len = examples.len();
    let left = held_out.into().left_of(len)?;
    Ok((Subset::unchecked(examples.clone(), 0..left), Subset::unchecked(examples, left..len)))
}

/// Splits off examples drawn at random, by count or fraction.
///
/// Returns the training part and the part held out, each in the original order. A seed gives the
/// same split everywhere.
///
/// # Errors
/// If a part would be empty, or a fraction is not above 0 and below 1.
pub fn split_random(
    examples: Arc<dyn Examples>,
    held_out: impl Into<HeldOut>,
    seed: impl Into<Seed>,
) -> Result<(Subset, Subset)> {
    let [left, out] = held_out.into().draw(examples.len(), seed.into())?;
    Ok((Subset::select(examples.clone(), left)?, Subset::select(examples, out)?))
}

pub(super) fn check_range(range: &Range<usize>, len: usize) -> Result<()> {
    if range.is_empty() {
        return Err(Error::config(format!("the range {range:?} holds no example")));
    }
    if range.end > len {
        return Err(Error::config(format!(
            "examples {range:?} were requested, but there are only {len}"
        )));
    }
    Ok(())
}

pub(super) fn check_indices(indices: &[usize], len: usize) -> Result<()> {
    if indices.is_empty() {
        return Err(Error::config("no examples were selected"));
    }
    match indices.iter().find(|&&index| index >= len) {
        Some(index) => Err(Error::config(format!(
            "example {index}, counted from 0, was requested, but there are only {len}"
        ))),
        None => Ok(()),
    }
}
