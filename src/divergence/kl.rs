use burn::tensor::Tensor;

use super::{Divergence, DivergenceTerms};
use crate::math::expm1;
use crate::{DiagonalGaussian, DiagonalPrior, Samples};

/// The Kullback-Leibler divergence in closed form.
///
/// For a diagonal Gaussian and the standard normal prior (Kingma and Welling 2014, appendix B)
///
/// `KL = 1/2 sum_j (mean_j^2 + exp(log_var_j) - 1 - log_var_j)`
///
/// and for any two diagonal Gaussians `q` and `p`, with the difference of the means `d` and of the
/// logarithms of the variances `v`,
///
/// `KL = 1/2 sum_j (d_j^2 exp(-log_var_p_j) + exp(v_j) - 1 - v_j)`
///
/// in nats. `exp(x) - 1` is taken as one function, which keeps the digits of a posterior that is close
/// to the prior.
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
/// assert_eq!(KlDivergence.between(&q, &q).into_scalar::<f32>(), 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KlDivergence;

impl KlDivergence {
    /// `KL(q || N(0, I))` of each example, `[batch]`.
    pub fn to_standard_normal(&self, q: &DiagonalGaussian) -> Tensor<1> {
        #[cfg(feature = "flex")]
        if crate::fused::runs_on(&q.mean) && crate::fused::runs_on(&q.log_var) {
            return crate::fused::gaussian::kl(q.mean.clone(), q.log_var.clone());
        }
        self.per_dimension(q).sum_dim(1).squeeze_dim(1)
    }

    /// The share of each latent dimension in [`to_standard_normal`](Self::to_standard_normal),
    /// `[batch, latent_dim]`.
    pub fn per_dimension(&self, q: &DiagonalGaussian) -> Tensor<2> {
        let (mean, log_var) = (q.mean.clone(), q.log_var.clone());
        (mean.square() + expm1(log_var.clone()) - log_var).mul_scalar(0.5)
    }

    /// `KL(q || p)` of each example, `[batch]`; `p` may be one for all examples, of batch 1.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn between(&self, q: &DiagonalGaussian, p: &DiagonalGaussian) -> Tensor<1> {
        self.to_standard_normal(&q.standardized_by(p))
    }
}

impl<P: DiagonalPrior> Divergence<DiagonalGaussian, P> for KlDivergence {
    fn terms(&self, q: &DiagonalGaussian, prior: &P, _samples: &Samples) -> DivergenceTerms {
        // The total is one operation where the engine has it; shares are seldom asked for.
        let q = prior.standardized(q);
        DivergenceTerms::new(self.to_standard_normal(&q))
            .with_shares(move || KlDivergence.per_dimension(&q))
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::NoiseSource;
    use burn::tensor::Device;

    /// The fused operation against the sum of the shares of the dimensions, value and gradients, also where
    /// variances are tiny and huge.
    #[test]
    fn fused_and_plain_agree() {
        let values = |x: Tensor<2>| x.without_autodiff().into_data().try_to_vec::<f32>().unwrap();
        let run = |log_vars: [f32; 4], is_fused: bool| {
            let device = Device::flex().autodiff();
            let mean = NoiseSource::new(1).draw(0, [1, 3, 4], &device).squeeze_dim::<2>(0);
            let log_var = Tensor::<1>::from_data(log_vars, &device).unsqueeze_dim::<2>(0);
            let [mean, log_var] = [mean, log_var.expand([3, 4])].map(|x| x.detach().require_grad());
            let q = DiagonalGaussian::new(mean.clone(), log_var.clone());
            let kl = match is_fused {
                true => KlDivergence.to_standard_normal(&q),
                false => KlDivergence.per_dimension(&q).sum_dim(1).squeeze_dim(1),
            };
            let weigh = Tensor::<1>::from_data([1.0, -2.0, 0.5], &device);
            let gradients = (kl.clone() * weigh).sum().backward();
            let gradient = |x: &Tensor<2>| values(x.grad(&gradients).unwrap());
            [values(kl.unsqueeze()), gradient(&mean), gradient(&log_var)]
        };
        for log_vars in [[0.0, 1e-4, -1e-6, 0.3], [-80.0, -3.0, 5.0, 80.0], [0.0, 0.0, 0.0, 88.0]] {
            let [fused, plain] = [true, false].map(|is_fused| run(log_vars, is_fused));
            for (fused, plain) in fused.iter().flatten().zip(plain.iter().flatten()) {
                let difference = (fused - plain).abs();
                let is_close = difference <= 2e-6 * plain.abs().max(1.0);
                assert!(is_close || fused == plain, "{fused} is not {plain} at {log_vars:?}");
            }
        }
    }
}
