use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use rand::RngExt;

use super::draw::draw;
use super::{Likelihood, Support};
use crate::config::unit_config;
use crate::math::{log_sinhc_half, polynomial};
use crate::seed::Seed;

/// Negative log-likelihood of a continuous Bernoulli distribution given by logits.
///
/// For the logit `l` of a value `x` in `[0, 1]`
///
/// `-log p(x|l) = softplus(l) - x l - log C(l)`, with `C(l) = l / tanh(l/2)` and `C(0) = 2`,
///
/// in nats, summed over the values (Loaiza-Ganem and Cunningham 2019). It is the likelihood of
/// [`BernoulliNll`](crate::BernoulliNll) with the normalising constant that makes it a density of
/// grey values. Because it is a density, `-log p` may be negative. The gradient is `E[x|l] - x`
/// with the mean
///
/// `E[x|l] = 1/(1 - exp(-l)) - 1/l`, and `1/2` at 0.
///
/// Every finite logit yields a finite value and gradient: the terms in `l` alone are combined into
/// `log((exp(l) - 1)/l)`, which is computed from a series if `|l| < 1`. A value that is 0 in all
/// examples, or 1 in all, such as a pixel at the border of an image, drives its logit to infinity,
/// though ever more slowly, because its density keeps growing.
#[derive(Module, Debug, Default, PartialEq)]
pub struct ContinuousBernoulliNll;

/// Logits below this magnitude use the series, which keep seven digits there.
const SMALL: f64 = 1.0;

impl Likelihood for ContinuousBernoulliNll {
    fn support(&self) -> Support {
        Support::UnitInterval
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let near = params.clone().abs().lower_scalar(SMALL);
        // The input of each branch is masked to its own range, so that no gradient of the other
        // branch is multiplied by zero.
        let small = params.clone().mask_fill(near.clone().bool_not(), 0.0);
        let large = params.clone().mask_fill(near.clone(), 2.0);

        // log((exp(l) - 1)/l) = l/2 + log(sinh(l/2)/(l/2))
        let near_rest = log_sinhc_half(small.clone());
        // log((exp(l) - 1)/l) = max(l, 0) + log(1 - exp(-|l|)) - log|l|
        let size = large.clone().abs();
        let far_rest = size.clone().neg().exp().neg().log1p() - size.log();

        // The terms that grow with l are combined first, so that they cancel before digits are
        // lost.
        let lead = relu(large).mask_where(near.clone(), small.mul_scalar(0.5));
        let nll = (lead - params * x.unsqueeze_dim(0)) + far_rest.mask_where(near, near_rest);
        nll.sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        let near = params.clone().abs().lower_scalar(SMALL);
        let small = params.clone().mask_fill(near.clone().bool_not(), 0.0);
        let large = params.mask_fill(near.clone(), 2.0);

        let odd = [1.0 / 12.0, -1.0 / 720.0, 1.0 / 30_240.0, -1.0 / 1_209_600.0];
        let series = polynomial(small.clone().square(), &odd) * small;
        let size = large.clone().abs();
        let decay = size.clone().neg().exp();
        let distance = size.recip() - decay.clone() / decay.neg().add_scalar(1.0);
        let above = large.clone().greater_scalar(0.0).float();
        (above - distance * large.sign()).mask_where(near, series.add_scalar(0.5))
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        draw([params], seed, |[logit], rng| {
            let uniform = rng.random::<f64>();
            // Inverts (exp(-|l|x) - 1)/(exp(-|l|) - 1), the distribution function for a negative
            // logit. For a positive one, 1 - x has the distribution of the negative one.
            let size = logit.abs();
            let x = match size > 1e-9 {
                true => -(uniform * (-size).exp_m1()).ln_1p() / size,
                false => uniform,
            };
            if logit > 0.0 { 1.0 - x } else { x }.clamp(0.0, 1.0)
        })
    }
}

unit_config!(ContinuousBernoulliNll);
