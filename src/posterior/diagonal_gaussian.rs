use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};

use super::{ExplicitPosterior, Family, Head, Posterior};
use crate::config::unit_name;
use crate::math::{LN_2PI, log_sum_exp, normal_log_prob};
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

    /// `log sum_i w_i N(z; mean_i, diag(exp(log_var_i)))`, the density of a mixture of all distributions of
    /// the batch, in nats.
    ///
    /// The squares are multiplied out, about the centre of all means, so that all densities are one matrix
    /// product; what the difference of large numbers loses is some 1e-7 of
    /// `sum_j (z_j - centre_j)^2 / exp(log_var_j)`.
    ///
    /// # Shapes
    /// - `log_weights`: `[components]`, logarithms that sum to 1 as weights
    /// - `z`: `[num_samples, batch, latent_dim]`
    /// - output: `[num_samples, batch]`
    pub(crate) fn log_mixture(&self, log_weights: Tensor<1>, z: Tensor<3>) -> Tensor<2> {
        let [samples, batch, latent_dim] = z.dims();
        let precision = self.log_var.clone().neg().exp();
        // It takes nothing from the gradient: densities do not depend on where the origin lies.
        let centre = self.mean.clone().detach().mean_dim(0);
        let mean = self.mean.clone() - centre.clone();
        let scaled_mean = mean.clone() * precision.clone();
        let constant = scaled_mean.clone() * mean + self.log_var.clone();
        let constant = constant.add_scalar(LN_2PI).sum_dim(1).squeeze_dim::<1>(1);
        let z = z.reshape([samples * batch, latent_dim]) - centre;
        let terms = Tensor::cat(vec![z.clone().square(), z], 1);
        let factors = Tensor::cat(vec![precision, scaled_mean.mul_scalar(-2.0)], 1);
        let squares = terms.matmul(factors.transpose());
        let constant = (log_weights - constant.mul_scalar(0.5)).unsqueeze_dim(0);
        let log = squares.mul_scalar(-0.5) + constant;
        log_sum_exp(log, 1).reshape([samples, batch])
    }

    /// The distributions of so many rows, by their numbers.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let device = self.mean.device();
        let rows = rows.iter().map(|&row| row as i64).collect::<Vec<_>>();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &device);
        Self::new(self.mean.clone().select(0, rows.clone()), self.log_var.clone().select(0, rows))
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

    fn as_diagonal_gaussian(&self) -> Option<DiagonalGaussian> {
        Some(self.clone())
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
