use super::{Divergence, DivergenceTerms};
use crate::error::{Error, Result};
use crate::math::{log_power_mean, mean_over_samples};
use crate::posterior::{Density, Posterior, Samples};

/// The Kullback-Leibler divergence, estimated from samples of the posterior.
///
/// `1/K sum_k log q(z_k|x) - log p(z_k)` with `z_k ~ q(z|x)`, in nats (Kingma and Welling 2014,
/// eq. 6).
///
/// Requires only the densities of posterior and prior. The estimate is unbiased, and may be
/// negative for a single example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonteCarloKl {
    along_path: bool,
}

impl MonteCarloKl {
    /// Drops the score term from the gradient: it flows through the samples alone, without the
    /// derivative of `log q` with respect to the parameters of `q`, whose mean is zero (Roeder et
    /// al. 2017). The value stays the same.
    ///
    /// When the approximate posterior equals the true one, the gradient of the ELBO with this
    /// divergence is zero for every sample, not only on average.
    pub fn sticking_the_landing(self) -> Self {
        Self { along_path: true }
    }
}

impl<Q: Posterior + Density, P: Density> Divergence<Q, P> for MonteCarloKl {
    fn terms(&self, posterior: &Q, prior: &P, samples: &Samples) -> DivergenceTerms {
        let log_posterior = match self.along_path {
            true => samples.path_log_prob(posterior),
            false => samples.log_prob(posterior),
        };
        let log_ratio = log_posterior - prior.log_prob(samples.z.clone());
        DivergenceTerms::new(mean_over_samples(log_ratio))
    }
}

/// The Renyi divergence, estimated from samples of the posterior.
///
/// `D_alpha(q || p) = 1/(alpha - 1) log 1/K sum_k (q(z_k|x) / p(z_k))^(alpha - 1)` with
/// `z_k ~ q(z|x)`, in nats (Li and Turner 2016).
///
/// The sampled form of [`RenyiDivergence`](super::RenyiDivergence), for any posterior and prior
/// with densities. With `alpha = 1` it is [`MonteCarloKl`]. For other orders the logarithm of a
/// mean makes the estimate biased; the bias shrinks as the number of samples grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MonteCarloRenyi {
    alpha: f64,
}

impl MonteCarloRenyi {
    /// A divergence of order `alpha`, which may be infinite.
    ///
    /// # Errors
    /// If `alpha` is NaN.
    pub fn new(alpha: f64) -> Result<Self> {
        Ok(Self { alpha: check_order(alpha)? })
    }
}

impl<Q: Posterior + Density, P: Density> Divergence<Q, P> for MonteCarloRenyi {
    fn terms(&self, posterior: &Q, prior: &P, samples: &Samples) -> DivergenceTerms {
        let log_ratio = samples.log_prob(posterior) - prior.log_prob(samples.z.clone());
        DivergenceTerms::new(log_power_mean(log_ratio, self.alpha - 1.0))
    }
}

pub(super) fn check_order(alpha: f64) -> Result<f64> {
    if alpha.is_nan() {
        return Err(Error::value("the order alpha of a Renyi divergence is NaN"));
    }
    Ok(alpha)
}
