//! The mean of a logistic distribution over levels, at a cost that does not depend on their number.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use crate::math::{expm1, softplus};

/// Number of terms next to the location that are summed one by one.
const WINDOW: u32 = 16;

/// Returns `E[x]` of logistic distributions over `L` levels from 0 to 1, elementwise.
///
/// With `n = L - 1`, it is the mean over the `n` midpoints between adjacent levels of the
/// probability of exceeding the midpoint,
///
/// `1/n sum_k sigmoid((m - (k + 1/2)/n)/s)`, `k` from 0 to `n - 1`.
///
/// The terms next to `m` are summed one by one. The other terms on each side form a midpoint rule
/// for a function that is smooth there, however narrow the distribution, so they sum to its
/// integral plus the first Euler-Maclaurin correction. The remaining error is below `1e-6/n`.
pub(super) fn mean_over_levels<const D: usize>(
    location: Tensor<D>,
    log_scale: Tensor<D>,
    levels: u32,
) -> Tensor<D> {
    // In units of the distance between levels: midpoint k is at k + 1/2, the last one at n - 1/2.
    let n = f64::from(levels - 1);
    let window = f64::from(WINDOW.min(levels - 1));
    let rate = log_scale.neg().exp().div_scalar(n);
    // The location is split into two parts. The first is exact, so that a location just above a
    // midpoint stays above it.
    let coarse = location.clone().detach().mul_scalar(256.0).round().div_scalar(256.0);
    let fine = (location - coarse.clone()).mul_scalar(n);
    let coarse = coarse.mul_scalar(n);
    let first = coarse.clone() + fine.clone().detach();
    let first = first.sub_scalar(window / 2.0).round().clamp(0.0, n - window);
    let coarse = coarse - first.clone();

    let inside = (0..window as u32).fold(first.zeros_like(), |sum, k| {
        let above = coarse.clone().sub_scalar(f64::from(k) + 0.5) + fine.clone();
        sum + sigmoid(above * rate.clone())
    });
    let offset = coarse + fine;
    let below = sum_by_integral(offset.clone() + first.clone(), first.clone(), rate.clone());
    let beyond = first.neg().add_scalar(n - window);
    let above = sum_by_integral(offset.sub_scalar(window), beyond, rate);
    (below + inside + above).div_scalar(n).clamp(0.0, 1.0)
}

/// Returns `sum_k sigmoid((at - (k + 1/2)) rate)` for `k` from 0 to `len - 1`, if `at` is well
/// outside these midpoints or the rate is low.
fn sum_by_integral<const D: usize>(at: Tensor<D>, len: Tensor<D>, rate: Tensor<D>) -> Tensor<D> {
    let ends = [at.clone() * rate.clone(), (at.clone() - len.clone()) * rate.clone()];
    let [start, end] = ends.clone();
    let length = len.clone() * rate.clone();
    let slow = length.clone().lower_scalar(1.0);

    // The integral is (softplus(start) - softplus(end))/rate. Over a short interval, where the two
    // are close, it is len log(1 + sigmoid(end) (exp(length) - 1))/length, and zero for length 0.
    let short = length.mask_fill(slow.clone().bool_not(), 1.0).clamp_min(1e-30);
    let rise = sigmoid(end.clone()) * expm1(short.clone());
    let slow_integral = len.clone() * (rise.log1p() / short);
    // Over a long interval, softplus(x) = max(x, 0) + softplus(-|x|), and the difference of the
    // first terms is taken without rounding.
    let [bend, other_bend] = [start, end].map(|x| softplus(x.abs().neg()));
    let bends = (bend - other_bend) / rate.clone().mask_fill(slow.clone(), 1.0);
    let fast_integral = at.clamp_min(0.0).min_pair(len) + bends;

    let [start, end] = ends.map(|x| sigmoid(x.clone()) * sigmoid(x.neg()));
    let correction = (end - start) * rate.div_scalar(24.0);
    fast_integral.mask_where(slow, slow_integral) + correction
}
