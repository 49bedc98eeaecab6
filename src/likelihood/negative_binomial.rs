use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use rand_distr::{Distribution, Gamma};

use super::draw::draw;
use super::poisson::{draw_count, saddle_point_norm};
use super::{Likelihood, Scale, ScaleConfig, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::Result;
use crate::math::{exp_residual, log1p_ratio, softplus, stirling_error};
use crate::seed::Seed;

/// Configuration of a [`NegativeBinomialNll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NegativeBinomialNllConfig {
    /// The total count.
    pub total_count: ScaleConfig,
}

impl NegativeBinomialNllConfig {
    /// Describes a negative binomial distribution with the given total count.
    pub fn new(total_count: ScaleConfig) -> Self {
        Self { total_count }
    }
}

/// Negative log-likelihood of a negative binomial distribution given by the logarithm of its mean.
///
/// For the log-mean `l`, the mean `m = exp(l)`, and the total count `r > 0` of a count `x`
///
/// `p(x|l, r) = Gamma(x + r)/(x! Gamma(r)) (r/(r + m))^r (m/(r + m))^x`;
///
/// `-log p` is in nats, summed over the values. The variance is `m + m^2/r`, so the total count is
/// the inverse of the dispersion. The distribution is that of a Poisson variable whose rate is
/// drawn from a gamma distribution of shape `r`, and approaches Poisson's as `r` grows. The total
/// count is a [`Scale`], so it may be constant, learned or predicted by the decoder, and may have a
/// floor. With one per value it is the likelihood of Lopez et al. (2018, "scVI") without zero
/// inflation.
///
/// It is computed in the saddle-point form of Loader (2000), which avoids subtracting large
/// numbers. With `f(t) = exp(t) - 1 - t`, `t_x = log(m/(r + m)) - log(x/(r + x))`,
/// `t_r = log(r/(r + m)) - log(r/(r + x))` and `delta` the error of Stirling's formula
///
/// `-log p = x f(t_x) + r f(t_r) + 1/2 log(1 + x/r) + 1/2 log(2 pi x)`
/// `         + delta(x) + delta(r) - delta(x + r)` for `x > 0`, and `r log(1 + m/r)` for 0.
///
/// Each logarithm is the lesser (in `t_x`) or the greater (in `t_r`) of `log r` and `log m` or
/// `log x`, combined with `log(1 + q)` of a ratio `q` of at most 1. A huge total count therefore
/// costs no digits, and the likelihood is then Poisson's.
///
/// Total counts from `exp(-40)` to `exp(80)` yield a finite value and gradient for every log-mean
/// for which `-log p` itself does not overflow.
#[derive(Module, Debug)]
pub struct NegativeBinomialNll {
    /// The total count, the inverse of the dispersion.
    pub total_count: Scale,
}

impl NegativeBinomialNll {
    /// Creates a likelihood with the given total count.
    pub fn new(total_count: Scale) -> Self {
        Self { total_count }
    }
}

/// A positive number `y` and the total count `r`, in logarithms. Neither loses digits to the other,
/// however far apart they are: `log(r + y)` is `greater + rest`, and `log(r y/(r + y))` is
/// `lesser - rest`.
struct Beside {
    /// Whether `y < r`.
    is_less: Tensor<3, Bool>,
    lesser: Tensor<3>,
    greater: Tensor<3>,
    /// `log(1 + lesser/greater)`
    rest: Tensor<3>,
    /// `log(1 + y/r)`
    log_sum: Tensor<3>,
}

impl Beside {
    fn of(log_y: &Tensor<3>, log_r: &Tensor<3>) -> Self {
        let ratio = log_y.clone() - log_r.clone();
        let is_less = ratio.clone().lower_scalar(0.0);
        let rest = softplus(ratio.clone().neg().mask_where(is_less.clone(), ratio.clone()));
        Self {
            lesser: log_r.clone().mask_where(is_less.clone(), log_y.clone()),
            greater: log_y.clone().mask_where(is_less.clone(), log_r.clone()),
            log_sum: ratio.mask_fill(is_less.clone(), 0.0) + rest.clone(),
            is_less,
            rest,
        }
    }
}

impl Likelihood for NegativeBinomialNll {
    fn params_per_value(&self) -> usize {
        self.total_count.params_per_value()
    }

    fn support(&self) -> Support {
        Support::Count
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        self.total_count.check(data_dim)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let (log_mean, log_r) = self.total_count.split(params);
        let shape = log_mean.dims();
        let log_r = log_r.expand(shape);
        let r = log_r.clone().exp();
        let x = x.unsqueeze_dim::<3>(0).expand(shape);
        let zero = x.clone().equal_scalar(0.0);
        let x = x.mask_fill(zero.clone(), 1.0); // unused there
        let log_x = x.clone().log();

        let (mean, count) = (Beside::of(&log_mean, &log_r), Beside::of(&log_x, &log_r));
        let rest = count.rest.clone() - mean.rest.clone();
        let t_x = mean.lesser - count.lesser + rest.clone();
        let t_r = count.greater - mean.greater + rest;
        let deviance = exp_residual(t_x) * x.clone() + exp_residual(t_r) * r.clone();
        let norm = count.log_sum.mul_scalar(0.5) + saddle_point_norm(x.clone(), log_x);
        let stirling = stirling_error(r.clone()) - stirling_error(x + r.clone());

        // r log(1 + m/r). If m < r it is m log(1 + q)/q with q = m/r, because r may be huge.
        let large = mean.log_sum.mask_fill(mean.is_less.clone(), 0.0) * r;
        let small = log_mean.clone().mask_fill(mean.is_less.clone().bool_not(), 0.0).exp();
        let q = (log_mean - log_r).mask_fill(mean.is_less.clone().bool_not(), 0.0).exp();
        let at_zero = large.mask_where(mean.is_less, small * log1p_ratio(q));
        (deviance + norm + stirling).mask_where(zero, at_zero).sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.total_count.split(params).0.exp()
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (log_mean, log_r) = self.total_count.split(params);
        draw([log_mean, log_r], seed, |[log_mean, log_r], rng| {
            let (mean, r) = (log_mean.exp(), log_r.exp());
            // If this gamma distribution cannot be constructed, r is too large to matter.
            let rate = Gamma::new(r, mean / r).map_or(mean, |gamma| gamma.sample(rng));
            draw_count(rate, rng)
        })
    }
}

named_config!(NegativeBinomialNllConfig, NegativeBinomialNll { total_count: ScaleConfig });

impl ModuleConfig for NegativeBinomialNllConfig {
    type Module = NegativeBinomialNll;

    fn init(&self, seed: Seed, device: &Device) -> Result<NegativeBinomialNll> {
        Ok(NegativeBinomialNll::new(self.total_count.init(seed, device)?))
    }
}
