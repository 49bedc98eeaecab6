use super::weights::Weights;
use super::{Inputs, Objective, Terms};
use crate::error::{Error, Result};
use crate::math::log_power_mean;
use crate::model::Model;
use crate::posterior::{Density, Posterior};
use crate::prior::Distribution;

/// The negative variational Renyi bound (Li and Turner 2016, sections 3 and 4).
///
/// `L_alpha(x) = 1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha)` with
/// `w_k = p(x|z_k) p(z_k) / q(z_k|x)`
///
/// | `alpha` | bound |
/// |---|---|
/// | 1 | the ELBO, `1/K sum_k log w_k` |
/// | 0 | the bound of [`Iwae`](super::Iwae) |
/// | above 0 | a lower bound on `log p(x)` |
/// | below 0 | an upper bound in the limit of many samples; with few it may be below `log p(x)` |
/// | minus infinity | VR-max, the maximum of `log w_k` (section 4.2) |
/// | infinite | the minimum of `log w_k` |
///
/// The bound decreases with `alpha` for every set of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenyiBound {
    alpha: f64,
}

impl RenyiBound {
    /// A bound of order `alpha`, which may be infinite.
    ///
    /// # Errors
    /// If `alpha` is NaN, or if it is finite with a magnitude above `1e30`, for which powers of the
    /// weights overflow.
    pub fn new(alpha: f64) -> Result<Self> {
        if alpha.is_nan() {
            return Err(Error::value("the order alpha of a Renyi bound is NaN"));
        }
        if alpha.is_finite() && alpha.abs() > 1e30 {
            return Err(Error::value(format!(
                "the order alpha of a Renyi bound is {alpha:e}, but beyond 1e30 it must be infinite"
            )));
        }
        Ok(Self { alpha })
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for RenyiBound {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let weights = Weights::draw(model, inputs);
        weights.terms(log_power_mean(weights.log(), 1.0 - self.alpha))
    }
}

/// The chi upper bound (Dieng et al. 2017, section 2).
///
/// `CUBO_n(x) = 1/n log 1/K sum_k w_k^n >= log p(x)` with `w_k = p(x|z_k) p(z_k) / q(z_k|x)`, which
/// in the limit of many samples equals `log p(x) + 1/n log(1 + chi^n(p(z|x) || q(z|x)))`.
///
/// Minimising an upper bound fits the posterior to a given model; decoder, likelihood and prior
/// receive no gradient. The divergence has the direction opposite to the ELBO's, so the fit covers
/// all of the true posterior. [`Terms::nelbo`] is `CUBO_n` itself here; lower is better.
///
/// With finitely many samples the estimate is biased downwards by the logarithm: it bounds
/// `log p(x)` only in the limit.
///
/// Batch normalisation in the decoder still updates its moving averages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cubo {
    n: f64,
}

impl Default for Cubo {
    /// The bound of the chi-squared divergence, `n = 2`.
    fn default() -> Self {
        Self { n: 2.0 }
    }
}

impl Cubo {
    /// A bound of order `n`.
    ///
    /// # Errors
    /// If `n` is below 1 or not finite.
    pub fn new(n: f64) -> Result<Self> {
        if !n.is_finite() || n < 1.0 {
            return Err(Error::value(format!(
                "the order of a chi bound is {n}, but it must be finite and at least 1"
            )));
        }
        Ok(Self { n })
    }
}

impl<M: Model<Posterior: Density>> Objective<M> for Cubo {
    fn terms(&self, model: &M, inputs: Inputs) -> Terms {
        let Inputs { x, noise, phase, seed, wants_latents, .. } = inputs;
        let prior = model.prior(phase).detach();
        let q = model.posterior(x.clone(), phase);
        let samples = q.draw(noise, seed);
        let (fixed, log_proposal) = (model.with_fixed_likelihood(), samples.log_prob(&q));
        let weights = Weights::of(&fixed, &prior, x, &samples, log_proposal);
        let weights = weights.with_latents(wants_latents, &q);
        let bound = log_power_mean(weights.log(), self.n);
        weights.terms(bound.neg())
    }
}
