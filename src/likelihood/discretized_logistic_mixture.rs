use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::Open01;

use super::discretized_logistic::{check_levels, nearest_level};
use super::draw::{host, logistic};
use super::level_mean::mean_over_levels;
use super::{Likelihood, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::{Error, Result};
use crate::ops::{self, Logistics};
use crate::seed::Seed;

/// Negative log-likelihood of a mixture of discretised logistic distributions.
///
/// `-log p(x) = -log sum_c w_c p(x|m_c, s_c)`, with weights `w = softmax(logits)`,
///
/// in nats, summed over the values. Each `p(x|m_c, s_c)` is that of
/// [`DiscretizedLogisticNll`](crate::likelihood::DiscretizedLogisticNll) (Salimans et al. 2017, eq.
/// 1 and 2). The values of an example are independent given the code: the autoregression over
/// colour channels in eq. 3 of that paper is not included.
///
/// With `C` components the decoder outputs `3C` parameters per value: the logits of the first
/// component for every value, those of the second and so on, then the locations in the same order,
/// then the log-scales.
///
/// Identical components stay identical, because their gradients are equal. The decoder's random
/// initial weights break the symmetry.
#[derive(Module, Debug, PartialEq)]
pub struct DiscretizedLogisticMixtureNll {
    levels: u32,
    components: usize,
}

impl DiscretizedLogisticMixtureNll {
    /// Creates a mixture of `components` distributions over `levels` levels.
    ///
    /// # Errors
    /// If `levels` is less than 2 or more than 65,536, or if `components` is 0.
    pub fn new(levels: u32, components: usize) -> Result<Self> {
        check_levels(levels)?;
        if components == 0 {
            return Err(Error::config("a mixture has 0 components, but it must have at least 1"));
        }
        Ok(Self { levels, components })
    }

    /// The number of levels.
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// The number of components.
    pub fn components(&self) -> usize {
        self.components
    }

    /// Splits the parameters into logits, locations and log-scales, each
    /// `[n, components, data_dim]`.
    fn parts(&self, params: Tensor<2>) -> [Tensor<3>; 3] {
        let [n, len] = params.dims();
        let part = |i| {
            let part = params.clone().narrow(1, i * (len / 3), len / 3);
            part.reshape([n, self.components, len / (3 * self.components)])
        };
        [part(0), part(1), part(2)]
    }
}

impl Likelihood for DiscretizedLogisticMixtureNll {
    fn params_per_value(&self) -> usize {
        self.components.saturating_mul(3)
    }

    fn support(&self) -> Support {
        Support::Levels(self.levels)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let components = Some(self.components);
        ops::logistic_nll(params, x, Logistics { levels: self.levels, components })
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        let [logits, location, log_scale] = self.parts(params);
        let means = mean_over_levels(location, log_scale, self.levels);
        (means * softmax(logits, 1)).sum_dim(1).squeeze_dim(1)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let device = params.device();
        let [logits, location, log_scale] = self.parts(params);
        let [n, components, data_dim] = location.dims();
        let [weights, location, log_scale] = [softmax(logits, 1), location, log_scale].map(host);
        let mut rng = seed.rng();
        let mut x = Vec::with_capacity(n * data_dim);
        for i in 0..n * data_dim {
            let at = |c: usize| (i / data_dim * components + c) * data_dim + i % data_dim;
            let mut left = rng.random::<f64>();
            let chosen = (0..components - 1).find(|&c| {
                left -= weights[at(c)];
                left < 0.0
            });
            let at = at(chosen.unwrap_or(components - 1));
            let noise = logistic(rng.sample(Open01));
            let value = location[at] + log_scale[at].exp() * noise;
            x.push(nearest_level(value, self.levels) as f32);
        }
        Tensor::from_data(TensorData::new::<f32, _>(x, [n, data_dim]), &device)
    }
}

named_config!(
    DiscretizedLogisticMixtureNll,
    DiscretizedLogisticMixtureNll { levels: u32, components: usize }
);

impl ModuleConfig for DiscretizedLogisticMixtureNll {
    type Module = Self;

    fn init(&self, _seed: Seed, _device: &Device) -> Result<Self> {
        Self::new(self.levels, self.components)
    }
}
