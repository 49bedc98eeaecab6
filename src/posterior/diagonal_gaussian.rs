use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{FloatDType, Int, Tensor};

use super::pointwise::regrouped;
use super::{Density, Family, Head, NewHead, Pointwise, Posterior, Samples};
use crate::backend::is_cpu;
use crate::config::unit_name;
use crate::describe::{Describe, INPUT, Layer, Stage};
use crate::error::Result;
use crate::math::{LN_2PI, gradient_of, log_sum_exp, normal_log_prob, standardize};
use crate::nn::linear;
use crate::phase::Phase;
use crate::reparameterize::Reparameterize;
use crate::seed::Seed;

/// `q(z|x) = N(z; mean, diag(exp(log_var)))`, the posterior of Kingma and Welling (2014, eq. 9).
#[derive(Clone, Debug)]
pub struct DiagonalGaussian {
    /// Means, `[batch, latent_dim]`.
    pub mean: Tensor<2>,
    /// Logarithms of the variances, `[batch, latent_dim]`; unbounded.
    pub log_var: Tensor<2>,
}

impl DiagonalGaussian {
    /// Creates a batch of Gaussians.
    ///
    /// # Panics
    /// If `mean` and `log_var` differ in shape.
    pub fn new(mean: Tensor<2>, log_var: Tensor<2>) -> Self {
        assert_eq!(mean.dims(), log_var.dims(), "mean and log_var differ in shape");
        Self { mean, log_var }
    }

    /// Returns `sum_j (z_j - mean_j)^2 / exp(log_var_j)` for each row and each distribution,
    /// `[rows, components]`.
    fn squares_of_differences(&self, z: Tensor<2>) -> Tensor<2> {
        let log_scale = self.log_var.clone().mul_scalar(0.5).unsqueeze_dim::<3>(0);
        let differences = z.unsqueeze_dim::<3>(1) - self.mean.clone().unsqueeze_dim(0);
        standardize(differences, log_scale).square().sum_dim(2).squeeze_dim(2)
    }

    /// Like `squares_of_differences`, but as one matrix product instead of a three-dimensional
    /// tensor of differences. Subtracting large numbers loses digits, so it uses 64 bits: the error
    /// is 1e-16 of `sum_j z_j^2 / exp(log_var_j)`, where 32 bits would leave 1e-7.
    fn squares_multiplied_out(&self, z: Tensor<2>) -> Tensor<2> {
        let [z, mean, log_var] =
            [&z, &self.mean, &self.log_var].map(|x| x.clone().cast(FloatDType::F64));
        let precision = log_var.neg().exp();
        let scaled_mean = mean.clone() * precision.clone();
        let constant = (scaled_mean.clone() * mean).sum_dim(1).transpose();
        let terms = Tensor::cat(vec![z.clone().square(), z], 1);
        let factors = Tensor::cat(vec![precision, scaled_mean.mul_scalar(-2.0)], 1);
        (terms.matmul(factors.transpose()) + constant).cast(FloatDType::F32)
    }

    /// Returns the log-density of `mean + exp(log_var / 2) noise`.
    fn log_prob_of_noise(&self, noise: Tensor<3>) -> Tensor<2> {
        let log_var = self.log_var.clone().unsqueeze_dim::<3>(0);
        let sum = (noise.square() + log_var).add_scalar(LN_2PI).sum_dim(2);
        sum.squeeze_dim(2).mul_scalar(-0.5)
    }

    /// Transforms the distributions to the coordinates in which `other` is the standard normal
    /// distribution.
    pub(crate) fn standardized_by(&self, other: &Self) -> Self {
        let mean = self.mean.clone() - other.mean.clone();
        let mean = standardize(mean, other.log_var.clone().mul_scalar(0.5));
        Self::new(mean, self.log_var.clone() - other.log_var.clone())
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

    fn select(&self, places: Tensor<1, Int>) -> Self {
        let [mean, log_var] =
            [&self.mean, &self.log_var].map(|x| x.clone().select(0, places.clone()));
        Self { mean, log_var }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        Reparameterize.forward(self.mean.clone(), self.log_var.clone(), noise)
    }

    fn draw(&self, noise: Tensor<3>, seed: Seed) -> Samples {
        Samples::new(self.rsample(noise.clone()), seed).with_noise(noise)
    }
}

impl Pointwise for DiagonalGaussian {
    fn regroup(self, positions: usize) -> Self {
        Self::new(regrouped(self.mean, positions), regrouped(self.log_var, positions))
    }
}

impl Density for DiagonalGaussian {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        let mean = self.mean.clone().unsqueeze_dim(0);
        let log_var = self.log_var.clone().unsqueeze_dim(0);
        normal_log_prob(z, mean, log_var)
    }

    fn log_mixture(&self, log_weights: Tensor<1>, z: Tensor<3>) -> Tensor<2> {
        let [samples, batch, latent_dim] = z.dims();
        let z = z.reshape([samples * batch, latent_dim]);
        let squares = match is_cpu(&z.device()) {
            true => self.squares_multiplied_out(z),
            false => self.squares_of_differences(z),
        };
        let log_norm = self.log_var.clone().add_scalar(LN_2PI).sum_dim(1).squeeze_dim::<1>(1);
        let constant = (log_weights - log_norm.mul_scalar(0.5)).unsqueeze_dim(0);
        log_sum_exp(squares.mul_scalar(-0.5) + constant, 1).reshape([samples, batch])
    }

