use burn::tensor::Tensor;

use super::monte_carlo::check_order;
use super::{Divergence, DivergenceTerms};
use crate::divergence::KlDivergence;
use crate::error::{Error, Result};
use crate::math::expm1;
use crate::posterior::{DiagonalGaussian, Samples};
use crate::prior::DiagonalPrior;

/// The Renyi divergence in closed form.
///
/// `D_alpha(q || p) = 1/(alpha - 1) log E_q (q/p)^(alpha - 1)`; for diagonal Gaussians
///
/// `sum_j 1/2 (alpha d_j^2 / s_j - log(s_j) / (alpha - 1) - v_j)` with
/// `s_j = 1 + (1 - alpha) (exp(v_j) - 1)`
///
/// in nats (Gil et al. 2013, table 2). `d` is the difference of the means in standard deviations of
/// `p`, and `v` is the log ratio of the variances of `q` and `p`.
///
/// | `alpha` | value |
/// |---|---|
/// | 1 | the [`KlDivergence`] |
/// | 0 | 0 |
/// | infinite | the logarithm of the maximum of `q/p` |
/// | below 0 | `alpha / (1 - alpha) D_(1 - alpha)(p || q)`, at most 0 |
///
/// If some `s_j <= 0`, the divergence is infinite for `alpha > 1` and minus infinity for
/// `alpha < 0`. For `alpha > 1` this happens when the variance of `q` is at least
/// `alpha / (alpha - 1)` times that of `p`; for `alpha < 0`, when it is at most that fraction of
/// it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RenyiDivergence {
    alpha: f64,
}

impl RenyiDivergence {
    /// A divergence of order `alpha`, which may be infinite.
    ///
    /// # Errors
    /// If `alpha` is NaN, or minus infinity, for which the closed form is undefined.
    pub fn new(alpha: f64) -> Result<Self> {
        if alpha == f64::NEG_INFINITY {
            return Err(Error::value("the order alpha of a Renyi divergence is minus infinity"));
        }
        Ok(Self { alpha: check_order(alpha)? })
    }

    /// Returns `D_alpha(q || N(0, I))` per example in nats, `[batch]`.
    pub fn to_standard_normal(&self, q: &DiagonalGaussian) -> Tensor<1> {
        self.per_dimension(q).sum_dim(1).squeeze_dim(1)
    }

    /// Returns `D_alpha(q || p)` per example in nats, `[batch]`. `p` may have batch 1, shared by
    /// all examples.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn between(&self, q: &DiagonalGaussian, p: &DiagonalGaussian) -> Tensor<1> {
        self.to_standard_normal(&q.standardized_by(p))
    }

    /// The share of each latent dimension, `[batch, latent_dim]`.
    fn per_dimension(&self, q: &DiagonalGaussian) -> Tensor<2> {
        let (squares, v) = (q.mean.clone().square(), q.log_var.clone());
        // Beyond its pole a share is infinite and has no slope: the values computed there are
        // discarded.
        let is_beyond = |s: &Tensor<2>| s.clone().lower_equal_elem(0.0);
        let (shares, is_beyond) = if self.alpha == 1.0 {
            return KlDivergence.per_dimension(q);
        } else if self.alpha == 0.0 {
            return squares.mul_scalar(0.0);
        } else if self.alpha.is_infinite() {
            // With s in units of 1 - alpha. If q and p are equal, 0 / 0 stands for 0.
            let s = expm1(v.clone()).neg();
            let same = s.clone().equal_elem(0.0).bool_and(squares.clone().equal_elem(0.0));
            let s = s.mask_fill(same, 1.0);
            let is_beyond = is_beyond(&s);
            (squares / s.mask_fill(is_beyond.clone(), 1.0) - v, is_beyond)
        } else {
            let rest = 1.0 - self.alpha;
            // `near` is accurate around s = 1, `far` elsewhere; each sees only the values of its
            // own range.
            let is_near = expm1(v.clone()).mul_scalar(rest).abs().lower_elem(0.5);
            let near = expm1(v.clone().mask_fill(is_near.clone().bool_not(), 0.0)).mul_scalar(rest);
            // s = far exp(above), so that no exponential overflows.
            let far = v.clone().mask_fill(is_near.clone(), 0.0);
            let above = far.clone().clamp_min(0.0);
            let shrink = above.clone().neg().exp();
            let far = (far - above.clone()).exp().mul_scalar(rest);
            let far = far + shrink.clone().mul_scalar(self.alpha);
            let is_beyond = is_beyond(&far);
            let far = far.mask_fill(is_beyond.clone(), 1.0);
            let log = (far.clone().log() + above).mask_where(is_near.clone(), near.clone().log1p());
            let inverse = (shrink / far).mask_where(is_near, near.add_scalar(1.0).recip());
            (squares.mul_scalar(self.alpha) * inverse + log.div_scalar(rest) - v, is_beyond)
        };
        let limit = if self.alpha < 0.0 { f32::NEG_INFINITY } else { f32::INFINITY };
        shares.mul_scalar(0.5).mask_fill(is_beyond, limit)
    }
}

