use burn::tensor::Tensor;

use super::{Inputs, Latents, Terms};
use crate::math::mean_over_samples;
use crate::{Decoder, Encoder, ExplicitPosterior, Likelihood, Posterior, Prior, Vae};

/// The importance weights `w_k = p(x|z_k) p(z_k) / q(z_k|x)` of samples in their parts, all
/// `[num_samples, batch]`, in nats.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    nll: Tensor<2>,
    log_prior: Tensor<2>,
    log_posterior: Tensor<2>,
    latents: Option<Latents>,
}

impl Weights {
    /// The weights of samples that are drawn for a batch, of a model as it is in the step.
    pub(crate) fn draw<E, D, L, P>(vae: &Vae<E, D, L, P>, inputs: Inputs) -> Self
    where
        E: Encoder<Posterior: ExplicitPosterior>,
        D: Decoder,
        L: Likelihood,
        P: Prior,
    {
        let Inputs { x, noise, step, seed, wants_latents, .. } = inputs;
        let q = vae.posterior(x.clone(), step);
        let samples = q.draw(noise, seed);
        let weights = Self::new(vae, x, samples.z.clone(), samples.log_prob(&q));
        weights.with_latents(wants_latents, &q)
    }

    /// The weights of `z`, `[num_samples, batch, latent_dim]`, with densities `log_posterior`.
    pub(crate) fn new<E: Encoder, D: Decoder, L: Likelihood, P: Prior>(
        vae: &Vae<E, D, L, P>,
        x: Tensor<2>,
        z: Tensor<3>,
        log_posterior: Tensor<2>,
    ) -> Self {
        let (nll, log_prior) = (vae.nll(z.clone(), x), vae.prior.log_prob(z));
        Self { nll, log_prior, log_posterior, latents: None }
    }

    /// The same, with what the posteriors look like where that is wanted.
    pub(super) fn with_latents(self, wants_latents: bool, q: &impl Posterior) -> Self {
        let latents = wants_latents.then(|| Latents { mean: q.latent_mean(), divergence: None });
        Self { latents, ..self }
    }

    /// `log w`
    pub(crate) fn log(&self) -> Tensor<2> {
        self.log_prior.clone() - self.log_posterior.clone() - self.nll.clone()
    }

    /// The terms of an objective with a bound of these weights, `[batch]`; the loss is the bound's
    /// negative.
    pub(super) fn terms(&self, bound: Tensor<1>) -> Terms {
        let divergence = self.log_posterior.clone() - self.log_prior.clone();
        let (nll, divergence) =
            (mean_over_samples(self.nll.clone()), mean_over_samples(divergence));
        let nelbo = bound.neg();
        let terms = Terms::new(nll, divergence).with_loss(nelbo.clone()).with_nelbo(nelbo);
        terms.with_latents(self.latents.clone())
    }
}

/// The same model as far as values go, as it is in the step, whose generative part, decoder, likelihood and
/// prior, takes no gradient.
pub(super) fn frozen<E: Encoder, D: Decoder, L: Likelihood, P: Prior>(
    vae: &Vae<E, D, L, P>,
    step: Option<u64>,
) -> Vae<E, D, L, P> {
    Vae {
        encoder: vae.encoder.clone(),
        decoder: vae.decoder.clone().no_grad(),
        likelihood: vae.likelihood.clone().no_grad(),
        prior: vae.prior.clone().no_grad().within(&vae.encoder.clone().no_grad(), step),
    }
}
