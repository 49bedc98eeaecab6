use burn::tensor::Tensor;

use super::{Inputs, Latents, Objective, Terms};
use crate::adversarial::{
    AdversarialVae, DensityRatio, Discriminator, MAX_DRAWS, draws, mean_and_std,
};
use crate::error::{Error, Result};
use crate::math::{gradient_of, mean_over_samples, normal_log_prob};
use crate::model::Model;
use crate::noise::NoiseSource;
use crate::posterior::{Density, Posterior};
use crate::prior::Distribution;
use crate::seed::Seed;

/// The negative ELBO with a divergence estimated by a discriminator, for posteriors without a
/// density: adversarial variational Bayes (Mescheder et al. 2017, algorithm 1 and eq. 3.7).
///
/// The model minimises
///
/// `-1/K sum_k log p(x|z_k) + 1/K sum_k T(x, z_k)` with `z_k ~ q(z|x)`
///
/// and the discriminator `T` minimises (eq. 3.3)
///
/// `1/K sum_k -log sigmoid(T(x, z_k)) - log(1 - sigmoid(T(x, z'_k)))` with `z'_k ~ p(z)`.
///
/// The loss is their sum. The first term treats `T` as constant, the second the samples, so a
/// single step gives each network the gradient of its own loss only.
///
/// [`Terms::nelbo`] is the first term. It is an estimate and not a bound: its quality depends on
/// the discriminator, and a weak discriminator makes it too small. Compare models by their
/// [likelihood](crate::eval::log_likelihood).
///
/// ## Adaptive contrast
///
/// If posterior and prior are far apart, a discriminator separates them easily and learns nothing
/// about their ratio. [`with_adaptive_contrast`](Self::with_adaptive_contrast) puts a Gaussian
/// `r(z|x)` with the posterior's means and variances between them (section 3.3, eq. 3.9 to 3.12):
///
/// `KL(q || p) = KL(q || r) + E_q[log r(z|x) - log p(z)]`
///
/// The second term has a closed form for each sample. The discriminator estimates the first, which
/// is small; it sees codes in units in which `r` is standard normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdversarialElbo {
    contrast_draws: usize,
}

impl AdversarialElbo {
    /// Enables adaptive contrast: the discriminator separates the posterior from a Gaussian fitted
    /// to `draws` further draws of it, instead of from the prior.
    ///
    /// # Errors
    /// If `draws` is below 2 or above 65,536.
    pub fn with_adaptive_contrast(self, draws: usize) -> Result<Self> {
        if draws < 2 {
            return Err(Error::value(format!(
                "adaptive contrast needs at least 2 draws of each posterior for a variance, not \
                 {draws}"
            )));
        }
        if draws > MAX_DRAWS {
            return Err(Error::value(format!(
                "{draws} draws of each posterior are too many for adaptive contrast: at most \
                 {MAX_DRAWS}"
            )));
        }
        Ok(Self { contrast_draws: draws })
    }

    fn contrast<M: Model>(
        &self,
        model: &M,
        prior: &M::Prior,
        q: &M::Posterior,
        z: Tensor<3>,
        seed: Seed,
    ) -> Contrast {
        let ([num_samples, batch, latent_dim], device) = (z.dims(), z.device());
        let other = seed.child("other");
        if self.contrast_draws == 0 {
            let others = prior.sample(num_samples * batch, latent_dim, other, &device);
            // Only the gradient of a learned prior is needed here; the value added is zero.
            let log_prior = prior.log_prob(z.clone().detach());
            return Contrast {
                others: others.detach().reshape([num_samples, batch, latent_dim]),
                rest: gradient_of(log_prior).neg(),
                z,
            };
        }
        let (noise, seed) = (model.noise(), seed.child("contrast"));
        let draws = draws(&q.detach(), &noise, self.contrast_draws, seed, &device);
        let [mean, std] = mean_and_std(draws);
        let log_var = std.clone().log().mul_scalar(2.0);
        let log_r = normal_log_prob(z.clone(), mean.clone(), log_var);
        Contrast {
            rest: log_r - prior.log_prob(z.clone()),
            z: (z - mean) / std,
            others: NoiseSource::new(other).draw(0, [num_samples, batch, latent_dim], &device),
        }
    }
}

/// The discriminator's two sets of samples, and the rest of the divergence per sample.
struct Contrast {
    /// Posterior samples, as the discriminator sees them.
    z: Tensor<3>,
    /// The samples to separate them from.
    others: Tensor<3>,
    /// The log ratio of the density of `others` to the prior, `[num_samples, batch]`.
    rest: Tensor<2>,
}

impl<M: Model, T: Discriminator> Objective<AdversarialVae<M, T>> for AdversarialElbo {
    fn terms(&self, model: &AdversarialVae<M, T>, inputs: Inputs) -> Terms {
        let Inputs { x, noise, phase, seed, wants_latents, .. } = inputs;
        let vae = &model.vae;
        // Encoding may move a codebook, which the prior then shares.
        let q = vae.posterior(x.clone(), phase);
        let prior = vae.prior(phase);
        let z = q.draw(noise, seed).z;
        let contrast = self.contrast(vae, &prior, &q, z.clone(), seed);

        // The model's terms, with a constant discriminator.
        let fixed = model.discriminator.clone().no_grad();
        let ratio = fixed.logits(x.clone(), contrast.z.clone()) + contrast.rest;
        let nll = mean_over_samples(vae.nll(z, x.clone()));
        let terms = Terms::new(nll, DensityRatio.kl(ratio));

        // The discriminator's loss, with constant samples.
        let of_q = model.discriminator.logits(x.clone(), contrast.z.detach());
        let of_others = model.discriminator.logits(x, contrast.others);
        let logistic = mean_over_samples(DensityRatio.loss(of_q, of_others));

        let loss = terms.loss.clone() + logistic;
        let latents = wants_latents.then(|| Latents::of(&q));
        terms.with_loss(loss).with_penalty(q.penalty()).with_latents(latents)
    }
}
