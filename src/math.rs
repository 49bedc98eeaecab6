//! Functions missing from Burn's tensors, in numerically stable forms.

use burn::tensor::{Tensor, activation};

/// `ln(2 pi)`.
pub(crate) const LN_2PI: f64 = 1.837_877_066_409_345_5;

/// `exp(x) - 1` without cancellation near zero, as `tanh(x/2) (exp(x) + 1)`.
pub(crate) fn expm1<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // tanh is 1 from 30 on; clamping keeps its zero slope from being multiplied by an infinite
    // exponential.
    x.clone().clamp_max(30.0).mul_scalar(0.5).tanh() * x.exp().add_scalar(1.0)
}

/// Zero, with the gradient of `x`.
pub(crate) fn gradient_of<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() - x.detach()
}

/// `exp(x) - 1 - x` without cancellation near zero.
pub(crate) fn exp_residual<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    // Each side sees only the values of its own range, so that the other side's gradient, which may
    // be infinite, is not multiplied by zero.
    let near = x.clone().abs().lower_scalar(1.0);
    let small = x.clone().mask_fill(near.clone().bool_not(), 0.0);
    let large = x.mask_fill(near.clone(), 1.0);
    let far = large.clone().exp() - large.add_scalar(1.0);
    far.mask_where(near, expm1(small.clone()) - small)
}

/// The sum of all elements, taken row by row: on `flex`, a sum over millions of values at once
/// varies between runs.
pub(crate) fn sum_by_rows<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.sum_dim(D - 1).sum()
}

/// `log(1 + exp(x))`, with accurate values and gradients on both sides.
pub(crate) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::softplus(x, 1.0)
}

/// `log sum exp(x)` over a dimension, which is kept with length 1. The gradient of infinite results
/// is zero.
pub(crate) fn log_sum_exp<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    // The shift cancels out of the gradient, so it is detached.
    let highest = x.clone().detach().max_dim(dim);
    let is_infinite = highest.clone().is_inf();
    let differences = x - highest.clone();
    let shifted = differences.clone().mask_fill(is_infinite.expand(differences.dims()), 0.0);
    shifted.exp().sum_dim(dim).log() + highest
}

/// The error of Stirling's formula for the factorial of `x > 0`,
///
/// `delta(x) = log Gamma(x) - ((x - 1/2) log x - x + log(2 pi)/2)`,
///
/// accurate to 2e-7. Following Loader (2000), it applies
/// `delta(x) = delta(x + 1) + (x + 1/2) log(1 + 1/x) - 1` three times and then
/// `1/(12x) - 1/(360x^3) + 1/(1260x^5) - 1/(1680x^7) + 1/(1188x^9)`.
pub(crate) fn stirling_error<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let mut sum = x.zeros_like();
    let mut x = x;
    for _ in 0..3 {
        let step = x.clone().add_scalar(0.5) * x.clone().recip().log1p();
        sum = sum + step.sub_scalar(1.0);
        x = x.add_scalar(1.0);
    }
    let inverse = x.recip();
    let square = inverse.clone().square();
    let series = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0];
    sum + polynomial(square, &series) * inverse
}

/// `sum_i c_i x^i`
pub(crate) fn polynomial<const D: usize>(x: Tensor<D>, coefficients: &[f64]) -> Tensor<D> {
    let highest_first = coefficients.iter().rev();
    highest_first.fold(x.zeros_like(), |sum, &c| (sum * x.clone()).add_scalar(c))
}

/// `log(sinh(x/2)/(x/2))` for `|x| <= 1`, by its power series.
pub(crate) fn log_sinhc_half<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let square = x.square();
    let even = [1.0 / 24.0, -1.0 / 2880.0, 1.0 / 181_440.0, -1.0 / 9_676_800.0];
    polynomial(square.clone(), &even) * square
}

/// `log(1 - exp(-exp(v)))`; tends to `v` when `exp(v)` is too small for a 32-bit float.
pub(crate) fn log_one_minus_exp_neg_exp<const D: usize>(v: Tensor<D>) -> Tensor<D> {
    // Each side sees only the values of its own range, so that no infinite gradient is multiplied
    // by zero.
    let near = v.clone().lower_scalar(0.0);
    let small = v.clone().mask_fill(near.clone().bool_not(), 0.0);
    let large = v.mask_fill(near.clone(), 0.0);
    // 1 - exp(-w) = w exp(-w/2) sinh(w/2)/(w/2)
    let w = small.clone().exp();
    let near_value = small - w.clone().mul_scalar(0.5) + log_sinhc_half(w);
    large.exp().neg().exp().neg().log1p().mask_where(near, near_value)
}

/// `log(1 + q)/q` for `q` from 0 to 1, as `2/(2 + q) atanh(s)/s` with `s = q/(2 + q)`, which avoids
/// dividing by a value that may be zero.
pub(crate) fn log1p_ratio<const D: usize>(q: Tensor<D>) -> Tensor<D> {
    let inverse = q.clone().add_scalar(2.0).recip();
    let square = (q * inverse.clone()).square();
    let series = [1.0, 1.0 / 3.0, 0.2, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0];
    polynomial(square, &series) * inverse.mul_scalar(2.0)
}

