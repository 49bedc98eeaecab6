//! Variational autoencoders whose posterior has no density, trained with a discriminator.

mod discriminator;
mod moments;

pub use discriminator::{DensityRatio, Discriminator, MlpDiscriminator, MlpDiscriminatorConfig};
pub(crate) use moments::{MAX_DRAWS, draws, fitted_gaussian, mean_and_std};

use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{ModuleConfig, init_part};
use crate::decoder::MlpDecoderConfig;
use crate::encoder::MlpEncoderConfig;
use crate::error::{Error, Result};
use crate::likelihood::{BernoulliNll, Support};
use crate::model::Model;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::Implicit;
use crate::prior::StandardNormal;
use crate::seed::Seed;
use crate::vae::VaeConfig;

/// A variational autoencoder with any posterior, and a discriminator that estimates the divergence
/// from posterior to prior (Mescheder et al. 2017).
///
/// Train it on [`AdversarialElbo`](crate::objective::AdversarialElbo). After training, use
/// [`vae`](Self::vae); the discriminator is no longer needed.
///
/// Since the posterior has no density, estimate the likelihood with
/// [`FittedGaussian`](crate::eval::FittedGaussian) as the proposal.
#[derive(Module, Debug)]
pub struct AdversarialVae<M, T = MlpDiscriminator> {
    /// The model.
    pub vae: M,
    /// The network that separates posterior codes from prior codes.
    pub discriminator: T,
}

impl<M: Model, T: Discriminator> AdversarialVae<M, T> {
    /// Combines a model with a discriminator. For a conditional model the discriminator sees
    /// examples with their conditions.
    ///
    /// # Errors
    /// If the discriminator's example or code length differs from the model's.
    pub fn new(vae: M, discriminator: T) -> Result<Self> {
        let found = [discriminator.data_dim(), discriminator.latent_dim()];
        let expected = [vae.data_dim(), vae.latent_dim()];
        for (what, found, expected) in
            [("examples", found[0], expected[0]), ("codes", found[1], expected[1])]
        {
            if found != expected {
                return Err(Error::config(format!(
                    "the discriminator takes {what} of length {found}, but the model has {what} of \
                     length {expected}"
                )));
            }
        }
        Ok(Self { vae, discriminator })
    }

    /// Returns the parameter group of the discriminator for Burn's optimisers and learning rates,
    /// so that it can have its own optimiser and learning rate:
    ///
    /// ```
    /// use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    /// use burn::tensor::Device;
    /// use burn_vae::{ModuleConfig, Seed};
    /// use burn_vae::adversarial::AdversarialVaeConfig;
    /// use burn_vae::objective::AdversarialElbo;
    /// use burn_vae::optim::Adam;
    /// use burn_vae::train::{TrainConfig, Trainer};
    ///
    /// let config = AdversarialVaeConfig::mlp(784, [256], 8);
    /// let model = config.init(Seed::new(0), &Device::flex())?;
    /// let group = model.discriminator_group();
    /// let adam = Adam::new().with_betas(0.5, 0.999)?;
    /// let trainer = Trainer::new(TrainConfig::default())
    ///     .with_objective(AdversarialElbo::default())
    ///     .with_optimizer(Adam::new().init().with_group(group.clone(), adam, None))
    ///     .with_learning_rate(ModuleLrScheduler::from(1e-3).with_group(group, 2e-3));
    /// # Ok::<(), burn_vae::Error>(())
    /// ```
    ///
    /// The group matches parameter names. `ParamGroup::ids_from_module` matches ids instead, which
    /// a run with checkpoints does not preserve.
    pub fn discriminator_group(&self) -> ParamGroup {
        ParamGroup::from_regex(r"(^|\.)discriminator\.").expect("the pattern is a valid one")
    }

    /// Returns the device that holds the weights.
    pub fn device(&self) -> Device {
        self.devices().first().cloned().unwrap_or_default()
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<M: Model, T: Discriminator> Model for AdversarialVae<M, T> {
    type Posterior = M::Posterior;
    type Prior = M::Prior;

    fn data_dim(&self) -> usize {
        self.vae.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.vae.latent_dim()
    }

    fn support(&self) -> Support {
        self.vae.support()
    }

    fn noise(&self) -> NoiseShape {
        self.vae.noise()
    }

    fn num_values(&self) -> usize {
        self.vae.num_values()
    }

    fn posterior(&self, x: Tensor<2>, phase: Phase) -> M::Posterior {
        self.vae.posterior(x, phase)
    }

    fn prior(&self, phase: Phase) -> M::Prior {
        self.vae.prior(phase)
    }

    fn nll(&self, z: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        self.vae.nll(z, x)
    }

    fn with_fixed_likelihood(&self) -> Self {
        Self { vae: self.vae.with_fixed_likelihood(), ..self.clone() }
    }
}

/// Configuration of an [`AdversarialVae`], composed of those of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdversarialVaeConfig<C, T = MlpDiscriminatorConfig> {
    /// The model.
    pub vae: C,
    /// The network that separates posterior codes from prior codes.
    pub discriminator: T,
}

/// An MLP model with an [`Implicit`] posterior.
pub type ImplicitVaeConfig =
    VaeConfig<MlpEncoderConfig<Implicit>, MlpDecoderConfig, BernoulliNll, StandardNormal>;

impl AdversarialVaeConfig<ImplicitVaeConfig> {
    /// Uses MLPs with hidden layers `hidden`, reversed in the decoder, and an [`Implicit`]
    /// posterior that mixes features and noise in one further layer of the last hidden size.
    pub fn mlp(data_dim: usize, hidden: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        let hidden = hidden.into();
        let reversed = hidden.iter().rev().copied().collect::<Vec<_>>();
        let mixing = hidden.last().copied().into_iter().collect::<Vec<_>>();
        let encoder = MlpEncoderConfig::new(data_dim, hidden.clone(), latent_dim);
        Self {
            vae: VaeConfig {
                encoder: encoder.with_posterior(Implicit::new(mixing)),
                decoder: MlpDecoderConfig::new(latent_dim, reversed, data_dim),
                likelihood: BernoulliNll,
                prior: StandardNormal,
            },
            discriminator: MlpDiscriminatorConfig::new(data_dim, latent_dim, hidden),
        }
    }
}

impl<C, T> ModuleConfig for AdversarialVaeConfig<C, T>
where
    C: ModuleConfig<Module: Model>,
    T: ModuleConfig<Module: Discriminator>,
{
    type Module = AdversarialVae<C::Module, T::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let discriminator = init_part("discriminator", &self.discriminator, seed, device)?;
        AdversarialVae::new(self.vae.init(seed, device)?, discriminator)
    }
}
