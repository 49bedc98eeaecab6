use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::Codebook;
use crate::error::{Error, Result};

/// Maximum number of columns of a group.
const COLUMNS: usize = 24;

/// Maximum number of codes of a group, so that indices and powers of counts stay exact.
const CODES: usize = 1 << 24;

/// The values of a code that is quantised column by column (Mentzer et al. 2023, section 3.1).
///
/// The columns of a code form groups, and each column of a group takes one of a number of evenly
/// spaced levels, from -1 to 1, or to just below 1 if their number is even and above 2. The combinations of
/// levels of a group are numbered; the first column counts fastest.
///
/// ```
/// use burn_vae::posterior::{Codebook, Grid};
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
    /// If there are no columns or more than 24, if one has fewer than 2 levels, or if there are more
    /// than 2^24 codes.
    pub fn new(levels: impl AsRef<[u8]>) -> Result<Self> {
        let levels = levels.as_ref();
        if !(1..=COLUMNS).contains(&levels.len()) {
            return Err(Error::config(format!(
                "levels has {} entries, but it must have from 1 to {COLUMNS}",
                levels.len()
            )));
        }
        if let Some((i, few)) = levels.iter().enumerate().find(|(_, levels)| **levels < 2) {
            return Err(Error::config(format!("levels[{i}] is {few}, but it must be at least 2")));
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

    /// What a step of each column adds to an index.
    fn places(&self) -> impl Iterator<Item = usize> {
        self.levels().iter().scan(1, |place, levels| {
            let this = *place;
            *place *= usize::from(*levels);
            Some(this)
        })
    }
}

/// Half of the distance from the lowest to the highest level, in steps; rounded up, so that a step
/// of an even number of levels leads to zero. Two levels are -1 and 1.
pub(super) fn half(levels: u8) -> f64 {
    match levels {
        2 => 0.5,
        _ => f64::from(levels / 2),
    }
}

impl Codebook for Grid {
    fn codes(&self) -> usize {
        self.levels().iter().map(|levels| usize::from(*levels)).product()
    }

    fn columns(&self) -> usize {
        self.levels().len()
    }

    fn indices(&self, z: Tensor<2>) -> Tensor<2, Int> {
        let [n, latent_dim] = z.dims();
        let (groups, device) = (self.groups(latent_dim), z.device());
        let half = self.row(latent_dim, &device, half);
        let highest = self.row(latent_dim, &device, |levels| f64::from(levels - 1));
        let digits = (z.detach() * half.clone() + half).round().clamp_min(0.0);
        let digits = digits.min_pair(highest.expand([n, latent_dim]));
        let digits = digits.reshape([n, groups, self.columns()]);
        let places = self.places().map(|place| place as f32).collect::<Vec<_>>();
        let places = Tensor::<1>::from_data(places.as_slice(), &device);
        (digits * places.reshape([1, 1, -1])).sum_dim(2).squeeze_dim::<2>(2).round().int()
    }

    fn lookup(&self, indices: Tensor<2, Int>) -> Tensor<2> {
        let [n, groups] = indices.dims();
        let column = |(&levels, place): (&u8, usize)| {
            let digit =
                indices.clone().div_scalar(place as i64).remainder_scalar(i64::from(levels));
            let half = half(levels);
            digit.float().sub_scalar(half).div_scalar(half).reshape([n, groups, 1])
        };
        let columns = self.levels().iter().zip(self.places()).map(column).collect();
        Tensor::cat(columns, 2).reshape([n, groups * self.columns()])
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
