use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, activation};
use rand::RngExt;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use serde::{Deserialize, Serialize};

use super::{Distribution, Prior};
use crate::config::ModuleConfig;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::nn::{MAX_WEIGHTS, check_dim, check_len};
use crate::noise::{NoiseShape, NoiseSource};
use crate::phase::Phase;
use crate::posterior::{Density, DiagonalGaussian, Posterior};
use crate::seed::Seed;

/// Configuration of a [`MixturePrior`].
///
/// | field | meaning | range |
/// |---|---|---|
/// | `components` | number of Gaussians in the mixture | at least 1 |
/// | `latent_dim` | length of a code | at least 1 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixturePriorConfig {
    /// Number of Gaussians in the mixture.
    pub components: usize,
    /// Length of a code.
    pub latent_dim: usize,
}

impl MixturePriorConfig {
    /// Describes a mixture of `components` Gaussians over codes of length `latent_dim`.
    pub fn new(components: usize, latent_dim: usize) -> Self {
        Self { components, latent_dim }
    }
}

/// `p(z) = sum_k w_k N(z; mean_k, diag(exp(log_var_k)))`, learned with the rest of the model (the
/// mixture of Gaussians of Tomczak and Welling 2018, section 4).
///
/// It starts from equal weights, means drawn from `N(0, I)` and variances of 1. A divergence to a
/// mixture has no closed form: train with [`MonteCarloKl`](crate::divergence::MonteCarloKl) or an
/// importance-weighted bound.
#[derive(Module, Debug)]
pub struct MixturePrior {
    /// Logits of the weights, `[components]`.
    logits: Param<Tensor<1>>,
    /// `[components, latent_dim]`
    mean: Param<Tensor<2>>,
    /// `[components, latent_dim]`
    log_var: Param<Tensor<2>>,
}

impl MixturePrior {
    /// The Gaussians, as a batch of `components` distributions.
    pub fn components(&self) -> DiagonalGaussian {
        DiagonalGaussian::new(self.mean.val(), self.log_var.val())
    }

    /// The logarithms of the weights, `[components]`.
    pub fn log_weights(&self) -> Tensor<1> {
        activation::log_softmax(self.logits.val(), 0)
    }

    /// Returns the bound prior, which does not depend on the encoder.
    pub fn bound(&self) -> Mixture<DiagonalGaussian> {
        let noise = NoiseShape::normal(self.mean.dims()[1]);
        Mixture::new(self.components(), self.log_weights(), noise, Support::Real)
    }
}

impl ModuleConfig for MixturePriorConfig {
    type Module = MixturePrior;

    fn init(&self, seed: Seed, device: &Device) -> Result<MixturePrior> {
        check_len("components", self.components)?;
        check_dim("latent_dim", self.latent_dim)?;
        let shape = [self.components, self.latent_dim];
        if shape[0].checked_mul(shape[1]).is_none_or(|len| len > MAX_WEIGHTS) {
            return Err(Error::config(format!(
                "{} Gaussians over codes of length {} are too many",
                shape[0], shape[1]
            )));
        }
        let mean = NoiseSource::new(seed).draw(0, [1, shape[0], shape[1]], device).squeeze_dim(0);
        Ok(MixturePrior {
            logits: Param::from_tensor(Tensor::zeros([self.components], device)),
            mean: Param::from_tensor(mean),
            log_var: Param::from_tensor(Tensor::zeros(shape, device)),
        })
    }
}

impl<E: Encoder> Prior<E> for MixturePrior {
    type Bound = Mixture<DiagonalGaussian>;

    fn bind(&self, _encoder: &E, _phase: Phase) -> Self::Bound {
        self.bound()
    }
}

/// `sum_k w_k q_k(z)` over a batch of distributions: a bound [`MixturePrior`] or
/// [`VampPrior`](crate::prior::VampPrior).
#[derive(Clone, Debug)]
pub struct Mixture<Q> {
    components: Q,
    /// `[components]`
    log_weights: Tensor<1>,
    /// The noise that one sample of a component needs.
    noise: NoiseShape,
    support: Support,
}

impl<Q> Mixture<Q> {
    pub(super) fn new(
        components: Q,
        log_weights: Tensor<1>,
        noise: NoiseShape,
        support: Support,
    ) -> Self {
        Self { components, log_weights, noise, support }
    }

    /// The mixed distributions, as a batch of `components` distributions.
    pub fn components(&self) -> &Q {
        &self.components
    }

    /// The logarithms of the weights, `[components]`.
    pub fn log_weights(&self) -> Tensor<1> {
        self.log_weights.clone()
    }
}

impl<Q: Posterior + Density> Density for Mixture<Q> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.components.log_mixture(self.log_weights.clone(), z)
    }
}

impl<Q: Posterior + Density> Distribution for Mixture<Q> {
    fn sample(
        &self,
        num_samples: usize,
        _latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let weights = self.log_weights.clone().exp().into_data().iter::<f32>().collect::<Vec<_>>();
        let mut rng = seed.child("component").rng();
        let chosen = match WeightedIndex::new(&weights) {
            Ok(index) => index.sample_iter(rng).take(num_samples).collect::<Vec<_>>(),
            // If the model has diverged, the weights are NaN; so are the means of its samples.
            Err(_) => (0..num_samples).map(|_| rng.random_range(0..weights.len())).collect(),
        };
        let chosen = chosen.into_iter().map(|component| component as i64).collect::<Vec<_>>();
        let chosen = Tensor::<1, Int>::from_data(chosen.as_slice(), device);
        let noise = NoiseSource::new(seed.child("noise"));
        let noise = noise.draw_for(0, 1, num_samples, &self.noise, device);
        self.components.select(chosen).rsample(noise).squeeze_dim(0)
    }

    fn detach(&self) -> Self {
        let log_weights = self.log_weights.clone().detach();
        Self { components: self.components.detach(), log_weights, ..self.clone() }
    }

    fn latent_dim(&self) -> Option<usize> {
        Some(self.components.dims()[1])
    }

    fn support(&self) -> Support {
        self.support
    }
}
