use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::{DiagonalPrior, Distribution};
use crate::config::unit_config;
use crate::math::normal_log_prob;
use crate::noise::NoiseSource;
use crate::posterior::{Density, DiagonalGaussian};
use crate::seed::Seed;

/// `p(z) = N(0, I)`, the prior of Kingma and Welling (2014); it has no parameters.
#[derive(Module, Debug, Default, PartialEq)]
pub struct StandardNormal;

impl Density for StandardNormal {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let zeros = Tensor::zeros([1, 1, 1], &z.device());
        normal_log_prob(z, zeros.clone(), zeros)
    }
}

impl Distribution for StandardNormal {
    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        NoiseSource::new(seed).draw(0, [1, num_samples, latent_dim], device).squeeze_dim(0)
    }

    fn detach(&self) -> Self {
        Self
    }
}

impl DiagonalPrior for StandardNormal {
    fn standardized(&self, posterior: &DiagonalGaussian) -> DiagonalGaussian {
        posterior.clone()
    }
}

unit_config!(StandardNormal);
