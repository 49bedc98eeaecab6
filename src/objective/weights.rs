use burn::tensor::Tensor;

use super::{Inputs, Latents, Terms};
use crate::math::mean_over_samples;
use crate::model::Model;
use crate::posterior::{Density, Posterior, Samples};

/// The importance weights `w_k = p(x|z_k) p(z_k) / r(z_k|x)` of samples from a proposal `r`, kept
/// as separate log terms, all `[num_samples, batch]`, in nats.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    nll: Tensor<2>,
    log_prior: Tensor<2>,
    log_proposal: Tensor<2>,
    latents: Option<Latents>,
}

impl Weights {
    /// Draws samples from the model's posterior and weighs them.
    pub(super) fn draw<M: Model<Posterior: Density>>(model: &M, inputs: Inputs) -> Self {
        let Inputs { x, noise, phase, seed, wants_latents, .. } = inputs;
        let prior = model.prior(phase);
        let q = model.posterior(x.clone(), phase);
        let samples = q.draw(noise, seed);
        let log_proposal = samples.log_prob(&q);
        Self::of(model, &prior, x, &samples, log_proposal).with_latents(wants_latents, &q)
    }

    /// Weighs samples whose log-densities under their proposal are `log_proposal`.
    pub(crate) fn of<M: Model>(
        model: &M,
        prior: &M::Prior,
        x: Tensor<2>,
        samples: &Samples,
        log_proposal: Tensor<2>,
    ) -> Self {
        let nll = model.nll(samples.z.clone(), x);
        let log_prior = prior.log_prob(samples.z.clone());
        Self { nll, log_prior, log_proposal, latents: None }
    }

    /// Attaches the posteriors if requested.
    pub(super) fn with_latents(self, wants_latents: bool, q: &impl Posterior) -> Self {
        let latents = wants_latents.then(|| Latents::of(q));
        Self { latents, ..self }
    }

    /// Returns `log w`.
    pub(crate) fn log(&self) -> Tensor<2> {
        self.log_prior.clone() - self.log_proposal.clone() - self.nll.clone()
    }

    /// Returns the terms of an objective with `bound`, `[batch]`, whose negative is the loss.
    pub(super) fn terms(&self, bound: Tensor<1>) -> Terms {
        let divergence = self.log_proposal.clone() - self.log_prior.clone();
        let (nll, divergence) =
            (mean_over_samples(self.nll.clone()), mean_over_samples(divergence));
        let nelbo = bound.neg();
        let terms = Terms::new(nll, divergence).with_loss(nelbo.clone()).with_nelbo(nelbo);
        terms.with_latents(self.latents.clone())
    }
}
