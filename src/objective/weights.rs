use burn::tensor::Tensor;

use super::Terms;
use crate::math::mean_over_samples;
use crate::{Decoder, Encoder, Likelihood, Posterior, Prior, Vae};

/// The importance weights `w_k = p(x|z_k) p(z_k) / q(z_k|x)` of samples in their parts, all
/// `[num_samples, batch]`, in nats.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    nll: Tensor<2>,
    log_prior: Tensor<2>,
    log_posterior: Tensor<2>,
}

impl Weights {
    /// The weights of `z`, `[num_samples, batch, latent_dim]`, with densities `log_posterior`.
    pub(crate) fn new<E: Encoder, D: Decoder, L: Likelihood, P: Prior>(
        vae: &Vae<E, D, L, P>,
        x: Tensor<2>,
        z: Tensor<3>,
        log_posterior: Tensor<2>,
    ) -> Self {
        Self { nll: vae.nll(z.clone(), x), log_prior: vae.prior.log_prob(z), log_posterior }
    }

    /// The same of samples that were drawn from `q`, with no gradient to the parameters of `q` but
    /// that which comes through the samples.
    pub(super) fn along_path<E: Encoder, D: Decoder, L: Likelihood, P: Prior>(
        vae: &Vae<E, D, L, P>,
        x: Tensor<2>,
        q: &E::Posterior,
        z: Tensor<3>,
    ) -> Self {
        Self::new(vae, x, z.clone(), q.detach().log_prob(z))
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
        Terms::new(nll, divergence).with_loss(nelbo.clone()).with_nelbo(nelbo)
    }
}

/// The same model as far as values go, whose generative part, decoder, likelihood and prior, takes no
/// gradient.
pub(super) fn frozen<E: Encoder, D: Decoder, L: Likelihood, P: Prior>(
    vae: &Vae<E, D, L, P>,
) -> Vae<E, D, L, P> {
    Vae {
        encoder: vae.encoder.clone(),
        decoder: vae.decoder.clone().no_grad(),
        likelihood: vae.likelihood.clone().no_grad(),
        prior: vae.prior.clone().no_grad(),
    }
}
