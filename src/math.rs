//! The few functions Burn's tensors lack, in forms that keep their digits.

use burn::tensor::Tensor;

/// `ln(2 pi)`.
pub(crate) const LN_2PI: f64 = 1.837_877_066_409_345_5;

/// `exp(x) - 1` without the cancellation near zero, as `tanh(x/2) (exp(x) + 1)`.
pub(crate) fn expm1<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone().mul_scalar(0.5).tanh() * x.exp().add_scalar(1.0)
}

/// `log N(z; mean, exp(log_var))` summed over the last of three dimensions.
///
/// `mean` and `log_var` broadcast against `z`, `[num_samples, batch, dim]`.
pub(crate) fn normal_log_prob(z: Tensor<3>, mean: Tensor<3>, log_var: Tensor<3>) -> Tensor<2> {
    let scaled = (z - mean) * log_var.clone().mul_scalar(-0.5).exp();
    (scaled.square() + log_var).add_scalar(LN_2PI).sum_dim(2).squeeze_dim(2).mul_scalar(-0.5)
}
