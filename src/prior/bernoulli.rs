use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::discrete::{device_of, draw, param, row};
use super::{Distribution, Prior};
use crate::config::{ModuleConfig, named_config};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::likelihood::Support;
use crate::noise::Noise;
use crate::phase::Phase;
use crate::posterior::{Bernoulli, Density, Posterior, Sampling, Temperature};
use crate::seed::Seed;

/// Configuration of a [`BernoulliPrior`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `logits` | none | one logit per bit; without them all bits are fair, in codes of any length |
/// | `is_learned` | false | whether the logits are trained with the rest of the model |
/// | `temperature` | none | the temperature of the relaxed distribution in training |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BernoulliPriorConfig {
    /// One logit per bit.
    pub logits: Option<Vec<f32>>,
    /// Whether the logits are trained with the rest of the model.
    pub is_learned: bool,
    /// The temperature of the relaxed distribution in training.
    pub temperature: Option<Temperature>,
}

named_config!(BernoulliPriorConfig, BernoulliPrior {
    logits: Option<Vec<f32>>,
    is_learned: bool,
    temperature: Option<Temperature>
});

impl BernoulliPriorConfig {
    /// Describes fair bits, not relaxed in training.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the logits, one per bit.
    pub fn with_logits(self, logits: impl Into<Vec<f32>>) -> Self {
        Self { logits: Some(logits.into()), ..self }
    }

    /// Trains the logits with the rest of the model, starting from those given.
    pub fn learned(self) -> Self {
        Self { is_learned: true, ..self }
    }

    /// Relaxes the prior in training: `log_prob` is then the density of the relaxed distribution,
    /// as a relaxed posterior needs it.
    pub fn relaxed(self, temperature: Temperature) -> Self {
        Self { temperature: Some(temperature), ..self }
    }
}

/// A prior over bits, `p(z) = prod_j sigmoid(l_j)^z_j (1 - sigmoid(l_j))^(1 - z_j)`.
///
/// `log_prob` is the log-probability of bits. With a temperature it is, in training, the
/// log-density of the relaxed distribution; see
/// [`CategoricalFamily`](crate::posterior::CategoricalFamily) for valid combinations. Samples are
/// always bits.
#[derive(Module, Debug)]
pub struct BernoulliPrior {
    /// `[latent_dim]`
    logits: Option<Param<Tensor<1>>>,
    #[module(skip)]
    temperature: Option<Temperature>,
}

impl BernoulliPrior {
    /// Returns the distribution over codes in a phase, as a batch of one. If logits are set, the
    /// length of the codes is their number, otherwise `latent_dim`.
    pub fn bound(&self, latent_dim: usize, phase: Phase, device: &Device) -> BoundBernoulli {
        let sampling = Sampling::of(self.temperature, false, phase);
        BoundBernoulli(
            Bernoulli::new(row(&self.logits, latent_dim, device)).with_sampling(sampling),
        )
    }
}

impl ModuleConfig for BernoulliPriorConfig {
    type Module = BernoulliPrior;

    fn init(&self, _seed: Seed, device: &Device) -> Result<BernoulliPrior> {
        let logits = param(self.logits.as_deref(), self.is_learned, device)?;
        Ok(BernoulliPrior { logits, temperature: self.temperature })
    }
}

impl<E: Encoder> Prior<E> for BernoulliPrior {
    type Bound = BoundBernoulli;

    fn bind(&self, encoder: &E, phase: Phase) -> BoundBernoulli {
        self.bound(encoder.latent_dim(), phase, &device_of(encoder))
    }
}

/// A [`BernoulliPrior`] bound to a phase. Its samples are always exact.
#[derive(Clone, Debug)]
pub struct BoundBernoulli(Bernoulli);

impl BoundBernoulli {
    /// The distribution, as a batch of one.
    pub fn distribution(&self) -> &Bernoulli {
        &self.0
    }
}

impl Density for BoundBernoulli {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.0.log_prob(z)
    }
}

impl Distribution for BoundBernoulli {
    fn sample(
        &self,
        num_samples: usize,
        _latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let exact = self.0.clone().with_sampling(Sampling::Exact);
        draw(exact, Noise::Uniform, num_samples, seed, device)
    }

    fn detach(&self) -> Self {
        Self(self.0.detach())
    }

    fn latent_dim(&self) -> Option<usize> {
        Some(self.0.dims()[1])
    }

    fn support(&self) -> Support {
        Support::Binary
    }
}
