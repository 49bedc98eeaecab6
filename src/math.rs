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

/// The mean over the first dimension.
pub(crate) fn mean_over_samples(x: Tensor<2>) -> Tensor<1> {
    x.mean_dim(0).squeeze_dim(0)
}

/// `log(1/K sum_k exp(x_k))` over the first dimension, from `[K, batch]` to `[batch]`.
pub(crate) fn log_mean_exp(x: Tensor<2>) -> Tensor<1> {
    log_power_mean(x, 1.0)
}

/// The logarithm of the power mean of `exp(x_k)` over the first dimension, from `[K, batch]` to
/// `[batch]`:
///
/// | `power` | |
/// |---|---|
/// | any other | `1/power log(1/K sum_k exp(power x_k))` |
/// | 0 | `1/K sum_k x_k` |
/// | infinite | the largest `x_k` |
/// | negatively infinite | the smallest `x_k` |
pub(crate) fn log_power_mean(x: Tensor<2>, power: f64) -> Tensor<1> {
    // Below it the mean of the exponentials is so close to 1 that its logarithm would lose digits.
    const SMALL: f64 = 0.05;
    if power == 0.0 {
        return mean_over_samples(x);
    }
    let highest = if power > 0.0 { x.clone().max_dim(0) } else { x.clone().min_dim(0) };
    if power.is_infinite() || x.dims()[0] == 1 {
        return highest.squeeze_dim(0);
    }
    // The shift takes nothing from the gradient: it cancels.
    let highest = highest.detach();
    let exponents = (x - highest.clone()).mul_scalar(power);
    let log = match power.abs() < SMALL {
        true => expm1(exponents).mean_dim(0).log1p(),
        false => exponents.exp().mean_dim(0).log(),
    };
    (log.div_scalar(power) + highest).squeeze_dim(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn power_mean(x: &[f32], power: f64) -> f32 {
        let x = Tensor::<1>::from_data(x, &Device::flex()).unsqueeze_dim::<2>(1);
        log_power_mean(x, power).into_scalar::<f32>()
    }

    #[test]
    fn power_means_are_those_of_their_definition() {
        let x = [-3.0f32, -0.5, 1.0, 0.25];
        for power in [-4.0f64, -1.0, -0.06, -0.04, -1e-3, 1e-3, 0.04, 0.06, 0.5, 1.0, 2.0, 7.0] {
            let mean = x.iter().map(|&x| (power * f64::from(x)).exp()).sum::<f64>() / 4.0;
            let (found, expected) = (f64::from(power_mean(&x, power)), mean.ln() / power);
            assert!((found - expected).abs() < 2e-6, "power {power}: {found} is not {expected}");
        }
        assert_eq!(power_mean(&x, f64::INFINITY), 1.0);
        assert_eq!(power_mean(&x, f64::NEG_INFINITY), -3.0);
        assert_eq!(power_mean(&x, 0.0), -0.5625);
        // Close to the mean on both sides of it.
        assert!((power_mean(&x, 1e-9) + 0.5625).abs() < 1e-6);
        assert!((power_mean(&x, -1e-9) + 0.5625).abs() < 1e-6);
    }

    #[test]
    fn power_means_of_one_are_the_identity_and_large_ones_do_not_overflow() {
        for power in [f64::NEG_INFINITY, -2.0, 0.0, 1e-6, 1.0, f64::INFINITY] {
            assert_eq!(power_mean(&[-1234.5678], power), -1234.5678);
        }
        assert_eq!(power_mean(&[-2e4, -1e4], 1.0), -1e4 - 2f32.ln());
        assert_eq!(power_mean(&[3e8, 1e4], -3.0), 1e4 + 2f32.ln() / 3.0);
    }
}
