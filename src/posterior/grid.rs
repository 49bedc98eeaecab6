use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Maximum number of columns of a group.
const COLUMNS: usize = 8;

/// Maximum number of codes of a group, so that indices and powers of counts stay exact.
const CODES: usize = 1 << 24;

/// The values of a code that is quantised column by column (Mentzer et al. 2023, section 3.1).
///
/// The columns of a code form groups, and each column of a group takes one of a number of evenly
/// spaced levels, from -1 to 1, or to just below 1 if their number is even. The combinations of
/// levels of a group are numbered; the first column counts fastest.
///
/// ```
/// use burn_vae::posterior::Grid;
///
/// let grid = Grid::new([8, 5, 5, 5])?;
/// assert_eq!((grid.columns(), grid.codes()), (4, 1000));
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Grid {
    /// Zero in columns that the group does not have.
    levels: [u8; COLUMNS],
}

impl Grid {
    /// Creates a grid with the given number of levels in each column of a group. Five or more levels
    /// are recommended (Mentzer et al. 2023): `[8, 6, 5]`, `[8, 5, 5, 5]`, `[7, 5, 5, 5, 5]`,
    /// `[8, 8, 8, 6, 5]`, `[8, 8, 8, 5, 5, 5]`.
    ///
    /// # Errors
    /// If there are no columns or more than 8, if one has fewer than 3 levels, or if there are more
    /// than 2^24 codes.
    pub fn new(levels: impl AsRef<[u8]>) -> Result<Self> {
        let levels = levels.as_ref();
        if !(1..=COLUMNS).contains(&levels.len()) {
            return Err(Error::config(format!(
                "levels has {} entries, but it must have from 1 to {COLUMNS}",
                levels.len()
            )));
        }
        if let Some((i, few)) = levels.iter().enumerate().find(|(_, levels)| **levels < 3) {
            return Err(Error::config(format!("levels[{i}] is {few}, but it must be at least 3")));
        }
        let codes = levels.iter().try_fold(1usize, |codes, &n| codes.checked_mul(n.into()));
        if codes.is_none_or(|codes| codes > CODES) {
            return Err(Error::config(format!("levels are {levels:?}, more than {CODES} codes")));
        }
        let mut all = [0; COLUMNS];
        all[..levels.len()].copy_from_slice(levels);
        Ok(Self { levels: all })
    }

    /// The number of levels of each column of a group.
    pub fn levels(&self) -> &[u8] {
        let columns = self.levels.iter().position(|levels| *levels == 0).unwrap_or(COLUMNS);
        &self.levels[..columns]
    }

    /// The number of columns of a group.
    pub fn columns(&self) -> usize {
        self.levels().len()
    }

    /// The number of codes of a group.
    pub fn codes(&self) -> usize {
        self.levels().iter().map(|levels| usize::from(*levels)).product()
    }

    /// Whether values are on the grid.
    pub(crate) fn contains(&self, values: &[f32]) -> bool {
        let columns = values.iter().zip(self.levels().iter().cycle());
        { columns }.all(|(value, &levels)| {
            let half = f32::from(levels / 2);
            let digit = value * half + half;
            (digit - digit.round()).abs() < 1e-3
                && (0.0..=f32::from(levels - 1)).contains(&digit.round())
        })
    }

    /// Checks that the columns of a code divide into groups; the error names their number `name`.
    pub(crate) fn check(&self, name: &str, columns: usize) -> Result<()> {
        if columns == 0 || !columns.is_multiple_of(self.columns()) {
            return Err(Error::config(format!(
                "{name} is {columns}, but it must be a multiple of {}, the columns of a group",
                self.columns()
            )));
        }
        Ok(())
    }

    /// Returns a value for each column of a code.
    pub(crate) fn row(
        &self,
        latent_dim: usize,
        device: &Device,
        value: impl Fn(u8) -> f64,
    ) -> Tensor<2> {
        let values = self.levels().iter().cycle().take(latent_dim).map(|n| value(*n) as f32);
        Tensor::from_data(TensorData::new::<f32, _>(values.collect(), [1, latent_dim]), device)
    }

