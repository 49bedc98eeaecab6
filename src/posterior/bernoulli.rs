use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Int, Tensor};

use super::pointwise::regrouped;
use super::temperature::Sampling;
use super::{Density, Family, Head, NewHead, Pointwise, Posterior, Temperature};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::Result;
use crate::likelihood::Support;
use crate::math::gradient_of;
use crate::nn::linear;
use crate::noise::{Noise, NoiseShape};
use crate::phase::Phase;

/// Minimum distance of a relaxed bit from 0 and 1, 2^-22. Just below 1, 32-bit floats are 2^-24
/// apart, so closer to it `log(1 - z)` would have no digits.
const LEAST: f64 = 1.0 / (1u32 << 22) as f64;

/// `q(z|x)` over bits given by logits, and its relaxation in training.
///
/// With the logit `l` of a bit, uniform noise `u` and `s = l + log u - log(1 - u)`,
///
/// | | sample | `log_prob` |
/// |---|---|---|
/// | outside training | 1 if `s > 0`, else 0 | `z log sigmoid(l) + (1 - z) log sigmoid(-l)`, minus infinity if `z` is not 0 or 1 |
/// | relaxed | `sigmoid(s / temperature)` | the density, below |
/// | straight-through | 1 if `s > 0`, else 0, with the gradient of the relaxed sample | as outside training |
///
/// [`CategoricalFamily`](super::CategoricalFamily) lists which of these goes with which prior and
/// divergence. The density of the relaxed sample is that of the binary concrete distribution with
/// temperature `t` (Maddison et al. 2017, appendix B). With `a = l - t (log z - log(1 - z))`
///
/// `log q(z) = log t + log sigmoid(a) + log sigmoid(-a) - log z - log(1 - z)`
///
/// in nats. Samples are clamped to `[2^-22, 1 - 2^-22]`, because there are hardly any 32-bit floats
/// beyond. The clamped distribution has a probability instead of a density at both ends, so
/// `log_prob` is `log sigmoid(-a)` at the lower end and `log sigmoid(a)` at the upper. Everything
/// is therefore finite, and ratios of such densities are those of the samples that the decoder
/// sees; as `t` goes to zero, they approach the ratios of the probabilities. A relaxed distribution
/// has no mass at exactly 0 or 1, and `log_prob` is minus infinity there.
#[derive(Clone, Debug)]
pub struct Bernoulli {
    /// Logits, unbounded, `[batch, latent_dim]`.
    pub logits: Tensor<2>,
    sampling: Sampling,
}

impl Bernoulli {
    /// Creates a batch of distributions without a relaxation.
    pub fn new(logits: Tensor<2>) -> Self {
        Self { logits, sampling: Sampling::Exact }
    }

    /// Relaxes the samples at a temperature above 0.
    pub fn relaxed(self, temperature: f64) -> Self {
        self.with_sampling(Sampling::Relaxed(temperature))
    }

    /// Draws exact samples with the gradients of relaxed ones.
    pub fn straight_through(self, temperature: f64) -> Self {
        self.with_sampling(Sampling::StraightThrough(temperature))
    }

    /// Sets how the distribution is sampled.
    pub(crate) fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Returns `log p(z)` of bits, minus infinity if one is neither 0 nor 1.
    fn log_mass(&self, z: Tensor<3>) -> Tensor<2> {
        let outside = between(z.clone()).abs().sum_dim(2).squeeze_dim::<2>(2).greater_scalar(0.0);
        let logits = self.logits.clone().unsqueeze_dim::<3>(0);
        let ones = z.clone() * log_sigmoid(logits.clone());
        let zeros = z.neg().add_scalar(1.0) * log_sigmoid(logits.neg());
        (ones + zeros).sum_dim(2).squeeze_dim::<2>(2).mask_fill(outside, f64::NEG_INFINITY)
    }

    /// Returns the log-density of relaxed samples.
    fn log_density(&self, z: Tensor<3>, temperature: f64) -> Tensor<2> {
        let outside = between(z.clone()).equal_elem(0.0).float();
        let outside = outside.sum_dim(2).squeeze_dim::<2>(2).greater_scalar(0.0);
        let fixed = z.clone().detach();
        let not_below = fixed.clone().greater_scalar(LEAST).float();
        let not_above = fixed.lower_scalar(1.0 - LEAST).float();
        let z = z.clamp(LEAST, 1.0 - LEAST);
        let (log_z, log_rest) = (z.clone().log(), z.neg().log1p());
        let logits = self.logits.clone().unsqueeze_dim::<3>(0);
        let a = logits - (log_z.clone() - log_rest.clone()).mul_scalar(temperature);
        let volume = (log_z + log_rest).neg().add_scalar(temperature.ln());
        let log_prob = log_sigmoid(a.clone()) * not_below.clone()
            + log_sigmoid(a.neg()) * not_above.clone()
            + volume * (not_below * not_above);
        log_prob.sum_dim(2).squeeze_dim::<2>(2).mask_fill(outside, f64::NEG_INFINITY)
    }
}

