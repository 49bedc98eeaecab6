use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::Distribution;
use crate::config::{ModuleConfig, named_config};
use crate::error::Result;
use crate::likelihood::Support;
use crate::posterior::{Density, Grid};
use crate::seed::Seed;

/// A prior over the codes of a [`Grid`], all equally likely: `log p(z) = -sum_j log L_j` for columns
/// with `L_j` levels, in nats, and minus infinity beside the grid. It has no parameters.
///
/// It is what [`FiniteScalar`](crate::posterior::FiniteScalar) is trained with. Samples of the model
/// look better from a prior that is trained on the codes of the data afterwards (van den Oord et al.
/// 2017).
#[derive(Module, Debug, PartialEq)]
pub struct GridPrior {
    #[module(skip)]
    grid: Grid,
}

impl GridPrior {
    /// Creates a prior over the codes of a grid.
    pub fn new(grid: Grid) -> Self {
        Self { grid }
    }

    /// The grid of the codes.
    pub fn grid(&self) -> Grid {
        self.grid
    }
}

impl Density for GridPrior {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let ([samples, batch, latent_dim], device) = (z.dims(), z.device());
        let half = self.grid.row(latent_dim, &device, |levels| f64::from(levels / 2));
        let highest = self.grid.row(latent_dim, &device, |levels| f64::from(levels - 1));
        let half = half.unsqueeze_dim::<3>(0);
        let digits = z.detach() * half.clone() + half;
        let nearest = digits
            .clone()
            .round()
            .clamp_min(0.0)
            .min_pair(highest.unsqueeze_dim::<3>(0).expand([samples, batch, latent_dim]));
        let outside = (digits - nearest).abs().max_dim(2).squeeze_dim::<2>(2).greater_scalar(1e-3);
        let log_levels = self.grid.row(latent_dim, &device, |levels| f64::from(levels).ln());
        let total = log_levels.sum_dim(1).neg().expand([samples, batch]);
        total.mask_fill(outside, f64::NEG_INFINITY)
    }
}

impl Distribution for GridPrior {
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let (mut rng, groups) = (seed.rng(), latent_dim / self.grid.columns());
        let mut values = Vec::with_capacity(num_samples * latent_dim);
        for _ in 0..num_samples * groups {
            values.extend(self.grid.values(rng.random_range(0..self.grid.codes())));
        }
        Tensor::from_data(TensorData::new::<f32, _>(values, [num_samples, latent_dim]), device)
    }

    fn detach(&self) -> Self {
        self.clone()
    }

    fn support(&self) -> Support {
        Support::Grid(self.grid)
    }
}

named_config!(GridPrior, GridPrior { grid: Grid });

impl ModuleConfig for GridPrior {
    type Module = Self;

    fn init(&self, _seed: Seed, _device: &Device) -> Result<Self> {
        Ok(self.clone())
    }
}
