use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};

use super::{ExplicitPosterior, Family, Head, Posterior};
use crate::config::unit_name;
use crate::math::normal_log_prob;
use crate::nn::{Init, linear};
use crate::summary::Layer;
use crate::{Reparameterize, Result, Seed};

/// `q(z|x) = N(z; mean, diag(exp(log_var)))`, the posterior of Kingma and Welling (2014, eq. 9).
#[derive(Clone, Debug)]
pub struct DiagonalGaussian {
    /// Means, `[batch, latent_dim]`.
    pub mean: Tensor<2>,
    /// Logarithms of the variances, `[batch, latent_dim]`; unbounded.
    pub log_var: Tensor<2>,
}

impl DiagonalGaussian {
    /// A batch of Gaussians.
    ///
    /// # Panics
    /// If the two tensors differ in shape.
    pub fn new(mean: Tensor<2>, log_var: Tensor<2>) -> Self {
        assert_eq!(mean.dims(), log_var.dims(), "mean and log_var differ in shape");
        Self { mean, log_var }
    }

    /// The same in the coordinates in which `other` is the standard normal distribution.
    pub(crate) fn standardized_by(&self, other: &Self) -> Self {
        let mean = self.mean.clone() - other.mean.clone();
        let scale = other.log_var.clone().mul_scalar(-0.5).exp();
        Self::new(mean * scale, self.log_var.clone() - other.log_var.clone())
    }
}

impl Posterior for DiagonalGaussian {
    fn dims(&self) -> [usize; 2] {
        self.mean.dims()
    }

    fn mean(&self) -> Tensor<2> {
        self.mean.clone()
    }

    fn detach(&self) -> Self {
        Self { mean: self.mean.clone().detach(), log_var: self.log_var.clone().detach() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        Reparameterize.forward(self.mean.clone(), self.log_var.clone(), noise)
    }
}

impl ExplicitPosterior for DiagonalGaussian {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let mean = self.mean.clone().unsqueeze_dim(0);
        let log_var = self.log_var.clone().unsqueeze_dim(0);
        normal_log_prob(z, mean, log_var)
    }
}

/// The family of the [`DiagonalGaussian`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagonal;

/// Two linear layers, the mean and the log-variance of a [`DiagonalGaussian`].
#[derive(Module, Debug)]
pub struct DiagonalHead {
    mean: Linear,
    log_var: Linear,
}

impl Family for Diagonal {
    type Head = DiagonalHead;

    fn init(
        &self,
        features: usize,
        latent_dim: usize,
        init: Init,
        seed: Seed,
        device: &Device,
    ) -> Result<DiagonalHead> {
        let layer = |name| init.linear(features, latent_dim, seed.child(name), device);
        Ok(DiagonalHead { mean: layer("mean")?, log_var: layer("log_var")? })
    }
}

impl Head for DiagonalHead {
    type Posterior = DiagonalGaussian;

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn forward(&self, features: Tensor<2>) -> DiagonalGaussian {
        let mean = linear(&self.mean, features.clone(), None);
        DiagonalGaussian::new(mean, linear(&self.log_var, features, None))
    }

    fn layers(&self, trunk: &str) -> Vec<Layer> {
        let row = |(name, layer)| Layer::linear(name, "Linear", layer).after(trunk);
        [("mean", &self.mean), ("log_var", &self.log_var)].map(row).into()
    }
}

unit_name!(Diagonal);
