use burn::tensor::Tensor;

use super::{Divergence, DivergenceTerms};
use crate::ops;
use crate::posterior::{DiagonalGaussian, Samples};
use crate::prior::DiagonalPrior;

/// The Kullback-Leibler divergence in closed form.
///
/// For a diagonal Gaussian and the standard normal prior (Kingma and Welling 2014, appendix B):
///
/// `KL = 1/2 sum_j (mean_j^2 + exp(log_var_j) - 1 - log_var_j)`
///
/// For two diagonal Gaussians `q` and `p`, with `d` the difference of their means and `v` the
/// difference of their log-variances:
///
/// `KL = 1/2 sum_j (d_j^2 exp(-log_var_p_j) + exp(v_j) - 1 - v_j)`
///
/// Both are in nats. `exp(x) - 1` is computed by `expm1`, which stays accurate when the posterior
/// is close to the prior.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::KlDivergence;
/// use burn_vae::posterior::DiagonalGaussian;
///
/// let device = Device::flex();
/// let q = DiagonalGaussian::new(
///     Tensor::from_data([[1.0, 2.0]], &device),
///     Tensor::zeros([1, 2], &device),
/// );
/// assert_eq!(KlDivergence.to_standard_normal(&q).into_scalar::<f32>(), 2.5);
/// assert_eq!(KlDivergence.between(&q, &q).into_scalar::<f32>(), 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KlDivergence;

impl KlDivergence {
    /// Returns `KL(q || N(0, I))` per example in nats, `[batch]`.
    pub fn to_standard_normal(&self, q: &DiagonalGaussian) -> Tensor<1> {
        ops::gaussian_kl(q.mean.clone(), q.log_var.clone())
    }

    /// Returns each latent dimension's share of [`to_standard_normal`](Self::to_standard_normal),
    /// `[batch, latent_dim]`.
    pub fn per_dimension(&self, q: &DiagonalGaussian) -> Tensor<2> {
        ops::gaussian_kl_shares(q.mean.clone(), q.log_var.clone())
    }

    /// Returns `KL(q || p)` per example in nats, `[batch]`. `p` may have batch 1, shared by all
    /// examples.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn between(&self, q: &DiagonalGaussian, p: &DiagonalGaussian) -> Tensor<1> {
        self.to_standard_normal(&q.standardized_by(p))
    }
}

impl<P: DiagonalPrior> Divergence<DiagonalGaussian, P> for KlDivergence {
    fn terms(&self, q: &DiagonalGaussian, prior: &P, _samples: &Samples) -> DivergenceTerms {
        // Engines may compute the total in one operation; shares are rarely needed.
        let q = prior.standardized(q);
        DivergenceTerms::new(self.to_standard_normal(&q))
            .with_shares(move || KlDivergence.per_dimension(&q))
    }
}