/// `sech(x)^2`: near zero `1 - tanh(x)^2`, elsewhere a form that does not cancel for large `x`.
pub(crate) fn sech_squared<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let near = x.clone().abs().lower_scalar(1.0);
    let twice = x.clone().mul_scalar(2.0);
    let far = activation::sigmoid(twice.clone()) * activation::sigmoid(twice.neg());
    let near_value = x.tanh().square().neg().add_scalar(1.0);
    far.mul_scalar(4.0).mask_where(near, near_value)
}

/// `d exp(-v)` for `v` from -170 to 170, in two halves, so that a zero `d` gives zero even if the
/// scale is too small for a 32-bit float.
pub(crate) fn standardize<const D: usize>(d: Tensor<D>, v: Tensor<D>) -> Tensor<D> {
    let half = v.mul_scalar(-0.5).exp();
    d * half.clone() * half
}

/// `log N(z; mean, exp(log_var))` summed over the last of three dimensions.
///
/// `mean` and `log_var` broadcast against `z`, `[num_samples, batch, dim]`.
pub(crate) fn normal_log_prob(z: Tensor<3>, mean: Tensor<3>, log_var: Tensor<3>) -> Tensor<2> {
    let scaled = standardize(z - mean, log_var.clone().mul_scalar(0.5));
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
/// | `power` | mean |
/// |---|---|
/// | finite, not 0 | `1/power log(1/K sum_k exp(power x_k))` |
/// | 0 | `1/K sum_k x_k` |
/// | infinite | the maximum of `x_k` |
/// | minus infinity | the minimum of `x_k` |
///
/// The gradient of infinite results is zero, such as when every `exp(x_k)` is 0.
pub(crate) fn log_power_mean(x: Tensor<2>, power: f64) -> Tensor<1> {
    // Below it the mean of the exponentials is so close to 1 that its logarithm loses digits.
    const SMALL: f64 = 0.05;
    if power == 0.0 {
        return mean_over_samples(x);
    }
    let highest = if power > 0.0 { x.clone().max_dim(0) } else { x.clone().min_dim(0) };
    if power.is_infinite() || x.dims()[0] == 1 {
        return highest.squeeze_dim(0);
    }
    // The shift cancels out of the gradient, so it is detached.
    let highest = highest.detach();
    let is_infinite = highest.clone().is_inf();
    let exponents = (x - highest.clone()).mul_scalar(power);
    let columns = is_infinite.expand(exponents.dims());
    let exponents = exponents.mask_fill(columns, 0.0); // the mean is infinite in any case
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

    /// Returns value and derivative of a function at each point.
    fn differentiate(at: &[f32], f: impl Fn(Tensor<1>) -> Tensor<1>) -> Vec<[f64; 2]> {
        let x = Tensor::<1>::from_data(at, &Device::flex().autodiff()).require_grad();
        let y = f(x.clone());
        let slope = x.grad(&y.clone().sum().backward()).unwrap();
        let list = |t: Tensor<1>| t.into_data().iter::<f64>().collect::<Vec<_>>();
        // A sum has a single value, repeated for all points.
        list(y).into_iter().cycle().zip(list(slope)).map(|(value, slope)| [value, slope]).collect()
    }

    #[test]
    fn stirling_errors_are_those_of_the_log_gamma_function() {
        use statrs::function::gamma::{digamma, ln_gamma};
        let at = [1e-6f32, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 7.3, 20.0, 150.0];
        for (&x, found) in at.iter().zip(differentiate(&at, stirling_error)) {
            let x = f64::from(x);
            let value = ln_gamma(x) - ((x - 0.5) * x.ln() - x + LN_2PI / 2.0);
            let slope = digamma(x) - (x.ln() - 0.5 / x);
            assert!(
                (found[0] - value).abs() < 2e-7 * value.abs().max(1.0),
                "{x}: {found:?} {value}"
            );
            // The slope in log x is what matters.
            assert!((found[1] - slope).abs() * x < 5e-7, "{x}: {found:?} {slope}");
        }
        // Beyond, where the differences above lose their digits, compare with the first term of the
        // series.
        for (x, found) in
            [1e4f32, 1e8, 1e30].iter().zip(differentiate(&[1e4, 1e8, 1e30], stirling_error))
        {
            assert!((found[0] - 1.0 / (12.0 * f64::from(*x))).abs() < 2e-7, "{x}: {found:?}");
        }
    }

    #[test]
    fn exp_residuals_and_their_slopes_keep_their_digits() {
        let at = [-1e4f32, -90.0, -1.0, -0.99, -1e-3, 0.0, 1e-4, 0.5, 1.0, 3.0, 80.0];
        for (&x, found) in at.iter().zip(differentiate(&at, exp_residual)) {
            let x = f64::from(x);
            let (value, slope) = (x.exp_m1() - x, x.exp_m1());
            // The error is that of x and of its exponential, whose difference the value is.
            assert!(
                (found[0] - value).abs() <= 3e-7 * x.abs().max(value),
                "{x}: {found:?} {value}"
            );
            assert!(
                (found[1] - slope).abs() <= 3e-7 * slope.abs().max(1.0),
                "{x}: {found:?} {slope}"
            );
        }
        assert_eq!(differentiate(&[100.0], exp_residual), [[f64::INFINITY; 2]]);
    }

    #[test]
    fn extreme_arguments_keep_their_digits() {
        let close = |x: f32, found: [f64; 2], expected: [f64; 2]| {
            for (found, expected) in found.iter().zip(expected) {
                let error = (found - expected).abs();
                assert!(error <= 1e-6 * expected.abs() + 1e-37, "{x}: {found} is not {expected}");
            }
        };
        // log(1 - exp(-w)) and its slope w/(exp(w) - 1) in log w.
        let at = [-120.0f32, -91.0, -10.0, -1.0, -1e-3, 0.0, 0.5, 2.0];
        for (&v, found) in at.iter().zip(differentiate(&at, log_one_minus_exp_neg_exp)) {
            let w = f64::from(v).exp();
            let value = match w < 1.0 {
                true => (-(-w).exp_m1()).ln(),
                false => (-(-w).exp()).ln_1p(),
            };
            close(v, found, [value, w / w.exp_m1()]);
        }
        let at = [0.0f32, 1e-38, 1e-6, 0.03, 0.5, 0.9, 1.0];
        for (&q, found) in at.iter().zip(differentiate(&at, log1p_ratio)) {
            let q = f64::from(q);
            let (value, slope) = match q < 1e-4 {
                true => (1.0 - q / 2.0, -0.5 + 2.0 * q / 3.0),
                false => (q.ln_1p() / q, (1.0 / (1.0 + q) - q.ln_1p() / q) / q),
            };
            close(q as f32, found, [value, slope]);
        }
        let at = [0.0f32, 1e-3, -1.0, 5.0, -9.0, 20.0, 40.0];
        for (&x, found) in at.iter().zip(differentiate(&at, sech_squared)) {
            let x = f64::from(x);
            let value = x.cosh().powi(-2);
            close(x as f32, found, [value, -2.0 * x.tanh() * value]);
        }
        for v in [-160.0, -100.0, 100.0] {
            let zero =
                differentiate(&[0.0], |d| standardize(d, Tensor::full([1], v, &Device::flex())));
            assert_eq!(zero[0][0], 0.0);
        }
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        let at = [1e4f32, 1e4, -1e4];
        let found = differentiate(&at, |x| log_sum_exp(x, 0));
        assert_eq!(found[0], [f64::from(1e4f32 + 2f32.ln()), 0.5]);
    }

    /// Infinite results have a known value and a gradient of zero.
    #[test]
    fn infinite_means_stand_still() {
        let (inf, ninf) = (f32::INFINITY, f32::NEG_INFINITY);
        type Means = fn(Tensor<1>, f64) -> Tensor<1>;
        let mean: Means = |x, power| log_power_mean(x.unsqueeze_dim::<2>(1), power);
        let sum: Means = |x, _| log_sum_exp(x, 0);
        for (f, power, at, expected) in [
            (mean, 1.0, [ninf; 2], ninf),
            (mean, 0.01, [ninf; 2], ninf),
            (mean, -1.0, [ninf, 3.0], ninf),
            (mean, 2.0, [inf, 3.0], inf),
            (mean, -0.01, [inf; 2], inf),
            (sum, 0.0, [ninf; 2], ninf),
            (sum, 0.0, [inf, 3.0], inf),
        ] {
            let found = differentiate(&at, |x| f(x, power));
            assert_eq!(found[0][0], f64::from(expected), "power {power}");
            assert!(found.iter().all(|found| found[1] == 0.0), "power {power}: {found:?}");
        }
        // A single exp(-inf) among others counts as zero.
        let found = differentiate(&[ninf, 2.0], |x| mean(x, 1.0));
        assert!((found[0][0] - (2.0 - 2f64.ln())).abs() < 1e-6);
        assert_eq!([found[0][1], found[1][1]], [0.0, 1.0]);
    }

    #[test]
    fn exponentials_that_overflow_have_the_slope_of_their_values() {
        for (at, expected) in
            [(88.0f32, 88f64.exp()), (30.5, 30.5f64.exp_m1()), (95.0, f64::INFINITY)]
        {
            let found = differentiate(&[at], expm1)[0];
            for found in found {
                let is_close = (found - expected).abs() < 1e-6 * expected;
                assert!(found == expected || is_close, "{at}: {found} is not {expected}");
            }
        }
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
