use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{DiagonalPrior, Distribution};
use crate::config::ModuleConfig;
use crate::error::{Error, Result};
use crate::math::normal_log_prob;
use crate::nn::check_dim;
use crate::noise::NoiseSource;
use crate::posterior::{Density, DiagonalGaussian};
use crate::reparameterize::Reparameterize;
use crate::seed::Seed;

/// Configuration of a [`GaussianPrior`].
///
/// | field | meaning |
/// |---|---|
/// | `mean` | means, one for each latent dimension |
/// | `log_var` | logarithms of the variances |
/// | `is_learned` | whether both are trained with the rest of the model; false by default |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianPriorConfig {
    /// Means, one for each latent dimension.
    pub mean: Vec<f32>,
    /// Logarithms of the variances.
    pub log_var: Vec<f32>,
    /// Whether both are trained with the rest of the model.
    #[serde(default)]
    pub is_learned: bool,
}

impl GaussianPriorConfig {
    /// Describes a fixed prior.
    pub fn new(mean: impl Into<Vec<f32>>, log_var: impl Into<Vec<f32>>) -> Self {
        Self { mean: mean.into(), log_var: log_var.into(), is_learned: false }
    }

    /// Trains the prior with the rest of the model, starting from these values.
    pub fn learned(self) -> Self {
        Self { is_learned: true, ..self }
    }
}

/// A diagonal Gaussian prior, `p(z) = N(z; mean, diag(exp(log_var)))`.
#[derive(Module, Debug)]
pub struct GaussianPrior {
    /// Means, `[latent_dim]`.
    mean: Param<Tensor<1>>,
    /// Logarithms of the variances, `[latent_dim]`.
    log_var: Param<Tensor<1>>,
}

impl GaussianPrior {
    /// Returns the distribution as a batch of one.
    pub fn distribution(&self) -> DiagonalGaussian {
        DiagonalGaussian::new(self.mean.val().unsqueeze(), self.log_var.val().unsqueeze())
    }
}

impl ModuleConfig for GaussianPriorConfig {
    type Module = GaussianPrior;

    fn init(&self, _seed: Seed, device: &Device) -> Result<GaussianPrior> {
        check_dim("the number of means", self.mean.len())?;
        if self.mean.len() != self.log_var.len() {
            return Err(Error::config(format!(
                "there are {} means, but {} log-variances",
                self.mean.len(),
                self.log_var.len()
            )));
        }
        for (what, values) in [("mean", &self.mean), ("log_var", &self.log_var)] {
            if let Some((i, value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(Error::config(format!(
                    "{what}[{i}] is {value}, but it must be finite"
                )));
            }
        }
        let param = |values: &[f32]| {
            let param = Param::from_tensor(Tensor::from_data(values, device));
            param.set_require_grad(self.is_learned)
        };
        Ok(GaussianPrior { mean: param(&self.mean), log_var: param(&self.log_var) })
    }
}

impl Density for GaussianPrior {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        normal_log_prob(z, self.mean.val().unsqueeze(), self.log_var.val().unsqueeze())
    }
}

impl Distribution for GaussianPrior {
    fn latent_dim(&self) -> Option<usize> {
        Some(self.mean.dims()[0])
    }

    fn detach(&self) -> Self {
        self.clone().no_grad()
    }

    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let noise = NoiseSource::new(seed).draw(0, [num_samples, 1, latent_dim], device);
        let DiagonalGaussian { mean, log_var } = self.distribution();
        Reparameterize.forward(mean, log_var, noise).squeeze_dim(1)
    }
}

impl DiagonalPrior for GaussianPrior {
    fn standardized(&self, posterior: &DiagonalGaussian) -> DiagonalGaussian {
        posterior.standardized_by(&self.distribution())
    }
}
