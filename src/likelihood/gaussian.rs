use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_distr::{Distribution, StandardNormal};

use super::draw::draw;
use super::{InverseLink, Likelihood, Scale, ScaleConfig, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::Result;
use crate::math::{LN_2PI, standardize};
use crate::seed::Seed;

/// Configuration of a [`GaussianNll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNllConfig {
    /// The standard deviation.
    pub scale: ScaleConfig,
}

impl GaussianNllConfig {
    /// Describes a normal distribution with the given standard deviation.
    pub fn new(scale: ScaleConfig) -> Self {
        Self { scale }
    }
}

/// Negative log-likelihood of a normal distribution whose mean the decoder outputs.
///
/// For the mean `m` and the standard deviation `s` of a value `x`
///
/// `-log p(x|m, s) = 1/2 ((x - m)/s)^2 + log s + 1/2 log(2 pi)`
///
/// in nats, summed over the values (Kingma and Welling 2014, appendix C.2). It is a density, so
/// `-log p` may be negative. With one learned `s` for all values it is the likelihood of Rybkin et
/// al. (2021). With `s` fixed at 1 it is half the squared error, up to a constant.
///
/// A density is unbounded: values that the model can predict exactly, such as constant columns,
/// drive a learned or predicted `s` to zero. Set a floor with [`ScaleConfig::with_floor`].
/// Log-scales from -170 to 170 are supported, provided that the density itself does not overflow.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::Likelihood;
/// use burn_vae::likelihood::{GaussianNll, Scale};
///
/// let likelihood = GaussianNll::new(Scale::fixed(2.0)?);
/// let mean = Tensor::<3>::zeros([1, 1, 1], &Device::flex());
/// let x = Tensor::<2>::full([1, 1], 2.0, &Device::flex());
/// let nll = likelihood.nll(mean, x).into_scalar::<f32>();
/// assert!((nll - (0.5 + 2f32.ln() + 0.5 * std::f32::consts::TAU.ln())).abs() < 1e-6);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct GaussianNll {
    /// The standard deviation.
    pub scale: Scale,
}

impl GaussianNll {
    /// Creates a likelihood with the given standard deviation.
    pub fn new(scale: Scale) -> Self {
        Self { scale }
    }
}

impl Likelihood for GaussianNll {
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
        let (mean, log_scale) = self.scale.split(params);
        let scaled = standardize(x.unsqueeze_dim(0) - mean, log_scale.clone());
        let nll = scaled.square().mul_scalar(0.5) + log_scale.add_scalar(0.5 * LN_2PI);
        nll.sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        self.scale.split(params).0
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        Some(InverseLink::Identity)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (mean, log_scale) = self.scale.split(params);
        draw([mean, log_scale], seed, |[mean, log_scale], rng| {
            let noise: f64 = StandardNormal.sample(rng);
            mean + log_scale.exp() * noise
        })
    }
}

named_config!(GaussianNllConfig, GaussianNll { scale: ScaleConfig });

impl ModuleConfig for GaussianNllConfig {
    type Module = GaussianNll;

    fn init(&self, seed: Seed, device: &Device) -> Result<GaussianNll> {
        Ok(GaussianNll::new(self.scale.init(seed, device)?))
    }
}
