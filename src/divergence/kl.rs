use burn::tensor::Tensor;

use super::Divergence;
use crate::math::expm1;
use crate::{DiagonalGaussian, Samples, StandardNormal};

/// The Kullback-Leibler divergence in closed form.
///
/// For a diagonal Gaussian and the standard normal prior (Kingma and Welling 2014, appendix B)
///
/// `KL = 1/2 sum_j (mean_j^2 + exp(log_var_j) - 1 - log_var_j)`
///
/// in nats. `exp(log_var) - 1` is taken as one function, which keeps the digits of a posterior that
/// is close to the prior.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::{DiagonalGaussian, KlDivergence};
///
/// let device = Device::flex();
/// let q = DiagonalGaussian::new(
///     Tensor::from_data([[1.0, 2.0]], &device),
///     Tensor::zeros([1, 2], &device),
/// );
/// assert_eq!(KlDivergence.to_standard_normal(&q).into_scalar::<f32>(), 2.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KlDivergence;

impl KlDivergence {
    /// `KL(q || N(0, I))` of each example, `[batch]`.
    pub fn to_standard_normal(&self, q: &DiagonalGaussian) -> Tensor<1> {
        self.per_dimension(q).sum_dim(1).squeeze_dim(1)
    }

    /// The share of each latent dimension in [`to_standard_normal`](Self::to_standard_normal),
    /// `[batch, latent_dim]`.
    pub fn per_dimension(&self, q: &DiagonalGaussian) -> Tensor<2> {
        let (mean, log_var) = (q.mean.clone(), q.log_var.clone());
        (mean.square() + expm1(log_var.clone()) - log_var).mul_scalar(0.5)
    }
}

impl Divergence<DiagonalGaussian, StandardNormal> for KlDivergence {
    fn forward(
        &self,
        posterior: DiagonalGaussian,
        _prior: &StandardNormal,
        _samples: &Samples,
    ) -> (DiagonalGaussian, Tensor<1>) {
        let divergence = self.to_standard_normal(&posterior);
        (posterior, divergence)
    }

    fn per_dimension(&self, q: &DiagonalGaussian, _prior: &StandardNormal) -> Option<Tensor<2>> {
        Some(KlDivergence::per_dimension(self, q))
    }
}
