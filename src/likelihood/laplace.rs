use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_distr::{Distribution, Exp1, StandardUniform};

use super::draw::draw;
use super::{InverseLink, Likelihood, Scale, ScaleConfig, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::Result;
use crate::math::standardize;
use crate::seed::Seed;

/// Configuration of a [`LaplaceNll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaplaceNllConfig {
    /// The scale, the mean absolute deviation from the location.
    pub scale: ScaleConfig,
}

impl LaplaceNllConfig {
    /// Describes a Laplace distribution with the given scale.
    pub fn new(scale: ScaleConfig) -> Self {
        Self { scale }
    }
}

/// Negative log-likelihood of a Laplace distribution whose location the decoder outputs.
///
/// For the location `m` and the scale `s` of a value `x`
///
/// `-log p(x|m, s) = |x - m|/s + log s + log 2`
///
/// in nats, summed over the values. Up to constants this is the absolute error, which penalises
/// outliers less than the squared error does. At `x = m` the gradient with respect to `m` is
/// defined as 0. It is a density, so `-log p` may be negative; see
/// [`GaussianNll`](crate::likelihood::GaussianNll) on scales that go to zero.
#[derive(Module, Debug)]
pub struct LaplaceNll {
    /// The scale, the mean absolute deviation from the location.
    pub scale: Scale,
}

impl LaplaceNll {
    /// Creates a likelihood with the given scale.
    pub fn new(scale: Scale) -> Self {
        Self { scale }
    }
}

impl Likelihood for LaplaceNll {
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
        let (location, log_scale) = self.scale.split(params);
        let scaled = standardize((x.unsqueeze_dim(0) - location).abs(), log_scale.clone());
        let nll = scaled + log_scale.add_scalar(std::f64::consts::LN_2);
        nll.sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.scale.split(params).0
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        Some(InverseLink::Identity)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (location, log_scale) = self.scale.split(params);
        draw([location, log_scale], seed, |[location, log_scale], rng| {
            let distance: f64 = Exp1.sample(rng);
            let above: bool = StandardUniform.sample(rng);
            location + log_scale.exp() * if above { distance } else { -distance }
        })
    }
}

named_config!(LaplaceNllConfig, LaplaceNll { scale: ScaleConfig });

impl ModuleConfig for LaplaceNllConfig {
    type Module = LaplaceNll;

    fn init(&self, seed: Seed, device: &Device) -> Result<LaplaceNll> {
        Ok(LaplaceNll::new(self.scale.init(seed, device)?))
    }
}
