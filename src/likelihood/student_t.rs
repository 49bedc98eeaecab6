use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use statrs::function::gamma::ln_gamma;

use super::draw::draw;
use super::scale::check_positive;
use super::{InverseLink, Likelihood, Scale, ScaleConfig, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::Result;
use crate::math::standardize;
use crate::seed::Seed;

/// Configuration of a [`StudentTNll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudentTNllConfig {
    /// The scale.
    pub scale: ScaleConfig,
    /// The degrees of freedom, above 0.
    pub degrees_of_freedom: f64,
}

impl StudentTNllConfig {
    /// Describes Student's t-distribution with the given scale and degrees of freedom.
    pub fn new(scale: ScaleConfig, degrees_of_freedom: f64) -> Self {
        Self { scale, degrees_of_freedom }
    }
}

/// Negative log-likelihood of Student's t-distribution whose location the decoder outputs.
///
/// For the location `m` and the scale `s` of a value `x`, and `v` degrees of freedom
///
/// `-log p(x|m, s) = (v + 1)/2 log(1 + ((x - m)/s)^2 / v) + log s + log B(v)`,
/// `B(v) = sqrt(v pi) Gamma(v/2) / Gamma((v + 1)/2)`,
///
/// in nats, summed over the values (Lange, Little and Taylor 1989). The gradient of an outlier
/// fades with its distance. The standard deviation is `s sqrt(v/(v - 2))`, infinite if `v` is at
/// most 2. [`mean`](Likelihood::mean) returns `m`. If `v` is at most 1, the mean does not exist and
/// `m` is only the median. See [`GaussianNll`](crate::likelihood::GaussianNll) on scales that go to
/// zero.
///
/// If `q = |x - m|/(s sqrt(v))` is so large that its square would overflow, `log(1 + q^2)` is
/// computed as `2 (log|x - m| - log s) - log v`. Log-scales from -170 to 170 yield a finite value
/// and gradient.
#[derive(Module, Debug)]
pub struct StudentTNll {
    /// The scale.
    pub scale: Scale,
    degrees_of_freedom: f64,
}

impl StudentTNll {
    /// Creates a likelihood with the given scale and degrees of freedom.
    ///
    /// # Errors
    /// If `degrees_of_freedom` is not above 0 or not finite.
    pub fn new(scale: Scale, degrees_of_freedom: f64) -> Result<Self> {
        check_positive("the number of degrees of freedom", degrees_of_freedom)?;
        Ok(Self { scale, degrees_of_freedom })
    }

    /// The degrees of freedom.
    pub fn degrees_of_freedom(&self) -> f64 {
        self.degrees_of_freedom
    }
}

/// If `q` is larger, `log(1 + q^2)` is `2 log q` in 32 bits.
const FAR: f64 = 1e15;

/// `log B(v)`, which makes the density integrate to 1 at scale 1.
fn log_norm(v: f64) -> f64 {
    let half = v / 2.0;
    // The log-ratio of gamma functions. For large v their logarithms are too large to subtract, so
    // it is computed from its series.
    let ratio = match half > 1e5 {
        true => 0.5 * half.ln() - 1.0 / (8.0 * half),
        false => ln_gamma(half + 0.5) - ln_gamma(half),
    };
    0.5 * (v * std::f64::consts::PI).ln() - ratio
}

impl Likelihood for StudentTNll {
    fn support(&self) -> Support {
        Support::Real
    }

    fn params_per_value(&self) -> usize {
        self.scale.params_per_value()
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        self.scale.check(data_dim)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let v = self.degrees_of_freedom;
        let (location, log_scale) = self.scale.split(params);
        let distance = x.unsqueeze_dim::<3>(0) - location;
        let ratio =
            |distance, log_scale| standardize(distance, log_scale).mul_scalar(v.sqrt().recip());
        // Ratios whose square overflows, and NaN.
        let far = ratio(distance.clone().detach(), log_scale.clone().detach());
        let far = far.abs().lower_scalar(FAR).bool_not();
        // The input of each branch is masked to its own range, so that no infinite gradient is
        // multiplied by zero.
        let near = ratio(distance.clone().mask_fill(far.clone(), 0.0), log_scale.clone());
        let far_log = distance.mask_fill(far.clone().bool_not(), 1.0).abs().log();
        let far_log = (far_log - log_scale.clone()).mul_scalar(2.0).sub_scalar(v.ln());
        let log = near.square().log1p().mask_where(far, far_log);
        let nll = log.mul_scalar((v + 1.0) / 2.0) + log_scale.add_scalar(log_norm(v));
        nll.sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.scale.split(params).0
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        Some(InverseLink::Identity)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let v = self.degrees_of_freedom;
        let chi_squared = ChiSquared::new(v).expect("degrees of freedom above 0");
        let (location, log_scale) = self.scale.split(params);
        draw([location, log_scale], seed, |[location, log_scale], rng| {
            let noise: f64 = StandardNormal.sample(rng);
            location + log_scale.exp() * noise * (v / chi_squared.sample(rng)).sqrt()
        })
    }
}

named_config!(StudentTNllConfig, StudentTNll { scale: ScaleConfig, degrees_of_freedom: f64 });

impl ModuleConfig for StudentTNllConfig {
    type Module = StudentTNll;

    fn init(&self, seed: Seed, device: &Device) -> Result<StudentTNll> {
        StudentTNll::new(self.scale.init(seed, device)?, self.degrees_of_freedom)
    }
}
