use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_distr::{Distribution, Gamma};

use super::draw::draw;
use super::poisson::{draw_count, saddle_point_norm};
use super::{Likelihood, Scale, ScaleConfig, Support};
use crate::config::{ModuleConfig, named_config};
use crate::math::{exp_residual, softplus, stirling_error};
use crate::{Result, Seed};

/// Description of a [`NegativeBinomialNll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NegativeBinomialNllConfig {
    /// The total count.
    pub total_count: ScaleConfig,
}

impl NegativeBinomialNllConfig {
    /// A negative binomial distribution with a total count from anywhere.
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
/// `-log p` is in nats, summed over the values. The variance is `m + m^2/r`, so the total count is the
/// inverse of the dispersion: the distribution is that of a Poisson variable whose rate is itself drawn
/// from a gamma distribution of shape `r`, and becomes Poisson's as `r` grows. It is a [`Scale`], so it
/// may be constant, learned, or the decoder's second output, and stays above a floor; with one for each
/// value it is the likelihood of Lopez et al. (2018, "scVI", without their zero inflation).
///
/// It is computed in the saddle-point form of Loader (2000), in which large numbers do not meet: with
/// `f(t) = exp(t) - 1 - t`, `t_x = log(m/(r + m)) - log(x/(r + x))`,
/// `t_r = log(r/(r + m)) - log(r/(r + x))` and `delta` the error of Stirling's formula
///
/// `-log p = x f(t_x) + r f(t_r) + 1/2 log(1 + x/r) + 1/2 log(2 pi x)`
/// `         + delta(x) + delta(r) - delta(x + r)` for `x > 0`, and `r log(1 + m/r)` for 0.
///
/// Every log-mean to 1e4 and beyond has a finite value and gradient; total counts beyond `exp(80)` or
/// below `exp(-40)` do not.
#[derive(Module, Debug)]
pub struct NegativeBinomialNll {
    /// The total count, the inverse of the dispersion.
    pub total_count: Scale,
}

impl NegativeBinomialNll {
    /// A negative binomial distribution with a total count from anywhere.
    pub fn new(total_count: Scale) -> Self {
        Self { total_count }
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
        let r = log_r.clone().exp();
        let x = x.unsqueeze_dim::<3>(0);
        let zero = x.clone().equal_scalar(0.0);
        let x = x.mask_fill(zero.clone(), 1.0); // its value there is not used
        let zero = zero.expand(log_mean.dims());
        let log_x = x.clone().log();

        let u = log_mean - log_r.clone(); // log(m/r)
        let v = log_x.clone() - log_r; // log(x/r)
        let at_mean = softplus(u.clone()); // log(1 + m/r)
        let at_x = softplus(v.clone()); // log(1 + x/r)
        let at_zero = r.clone() * at_mean.clone();
        let t_x = softplus(v.neg()) - softplus(u.neg());
        let t_r = at_x.clone() - at_mean;
        let deviance = exp_residual(t_x) * x.clone() + exp_residual(t_r) * r.clone();
        let norm = at_x.mul_scalar(0.5) + saddle_point_norm(x.clone(), log_x);
        let stirling = stirling_error(r.clone()) - stirling_error(x + r);
        (deviance + norm + stirling).mask_where(zero, at_zero).sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.total_count.split(params).0.exp()
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (log_mean, log_r) = self.total_count.split(params);
        draw([log_mean, log_r], seed, |[log_mean, log_r], rng| {
            let (mean, r) = (log_mean.exp(), log_r.exp());
            // Where there is no such gamma distribution, r is too large to matter.
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