    /// Returns the number of the code of each group.
    ///
    /// # Shapes
    /// - `z`: `[n, groups * columns]`, on the grid
    /// - output: `[n, groups]`, below [`codes`](Self::codes)
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    pub fn indices(&self, z: Tensor<2>) -> Tensor<2, Int> {
        let [n, latent_dim] = z.dims();
        let groups = self.groups(latent_dim);
        let half = self.row(latent_dim, &z.device(), |levels| f64::from(levels / 2));
        let digits = (z.detach() * half.clone() + half).round();
        let digits = digits.reshape([n, groups, self.columns()]);
        let places = self.places().map(|place| place as f32).collect::<Vec<_>>();
        let places = Tensor::<1>::from_data(places.as_slice(), &digits.device());
        (digits * places.reshape([1, 1, -1])).sum_dim(2).squeeze_dim::<2>(2).round().int()
    }

    /// Returns the codes of given numbers: [`indices`](Self::indices) backwards.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups]`
    /// - output: `[n, groups * columns]`
    ///
    /// # Errors
    /// If an index is negative or not below [`codes`](Self::codes).
    pub fn codes_of(&self, indices: Tensor<2, Int>) -> Result<Tensor<2>> {
        let ([n, groups], device) = (indices.dims(), indices.device());
        let mut values = Vec::with_capacity(n * groups * self.columns());
        for index in indices.into_data().iter::<i64>() {
            values.extend(self.values(self.check_index(index)?));
        }
        let shape = [n, groups * self.columns()];
        Ok(Tensor::from_data(TensorData::new::<f32, _>(values, shape), &device.without_autodiff()))
    }

    /// Counts how often each code occurs in all groups together.
    ///
    /// # Shapes
    /// - `indices`: `[n, groups]`
    ///
    /// # Errors
    /// If an index is negative or not below [`codes`](Self::codes).
    pub fn usage(&self, indices: Tensor<2, Int>) -> Result<Usage> {
        let mut counts = vec![0u64; self.codes()];
        for index in indices.into_data().iter::<i64>() {
            counts[self.check_index(index)?] += 1;
        }
        let total = counts.iter().sum::<u64>() as f64;
        let entropy = counts.iter().filter(|count| **count > 0).map(|count| {
            let p = *count as f64 / total;
            -p * p.ln()
        });
        Ok(Usage {
            codes: self.codes(),
            used: counts.iter().filter(|count| **count > 0).count(),
            perplexity: entropy.sum::<f64>().exp(),
        })
    }

    fn check_index(&self, index: i64) -> Result<usize> {
        let codes = self.codes();
        let checked = usize::try_from(index).ok().filter(|index| *index < codes);
        checked.ok_or_else(|| Error::value(format!("index {index} is not one of {codes} codes")))
    }

    /// The values of the columns of a code.
    pub(crate) fn values(&self, index: usize) -> impl Iterator<Item = f32> {
        self.levels().iter().zip(self.places()).map(move |(&levels, place)| {
            let digit = index / place % usize::from(levels);
            let half = f32::from(levels / 2);
            (digit as f32 - half) / half
        })
    }

    /// What a step of each column adds to an index.
    fn places(&self) -> impl Iterator<Item = usize> {
        self.levels().iter().scan(1, |place, levels| {
            let this = *place;
            *place *= usize::from(*levels);
            Some(this)
        })
    }

    fn groups(&self, latent_dim: usize) -> usize {
        let columns = self.columns();
        assert!(latent_dim.is_multiple_of(columns), "{latent_dim} columns in groups of {columns}");
        latent_dim / columns
    }
}

impl TryFrom<Vec<u8>> for Grid {
    type Error = Error;

    fn try_from(levels: Vec<u8>) -> Result<Self> {
        Self::new(levels)
    }
}

impl From<Grid> for Vec<u8> {
    fn from(grid: Grid) -> Self {
        grid.levels().to_vec()
    }
}

/// How many codes of a [`Grid`] occur, and how evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// The number of codes.
    pub codes: usize,
    /// The number of codes that occur.
    pub used: usize,
    /// The exponential of the entropy of their frequencies: `used` if all occur equally often.
    pub perplexity: f64,
}