    /// Returns `-1/2 sum_j (eps_j^2 + log_var_j + log(2 pi))` for the noise `eps` that the samples
    /// were made from. In a narrow posterior, a rounded code no longer determines that noise.
    fn log_prob_of(&self, samples: &Samples) -> Tensor<2> {
        match &samples.noise {
            Some(noise) => self.log_prob_of_noise(noise.clone()),
            None => samples.log_prob_or(|z| self.log_prob(z)),
        }
    }

    fn log_prob_at(&self, samples: &Samples) -> Tensor<2> {
        let Some(noise) = &samples.noise else { return self.log_prob(samples.z.clone()) };
        let moved = gradient_of(samples.z.clone() - self.rsample(noise.clone()));
        let log_scale = self.log_var.clone().detach().mul_scalar(0.5).unsqueeze_dim::<3>(0);
        self.log_prob_of_noise(noise.clone() + standardize(moved, log_scale))
    }
}

/// The family of [`DiagonalGaussian`] posteriors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagonal;

/// Two linear layers that output the mean and the log-variance of a [`DiagonalGaussian`].
#[derive(Module, Debug)]
pub struct DiagonalHead {
    mean: Linear,
    log_var: Linear,
}

impl Family for Diagonal {
    type Head = DiagonalHead;

    fn init(&self, new: &NewHead) -> Result<DiagonalHead> {
        Ok(DiagonalHead { mean: new.linear("mean")?, log_var: new.linear("log_var")? })
    }
}

impl Head for DiagonalHead {
    type Posterior = DiagonalGaussian;

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        let mean = linear(&self.mean, features.clone(), None);
        DiagonalGaussian::new(mean, linear(&self.log_var, features, None))
    }
}

impl Describe for DiagonalHead {
    fn layers(&self) -> Vec<Layer> {
        let row = |(name, layer)| Layer::linear(name, "Linear", layer).after(INPUT);
        [("mean", &self.mean), ("log_var", &self.log_var)].map(row).into()
    }

    fn stages(&self) -> Option<Vec<Stage>> {
        let layers = [&self.mean, &self.log_var];
        let weight = Tensor::cat(layers.map(|layer| layer.weight.val()).into(), 1);
        let biases = layers.map(|layer| match &layer.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([layer.weight.dims()[1]], &layer.weight.device()),
        });
        Some(vec![Stage::Linear { weight, bias: Some(Tensor::cat(biases.into(), 0)) }])
    }
}

unit_name!(Diagonal);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::NoiseSource;
    use burn::tensor::Device;

    /// In 40 dimensions with standard deviations of `e^-4`, squares multiplied out in 32 bits are
    /// 8e-3 nats off. Differences round each of 40 terms of order 1. Neither method can recover the
    /// rounding of the codes.
    #[test]
    fn densities_of_narrow_mixtures_keep_their_digits() {
        let device = Device::flex();
        let draw = |seed, rows: usize| {
            NoiseSource::new(seed).draw(0, [1, rows, 40], &device).squeeze_dim::<2>(0)
        };
        let mixture = DiagonalGaussian::new(draw(1, 30), Tensor::full([30, 40], -8.0, &device));
        let noise = NoiseSource::new(2).draw(0, [7, 30, 40], &device);
        let z = mixture.rsample(noise).reshape([210, 40]);
        let list = |x: Tensor<2>| x.into_data().iter::<f64>().collect::<Vec<_>>();
        let (means, codes) = (list(mixture.mean.clone()), list(z.clone()));
        let square = |z: &[f64], mean: &[f64]| {
            let squares = z.iter().zip(mean).map(|(z, mean)| (z - mean).powi(2));
            squares.sum::<f64>() * 8f64.exp()
        };
        let expected = codes
            .chunks_exact(40)
            .flat_map(|z| means.chunks_exact(40).map(move |mean| square(z, mean)));
        let expected = expected.collect::<Vec<_>>();
        for found in [mixture.squares_of_differences(z.clone()), mixture.squares_multiplied_out(z)]
        {
            let own = |i: usize| i % 30 == (i / 30) % 30;
            for (i, (found, expected)) in list(found).iter().zip(&expected).enumerate() {
                let off = (found - expected).abs();
                assert!(off < 2e-6 * expected, "{found} is not {expected}");
                assert!(!own(i) || off < 1e-4, "{found} is not {expected}");
            }
        }
    }

    /// Both ways to compute the squares have the same values and gradients.
    #[test]
    fn densities_of_mixtures_have_one_gradient() {
        let device = Device::flex().autodiff();
        let leaf = |seed, rows: usize| {
            let x = NoiseSource::new(seed).draw(0, [1, rows, 3], &device).squeeze_dim::<2>(0);
            x.detach().require_grad()
        };
        let run = |squares: fn(&DiagonalGaussian, Tensor<2>) -> Tensor<2>| {
            let leaves = [leaf(1, 4), leaf(2, 4), leaf(3, 5)];
            let [mean, log_var, z] = leaves.clone();
            let squares = squares(&DiagonalGaussian::new(mean, log_var), z);
            let gradients = squares.clone().mul_scalar(-0.5).exp().sum().backward();
            let list = |x: Tensor<2>| x.into_data().iter::<f64>().collect::<Vec<_>>();
            let mut all = list(squares);
            all.extend(leaves.iter().flat_map(|leaf| list(leaf.grad(&gradients).unwrap())));
            all
        };
        let found = run(DiagonalGaussian::squares_multiplied_out);
        for (found, expected) in found.iter().zip(run(DiagonalGaussian::squares_of_differences)) {
            assert!(
                (found - expected).abs() < 3e-6 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }
}
