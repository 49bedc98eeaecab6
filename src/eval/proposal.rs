use std::fmt::Debug;

use burn::tensor::Tensor;

use crate::adversarial::{MAX_DRAWS, draws, fitted_gaussian};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::model::Model;
use crate::noise::NoiseShape;
use crate::objective::Weights;
use crate::phase::Phase;
use crate::posterior::{Density, FullGaussian, Posterior};
use crate::prior::Distribution;
use crate::seed::Seed;

/// The source of samples for importance sampling: a distribution for each example of a batch, built
/// once for all samples.
pub trait Propose<M: Model>: Clone + Debug + Send {
    /// The distribution for each example.
    type Proposal: Posterior + Density;

    /// Checks that the proposal suits the model's codes; called by
    /// [`log_likelihood`](super::log_likelihood).
    ///
    /// # Errors
    /// If it does not.
    fn check(&self, model: &M) -> Result<()> {
        let _ = model;
        Ok(())
    }

    /// Returns the noise needed for one sample of one example.
    fn noise(&self, model: &M) -> NoiseShape;

    /// Returns the proposals `r(z|x)` for a batch of examples, `[batch, data_dim]`.
    fn propose(&self, model: &M, x: Tensor<2>) -> Self::Proposal;
}

/// Uses the model's posterior as the proposal (Burda et al. 2016, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FromPosterior;

impl<M: Model<Posterior: Density>> Propose<M> for FromPosterior {
    type Proposal = M::Posterior;

    fn noise(&self, model: &M) -> NoiseShape {
        model.noise()
    }

    fn propose(&self, model: &M, x: Tensor<2>) -> M::Posterior {
        model.posterior(x, Phase::Eval)
    }
}

/// Fits a Gaussian to draws of the posterior, which needs no density.
///
/// It has the mean and 1.2 times the covariance of the draws, plus a floor. With any proposal,
/// `p(x|z) p(z) / r(z|x)` is an unbiased estimate of `p(x)`. The draws depend only on the example,
/// so all its samples share one proposal. If the true posterior is far from Gaussian the weights
/// vary widely; see [`effective_samples`](super::LogLikelihood::effective_samples).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FittedGaussian {
    draws: usize,
}

impl FittedGaussian {
    /// Fits to `draws` draws of the posterior.
    ///
    /// # Errors
    /// If `draws` is 0 or above 65,536.
    pub fn new(draws: usize) -> Result<Self> {
        if !(1..=MAX_DRAWS).contains(&draws) {
            return Err(Error::value(format!(
                "a Gaussian cannot be fitted to {draws} draws of each posterior; use 1 to {MAX_DRAWS}"
            )));
        }
        Ok(Self { draws })
    }
}

/// Uses 256 draws.
impl Default for FittedGaussian {
    fn default() -> Self {
        Self { draws: 256 }
    }
}

impl<M: Model> Propose<M> for FittedGaussian {
    type Proposal = FullGaussian;

    fn check(&self, model: &M) -> Result<()> {
        match model.prior(Phase::Eval).support() {
            Support::Real => Ok(()),
            support => Err(Error::config(format!(
                "a fitted Gaussian has real samples, but the codes of the model are {support:?} values"
            ))),
        }
    }

    fn noise(&self, model: &M) -> NoiseShape {
        NoiseShape::normal(model.latent_dim())
    }

    fn propose(&self, model: &M, x: Tensor<2>) -> FullGaussian {
        let device = x.device();
        let q = model.posterior(x, Phase::Eval);
        let seed = Seed::new(0).child("proposal");
        fitted_gaussian(draws(&q, &model.noise(), self.draws, seed, &device).detach())
    }
}

/// A batch of examples with its proposal and prior.
pub(super) struct WeighedBatch<'a, M: Model, Q> {
    model: &'a M,
    prior: M::Prior,
    proposal: Q,
    x: Tensor<2>,
}

impl<'a, M: Model, Q: Posterior + Density> WeighedBatch<'a, M, Q> {
    pub(super) fn new(model: &'a M, proposal: Q, x: Tensor<2>) -> Self {
        Self { model, prior: model.prior(Phase::Eval), proposal, x }
    }

    /// Returns `log w_k = log p(x|z_k) + log p(z_k) - log r(z_k|x)`, `[num_samples, batch]`, in
    /// nats.
    pub(super) fn log_weights(&self, noise: Tensor<3>, seed: Seed) -> Tensor<2> {
        let samples = self.proposal.draw(noise, seed);
        let log_proposal = samples.log_prob(&self.proposal);
        Weights::of(self.model, &self.prior, self.x.clone(), &samples, log_proposal).log()
    }
}

/// Returns `log w_k = log p(x|z_k) + log p(z_k) - log r(z_k|x)` in nats for samples of a proposal.
///
/// # Shapes
/// - `x`: `[batch, data_dim]`
/// - `noise`: `[num_samples, batch, proposal.noise(model).dim()]`
/// - output: `[num_samples, batch]`
///
/// # Panics
/// If the shapes do not match.
pub fn log_weights<M: Model, R: Propose<M>>(
    model: &M,
    proposal: &R,
    x: Tensor<2>,
    noise: Tensor<3>,
    seed: Seed,
) -> Tensor<2> {
    let r = proposal.propose(model, x.clone());
    WeighedBatch::new(model, r, x).log_weights(noise, seed)
}