/// The chi divergence of order `n`, in closed form (Dieng et al. 2017, section 2).
///
/// `chi^n(q || p) = E_p (q/p)^n - 1 = exp((n - 1) D_n(q || p)) - 1`, where `D_n` is the
/// [`RenyiDivergence`].
///
/// It is a product over the latent dimensions, not a sum: it grows without bound with their number
/// and is infinite where the Renyi divergence is. Use it for few dimensions.
/// [`Cubo`](crate::objective::Cubo) uses this divergence in the other direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiDivergence {
    n: f64,
}

impl Default for ChiDivergence {
    /// The chi-squared divergence.
    fn default() -> Self {
        Self { n: 2.0 }
    }
}

impl ChiDivergence {
    /// A divergence of order `n`.
    ///
    /// # Errors
    /// If `n` is not above 1 and finite.
    pub fn new(n: f64) -> Result<Self> {
        if !n.is_finite() || n <= 1.0 {
            return Err(Error::value(format!(
                "the order of a chi divergence is {n}, but it must be finite and above 1"
            )));
        }
        Ok(Self { n })
    }

    /// Returns `chi^n(q || N(0, I))` per example, `[batch]`.
    pub fn to_standard_normal(&self, q: &DiagonalGaussian) -> Tensor<1> {
        let renyi = RenyiDivergence { alpha: self.n }.to_standard_normal(q);
        let exponent = renyi.mul_scalar(self.n - 1.0);
        // Infinity has no slope: its gradient must not become NaN.
        let is_infinite = exponent.clone().exp().is_inf();
        let finite = exponent.mask_fill(is_infinite.clone(), 0.0);
        expm1(finite).mask_fill(is_infinite, f32::INFINITY)
    }

    /// Returns `chi^n(q || p)` per example, `[batch]`. `p` may have batch 1, shared by all
    /// examples.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn between(&self, q: &DiagonalGaussian, p: &DiagonalGaussian) -> Tensor<1> {
        self.to_standard_normal(&q.standardized_by(p))
    }
}

impl<P: DiagonalPrior> Divergence<DiagonalGaussian, P> for RenyiDivergence {
    fn terms(&self, q: &DiagonalGaussian, prior: &P, _samples: &Samples) -> DivergenceTerms {
        DivergenceTerms::sum_of(self.per_dimension(&prior.standardized(q)))
    }
}

impl<P: DiagonalPrior> Divergence<DiagonalGaussian, P> for ChiDivergence {
    fn terms(&self, q: &DiagonalGaussian, prior: &P, _samples: &Samples) -> DivergenceTerms {
        DivergenceTerms::new(self.to_standard_normal(&prior.standardized(q)))
    }
}
