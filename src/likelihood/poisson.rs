use burn::module::Module;
use burn::tensor::Tensor;
use rand::Rng;
use rand_distr::Distribution;

use super::draw::draw;
use super::{InverseLink, Likelihood, Support};
use crate::config::unit_config;
use crate::math::{LN_2PI, exp_residual, stirling_error};
use crate::seed::Seed;

/// Negative log-likelihood of a Poisson distribution given by the logarithm of its rate.
///
/// For the log-rate `l` of a count `x`
///
/// `-log p(x|l) = exp(l) - x l + log x!`, with the gradient `exp(l) - x`,
///
/// in nats, summed over the values. It is computed in the saddle-point form of Loader (2000), which
/// avoids subtracting large numbers: with `d = l - log x`
///
/// `-log p(x|l) = x (exp(d) - 1 - d) + 1/2 log(2 pi x) + delta(x)` for `x > 0`, and `exp(l)` for 0,
///
/// where `delta` is the error of Stirling's formula. Rates above `exp(88)` overflow.
#[derive(Module, Debug, Default, PartialEq)]
pub struct PoissonNll;

/// The part of `-log p` that does not depend on the parameters, `1/2 log(2 pi x) + delta(x)`, from
/// `x` and `log x`.
pub(super) fn saddle_point_norm<const D: usize>(x: Tensor<D>, log_x: Tensor<D>) -> Tensor<D> {
    log_x.add_scalar(LN_2PI).mul_scalar(0.5) + stirling_error(x)
}

/// Draws from the Poisson distribution of `rate`. If that distribution cannot be constructed,
/// returns `rate` itself: its deviation is then below the resolution of a 32-bit float.
pub(super) fn draw_count(rate: f64, rng: &mut impl Rng) -> f64 {
    rand_distr::Poisson::new(rate).map_or(rate, |poisson| poisson.sample(rng))
}

impl Likelihood for PoissonNll {
    fn support(&self) -> Support {
        Support::Count
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let x = x.unsqueeze_dim::<3>(0);
        let zero = x.clone().equal_scalar(0.0);
        // The input of each branch is masked to its own range, so that no gradient of the other
        // branch is multiplied by zero.
        let x = x.mask_fill(zero.clone(), 1.0);
        let zero = zero.expand(params.dims());
        let log_x = x.clone().log();
        let excess = params.clone().mask_fill(zero.clone(), 0.0) - log_x.clone();
        let above = exp_residual(excess) * x.clone() + saddle_point_norm(x, log_x);
        let at_zero = params.mask_fill(zero.clone().bool_not(), 0.0).exp();
        above.mask_where(zero, at_zero).sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        params.exp()
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        Some(InverseLink::Exp)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        draw([params], seed, |[log_rate], rng| draw_count(log_rate.exp(), rng))
    }
}

unit_config!(PoissonNll);