/// `z (1 - z)`, detached. It is zero only for bits.
fn between(z: Tensor<3>) -> Tensor<3> {
    let z = z.detach();
    z.clone() * z.neg().add_scalar(1.0)
}

impl Posterior for Bernoulli {
    fn dims(&self) -> [usize; 2] {
        self.logits.dims()
    }

    /// Returns the probabilities of 1.
    fn mean(&self) -> Tensor<2> {
        sigmoid(self.logits.clone())
    }

    fn detach(&self) -> Self {
        Self { logits: self.logits.clone().detach(), ..self.clone() }
    }

    fn select(&self, places: Tensor<1, Int>) -> Self {
        Self { logits: self.logits.clone().select(0, places), ..self.clone() }
    }

    fn rsample(&self, noise: Tensor<3>) -> Tensor<3> {
        let logistic = noise.clone().log() - noise.neg().log1p();
        let s = self.logits.clone().unsqueeze_dim::<3>(0) + logistic;
        let hard = |s: Tensor<3>| s.detach().greater_scalar(0.0).float();
        let soft = |s: Tensor<3>, temperature| sigmoid(s.div_scalar(temperature));
        match self.sampling {
            Sampling::Exact => hard(s),
            Sampling::Relaxed(temperature) => soft(s, temperature).clamp(LEAST, 1.0 - LEAST),
            Sampling::StraightThrough(temperature) => {
                hard(s.clone()) + gradient_of(soft(s, temperature))
            }
        }
    }
}

impl Pointwise for Bernoulli {
    fn regroup(self, positions: usize) -> Self {
        Self { logits: regrouped(self.logits, positions), ..self }
    }
}

impl Density for Bernoulli {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        match self.sampling {
            Sampling::Relaxed(temperature) => self.log_density(z, temperature),
            Sampling::Exact | Sampling::StraightThrough(_) => self.log_mass(z),
        }
    }
}

/// The family of [`Bernoulli`] posteriors. Training relaxes it to the binary concrete distribution
/// (Maddison et al. 2017, appendix B).
///
/// Outside training it is never relaxed. The training objective depends on posterior, prior and
/// divergence together; see [`CategoricalFamily`](super::CategoricalFamily).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BernoulliFamily {
    /// The temperature of the relaxation in training.
    pub temperature: Temperature,
    /// Whether training draws exact samples with the gradients of relaxed ones.
    pub straight_through: bool,
}

impl BernoulliFamily {
    /// Describes bits with relaxed samples in training.
    pub fn new(temperature: Temperature) -> Self {
        Self { temperature, straight_through: false }
    }

    /// Draws exact samples with the gradients of relaxed ones in training.
    pub fn straight_through(self) -> Self {
        Self { straight_through: true, ..self }
    }
}

named_config!(BernoulliFamily, Bernoulli { temperature: Temperature, straight_through: bool });

/// A linear layer that outputs the logits of a [`Bernoulli`].
#[derive(Module, Debug)]
pub struct BernoulliHead {
    logits: Linear,
    #[module(skip)]
    family: BernoulliFamily,
}

impl Family for BernoulliFamily {
    type Head = BernoulliHead;

    fn init(&self, new: &NewHead) -> Result<BernoulliHead> {
        let logits = new.linear("logits")?;
        Ok(BernoulliHead { logits, family: *self })
    }
}

impl Head for BernoulliHead {
    type Posterior = Bernoulli;

    fn latent_dim(&self) -> usize {
        self.logits.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::Binary
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::new(Noise::Uniform, self.latent_dim())
    }

    fn forward(&self, features: Tensor<2>, phase: Phase) -> Bernoulli {
        let BernoulliFamily { temperature, straight_through } = self.family;
        let sampling = Sampling::of(Some(temperature), straight_through, phase);
        Bernoulli::new(linear(&self.logits, features, None)).with_sampling(sampling)
    }
}

impl Describe for BernoulliHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::linear("logits", "Linear", &self.logits).after(INPUT)]
    }
}
