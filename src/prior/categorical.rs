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
use crate::posterior::{Categorical, Density, Posterior, Sampling, Temperature, check_groups};
use crate::seed::Seed;

/// Configuration of a [`CategoricalPrior`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `categories` | | number of categories of each variable |
/// | `logits` | none | one logit per column of a code; without them all categories are equally likely, in codes of any length |
/// | `is_learned` | false | whether the logits are trained with the rest of the model |
/// | `temperature` | none | the temperature of the relaxed distribution in training |
#[derive(Clone, Debug, PartialEq)]
pub struct CategoricalPriorConfig {
    /// Number of categories of each variable.
    pub categories: usize,
    /// One logit per column of a code.
    pub logits: Option<Vec<f32>>,
    /// Whether the logits are trained with the rest of the model.
    pub is_learned: bool,
    /// The temperature of the relaxed distribution in training.
    pub temperature: Option<Temperature>,
}

named_config!(CategoricalPriorConfig, CategoricalPrior {
    categories: usize,
    logits: Option<Vec<f32>>,
    is_learned: bool,
    temperature: Option<Temperature>
});

impl CategoricalPriorConfig {
    /// Describes equally likely categories, not relaxed in training.
    pub fn new(categories: usize) -> Self {
        Self { categories, logits: None, is_learned: false, temperature: None }
    }

    /// Sets the logits, one per column of a code.
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

/// A prior over groups of categorical variables, `p(z) = prod_g softmax(l_g)_(z_g)`.
///
/// `log_prob` is the log-probability of exact samples. With a temperature it is, in training, the
/// log-density of the relaxed distribution; see
/// [`CategoricalFamily`](crate::posterior::CategoricalFamily) for valid combinations. Samples are
/// always exact.
#[derive(Module, Debug)]
pub struct CategoricalPrior {
    /// `[latent_dim]`
    logits: Option<Param<Tensor<1>>>,
    #[module(skip)]
    categories: usize,
    #[module(skip)]
    temperature: Option<Temperature>,
}

impl CategoricalPrior {
    /// Returns the distribution over codes in a phase, as a batch of one. If logits are set, the
    /// length of the codes is their number, otherwise `latent_dim`.
    ///
    /// # Panics
    /// If that length is not a multiple of the number of categories.
    pub fn bound(&self, latent_dim: usize, phase: Phase, device: &Device) -> BoundCategorical {
        let sampling = Sampling::of(self.temperature, false, phase);
        BoundCategorical(
            Categorical::new(row(&self.logits, latent_dim, device), self.categories)
                .with_sampling(sampling),
        )
    }
}

impl ModuleConfig for CategoricalPriorConfig {
    type Module = CategoricalPrior;

    fn init(&self, _seed: Seed, device: &Device) -> Result<CategoricalPrior> {
        let columns = self.logits.as_ref().map_or(self.categories, Vec::len);
        check_groups("the number of logits", columns, self.categories)?;
        Ok(CategoricalPrior {
            logits: param(self.logits.as_deref(), self.is_learned, device)?,
            categories: self.categories,
            temperature: self.temperature,
        })
    }
}

impl<E: Encoder> Prior<E> for CategoricalPrior {
    type Bound = BoundCategorical;

    fn bind(&self, encoder: &E, phase: Phase) -> BoundCategorical {
        self.bound(encoder.latent_dim(), phase, &device_of(encoder))
    }

    fn check(&self, encoder: &E) -> Result<()> {
        check_groups("latent_dim", encoder.latent_dim(), self.categories)
    }
}

/// A [`CategoricalPrior`] bound to a phase. Its samples are always exact.
#[derive(Clone, Debug)]
pub struct BoundCategorical(Categorical);

impl BoundCategorical {
    /// The distribution, as a batch of one.
    pub fn distribution(&self) -> &Categorical {
        &self.0
    }
}

impl Density for BoundCategorical {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.0.log_prob(z)
    }
}

impl Distribution for BoundCategorical {
    fn sample(
        &self,
        num_samples: usize,
        _latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let exact = self.0.clone().with_sampling(Sampling::Exact);
        draw(exact, Noise::Gumbel, num_samples, seed, device)
    }

    fn detach(&self) -> Self {
        Self(self.0.detach())
    }

    fn latent_dim(&self) -> Option<usize> {
        Some(self.0.dims()[1])
    }

    fn support(&self) -> Support {
        Support::OneHot(self.0.categories())
    }
}
