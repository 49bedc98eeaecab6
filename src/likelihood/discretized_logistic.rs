use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rand_distr::Open01;

use super::draw::{draw, logistic};
use super::level_mean::mean_over_levels;
use super::{Likelihood, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::{Error, Result};
use crate::ops::{self, Logistics};
use crate::seed::Seed;

/// Negative log-likelihood of a logistic distribution, integrated over the width of each level.
///
/// `x` in `[0, 1]` is one of `L` evenly spaced levels (256 for 8-bit images), and
/// `h = 1/(2(L - 1))` is half the distance between adjacent levels. For the location `m` and the
/// scale `s` of a value
///
/// `p(x|m, s) = sigmoid((x + h - m)/s) - sigmoid((x - h - m)/s)`,
///
/// where the lowest level also has all the mass below it, and the highest all the mass above
/// (Kingma et al. 2016; Salimans et al. 2017, section 2.1). `-log p` is in nats, summed over the
/// values. These are probabilities, so the likelihood is comparable with any other probability of
/// the same data.
///
/// The decoder outputs two parameters per value: the first half of its output holds the locations,
/// in the units of `x`, and the second half the log-scales.
///
/// With `a = (x + h - m)/s` and `b = (x - h - m)/s` the logarithm of the difference is
///
/// `log p = -softplus(-a) - softplus(b) + log(1 - exp(b - a))`,
///
/// which is accurate for every level. The lowest level keeps only the first term, the highest only
/// the second. The last term is computed from the logarithm of `a - b`, because `a - b` itself may
/// be too small for a 32-bit float. Log-scales from -80 to 80 yield a finite value and gradient for
/// any number of levels.
#[derive(Module, Debug, PartialEq)]
pub struct DiscretizedLogisticNll {
    levels: u32,
}

impl DiscretizedLogisticNll {
    /// Creates a likelihood over `levels` levels.
    ///
    /// # Errors
    /// If `levels` is less than 2 or more than 65,536.
    pub fn new(levels: u32) -> Result<Self> {
        check_levels(levels)?;
        Ok(Self { levels })
    }

    /// The number of levels.
    pub fn levels(&self) -> u32 {
        self.levels
    }
}

pub(super) fn check_levels(levels: u32) -> Result<()> {
    if (2..=65_536).contains(&levels) {
        return Ok(());
    }
    Err(Error::config(format!(
        "a discretised likelihood has {levels} levels, but it must have from 2 to 65536"
    )))
}

/// Rounds a number to the nearest level.
pub(super) fn nearest_level(x: f64, levels: u32) -> f64 {
    let steps = f64::from(levels - 1);
    (x * steps).round().clamp(0.0, steps) / steps
}

impl Likelihood for DiscretizedLogisticNll {
    fn params_per_value(&self) -> usize {
        2
    }

    fn support(&self) -> Support {
        Support::Levels(self.levels)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        ops::logistic_nll(params, x, Logistics { levels: self.levels, components: None })
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        let [location, log_scale] = halves(params);
        mean_over_levels(location, log_scale, self.levels)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        draw(halves(params), seed, |[location, log_scale], rng| {
            let noise = logistic(rng.sample(Open01));
            nearest_level(location + log_scale.exp() * noise, self.levels)
        })
    }
}

fn halves(params: Tensor<2>) -> [Tensor<2>; 2] {
    let len = params.dims()[1] / 2;
    [params.clone().narrow(1, 0, len), params.narrow(1, len, len)]
}

named_config!(DiscretizedLogisticNll, DiscretizedLogisticNll { levels: u32 });

impl ModuleConfig for DiscretizedLogisticNll {
    type Module = Self;

    fn init(&self, _seed: Seed, _device: &Device) -> Result<Self> {
        Self::new(self.levels)
    }
}
