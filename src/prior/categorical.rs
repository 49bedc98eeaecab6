use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Prior;
use super::discrete::{draw, param, row, sampling_at};
use crate::config::{ModuleConfig, named_config};
use crate::posterior::{Sampling, check_groups};
use crate::{Categorical, Encoder, ExplicitPosterior, Noise, Result, Seed, Support, Temperature};

/// Description of a [`CategoricalPrior`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `categories` | | categories of each variable |
/// | `logits` | none | logits, one for each column of a code; without them all categories are alike, in codes of any length |
/// | `is_learned` | false | whether the logits are trained with the rest of the model |
/// | `temperature` | none | the temperature of the relaxed distribution in training |
#[derive(Clone, Debug, PartialEq)]
pub struct CategoricalPriorConfig {
    /// Categories of each variable.
    pub categories: usize,
    /// Logits, one for each column of a code.
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
    /// All categories alike, exact in training too.
    pub fn new(categories: usize) -> Self {
        Self { categories, logits: None, is_learned: false, temperature: None }
    }

    /// Logits, one for each column of a code.
    pub fn with_logits(self, logits: impl Into<Vec<f32>>) -> Self {
        Self { logits: Some(logits.into()), ..self }
    }

    /// Logits that are trained with the rest of the model, from those given.
    pub fn learned(self) -> Self {
        Self { is_learned: true, ..self }
    }

    /// The density of the relaxed distribution as `log_prob` in training, for a relaxed posterior.
    pub fn relaxed(self, temperature: Temperature) -> Self {
        Self { temperature: Some(temperature), ..self }
    }
}

/// `p(z) = prod_g softmax(l_g)_(z_g)`, groups of categorical variables.
///
/// `log_prob` is the probability of exact samples. With a temperature it is, in training, the density of
/// the relaxed distribution; see [`CategoricalFamily`](crate::CategoricalFamily) for what goes with
/// what. Samples are always exact. Codes whose length is no whole number of groups make it panic.
#[derive(Module, Debug)]
pub struct CategoricalPrior {
    /// `[latent_dim]`
    logits: Option<Param<Tensor<1>>>,
    #[module(skip)]
    categories: usize,
    #[module(skip)]
    temperature: Option<Temperature>,
    /// As it is in the step.
    #[module(skip)]
    sampling: Sampling,
}

impl CategoricalPrior {
    /// The distribution of codes of a length as a batch of one.
    ///
    /// # Panics
    /// If codes of that length are no whole number of groups.
    pub fn distribution(&self, latent_dim: usize, device: &Device) -> Categorical {
        let logits = row(&self.logits, latent_dim, device);
        Categorical::new(logits, self.categories).with_sampling(self.sampling)
    }
}

impl ModuleConfig for CategoricalPriorConfig {
    type Module = CategoricalPrior;

    fn init(&self, _seed: Seed, device: &Device) -> Result<CategoricalPrior> {
        let columns = self.logits.as_ref().map_or(self.categories, Vec::len);
        check_groups(columns, self.categories)?;
        Ok(CategoricalPrior {
            logits: param(self.logits.as_deref(), self.is_learned, device)?,
            categories: self.categories,
            temperature: self.temperature,
            sampling: Sampling::Exact,
        })
    }
}

impl Prior for CategoricalPrior {
    fn latent_dim(&self) -> Option<usize> {
        self.logits.as_ref().map(|logits| logits.dims()[0])
    }

    fn latent_support(&self) -> Support {
        Support::OneHot(self.categories)
    }

    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        self.distribution(z.dims()[2], &z.device()).log_prob(z)
    }

    fn within<E: Encoder>(&self, _encoder: &E, step: Option<u64>) -> Self {
        Self { sampling: sampling_at(self.temperature, step), ..self.clone() }
    }

    fn sample(
        &self,
        num_samples: usize,
        latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let exact = self.distribution(latent_dim, device).with_sampling(Sampling::Exact);
        draw(exact, Noise::Gumbel, num_samples, seed, device)
    }
}
