//! Variational autoencoders whose posterior has no density: a discriminator beside the model.

mod discriminator;
mod moments;

pub use discriminator::{DensityRatio, Discriminator, MlpDiscriminator, MlpDiscriminatorConfig};
pub(crate) use moments::{draws, mean_and_std};

use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{ModuleConfig, init_part};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::objective::Weights;
use crate::{
    BernoulliNll, Decoder, Encoder, Implicit, ImportanceWeighted, LatentVariableModel, Likelihood,
    MlpDecoderConfig, MlpEncoderConfig, NoiseShape, Prior, Seed, StandardNormal, Vae, VaeConfig,
};
use moments::Proposal;

/// A variational autoencoder with any posterior, and a discriminator that estimates the divergence of
/// that posterior from the prior (Mescheder et al. 2017).
///
/// It is trained on [`AdversarialElbo`](crate::AdversarialElbo). What is done with the trained model is
/// done with [`vae`](Self::vae): the discriminator is of no use then.
///
/// # The likelihood
///
/// Any proposal makes `p(x|z) p(z) / r(z|x)` an unbiased estimate of `p(x)`, so the unknown density of the
/// posterior is not needed. The weights ([`ImportanceWeighted`]) are those of a Gaussian `r` with the mean
/// and 1.2 times the covariance of 256 draws of the posterior, plus a floor. The draws are a function of
/// the example alone: all samples of an example have the same proposal. Where the true posterior is far
/// from Gaussian the weights vary much; see
/// [`effective_samples`](crate::eval::LogLikelihood::effective_samples).
///
/// # Noise
///
/// That of the posterior, and behind it `latent_dim` standard normal values for the proposal.
#[derive(Module, Debug)]
pub struct AdversarialVae<E, D, L, P, T = MlpDiscriminator> {
    /// The model.
    pub vae: Vae<E, D, L, P>,
    /// The network that tells codes of the posterior from codes of the prior.
    pub discriminator: T,
}

/// So many draws of a posterior are its mean and covariance taken of.
const PROPOSAL_DRAWS: usize = 256;

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior, T: Discriminator>
    AdversarialVae<E, D, L, P, T>
{
    /// Puts a model and a discriminator together.
    ///
    /// # Errors
    /// If the discriminator is of other examples or codes, or the model is a conditional one.
    pub fn new(vae: Vae<E, D, L, P>, discriminator: T) -> Result<Self> {
        if vae.encoder.condition_dim() > 0 {
            return Err(Error::config(
                "the model is conditional: a discriminator would tell conditions apart, and not posteriors",
            ));
        }
        let found = [discriminator.data_dim(), discriminator.latent_dim()];
        let expected = [vae.data_dim(), vae.latent_dim()];
        for (what, found, expected) in
            [("examples", found[0], expected[0]), ("codes", found[1], expected[1])]
        {
            if found != expected {
                return Err(Error::config(format!(
                    "the discriminator takes {what} of length {found}, but the model's have length \
                     {expected}"
                )));
            }
        }
        Ok(Self { vae, discriminator })
    }

    /// The discriminator's parameters as Burn's optimisers and learning rates take them, so that it can
    /// have its own of both beside the model's:
    ///
    /// ```
    /// use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
    /// use burn::tensor::Device;
    /// use burn_vae::optim::Adam;
    /// use burn_vae::train::{TrainConfig, Trainer};
    /// use burn_vae::adversarial::AdversarialVaeConfig;
    /// use burn_vae::{AdversarialElbo, ModuleConfig, Seed};
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
    /// It goes by the parameters' names, and not by their ids as `ParamGroup::ids_from_module` does, which a
    /// run with checkpoints does not keep.
    pub fn discriminator_group(&self) -> ParamGroup {
        ParamGroup::from_regex(r"(^|\.)discriminator\.").expect("the pattern is a valid one")
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.vae.device()
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior, T: Discriminator> LatentVariableModel
    for AdversarialVae<E, D, L, P, T>
{
    fn data_dim(&self) -> usize {
        self.vae.data_dim()
    }

    fn noise(&self) -> NoiseShape {
        self.vae.noise().and(&NoiseShape::normal(self.vae.latent_dim()))
    }

    fn support(&self) -> Support {
        self.vae.support()
    }

    fn num_values(&self) -> usize {
        self.vae.num_values()
    }
}

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior, T: Discriminator> ImportanceWeighted
    for AdversarialVae<E, D, L, P, T>
{
    fn log_weights(&self, x: Tensor<2>, noise: Tensor<3>, _seed: Seed) -> Tensor<2> {
        let vae = self.vae.at(None);
        let q = vae.posterior(x.clone(), None);
        let seed = Seed::new(0).child("proposal");
        let proposal = Proposal::fit(draws(&vae.encoder, &q, PROPOSAL_DRAWS, seed).detach());
        let noise = noise.narrow(2, vae.noise().dim(), vae.latent_dim());
        let (z, log_prob) = proposal.draw(noise);
        Weights::new(&vae, x, z, log_prob).log()
    }
}

/// Description of an [`AdversarialVae`] through those of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdversarialVaeConfig<E, D, L, P, T = MlpDiscriminatorConfig> {
    /// The model.
    pub vae: VaeConfig<E, D, L, P>,
    /// The network that tells codes of the posterior from codes of the prior.
    pub discriminator: T,
}

impl
    AdversarialVaeConfig<MlpEncoderConfig<Implicit>, MlpDecoderConfig, BernoulliNll, StandardNormal>
{
    /// Perceptrons with the same hidden layers everywhere, in the decoder reversed; an [`Implicit`]
    /// posterior whose noise goes through the last of them once more.
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

impl<E, D, L, P, T> ModuleConfig for AdversarialVaeConfig<E, D, L, P, T>
where
    E: ModuleConfig<Module: Encoder>,
    D: ModuleConfig<Module: Decoder>,
    L: ModuleConfig<Module: Likelihood>,
    P: ModuleConfig<Module: Prior>,
    T: ModuleConfig<Module: Discriminator>,
{
    type Module = AdversarialVae<E::Module, D::Module, L::Module, P::Module, T::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        let discriminator = init_part("discriminator", &self.discriminator, seed, device)?;
        AdversarialVae::new(self.vae.init(seed, device)?, discriminator)
    }
}
