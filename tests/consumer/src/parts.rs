//! Custom components that burn-vae does not provide: an encoder, a likelihood and a divergence.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use burn_vae::divergence::DivergenceTerms;
use burn_vae::likelihood::Support;
use burn_vae::nn::Init;
use burn_vae::posterior::{DiagonalGaussian, Samples};
use burn_vae::prior::StandardNormal;
use burn_vae::{
    Divergence, Encoder, KlDivergence, Likelihood, ModuleConfig, NoiseSource, Phase, Result, Seed,
};
use serde::{Deserialize, Serialize};

/// A hidden layer with a skip connection. Readings pass through a signed logarithm, so that an
/// outlier is large rather than huge.
#[derive(Module, Debug)]
pub struct SkipEncoder {
    hidden: Linear,
    mean: Linear,
    log_var: Linear,
}

impl Encoder for SkipEncoder {
    type Posterior = DiagonalGaussian;

    fn data_dim(&self) -> usize {
        self.hidden.weight.dims()[0]
    }

    fn latent_dim(&self) -> usize {
        self.mean.weight.dims()[1]
    }

    fn encode(&self, x: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        let x = x.clone().sign() * x.abs().log1p();
        let hidden = self.hidden.forward(x.clone()).tanh();
        let features = Tensor::cat(vec![x, hidden], 1);
        DiagonalGaussian::new(self.mean.forward(features.clone()), self.log_var.forward(features))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipEncoderConfig {
    pub data_dim: usize,
    pub hidden: usize,
    pub latent_dim: usize,
}

impl ModuleConfig for SkipEncoderConfig {
    type Module = SkipEncoder;

    fn init(&self, seed: Seed, device: &Device) -> Result<SkipEncoder> {
        let Self { data_dim, hidden, latent_dim } = *self;
        let layer = |name, from, to| Init::GlorotUniform.linear(from, to, seed.child(name), device);
        Ok(SkipEncoder {
            hidden: layer("hidden", data_dim, hidden)?,
            mean: layer("mean", data_dim + hidden, latent_dim)?,
            log_var: layer("log_var", data_dim + hidden, latent_dim)?,
        })
    }
}

/// Cauchy distributions, each with a location and the logarithm of a scale, for sensors that are
/// occasionally wrong by any amount.
#[derive(Module, Debug, PartialEq, Serialize, Deserialize)]
pub struct CauchyNll;

impl ModuleConfig for CauchyNll {
    type Module = Self;

    fn init(&self, _seed: Seed, _device: &Device) -> Result<Self> {
        Ok(CauchyNll)
    }
}

impl Likelihood for CauchyNll {
    fn params_per_value(&self) -> usize {
        2
    }

    fn support(&self) -> Support {
        Support::Real
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let mut halves = params.chunk(2, 2).into_iter();
        let (location, log_scale) = (halves.next().unwrap(), halves.next().unwrap());
        let scaled = (x.unsqueeze_dim(0) - location) * log_scale.clone().neg().exp();
        let log_pi = std::f64::consts::PI.ln();
        (scaled.square().log1p() + log_scale + log_pi).sum_dim(2).squeeze_dim(2)
    }

    /// A Cauchy distribution has no mean; this returns its location.
    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        params.chunk(2, 1).remove(0)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let mut halves = params.chunk(2, 1).into_iter();
        let (location, log_scale) = (halves.next().unwrap(), halves.next().unwrap());
        let [n, values] = location.dims();
        // The ratio of two standard normal values.
        let normal = |step| {
            NoiseSource::new(seed)
                .draw(step, [1, n, values], &location.device())
                .squeeze_dim::<2>(0)
        };
        location.clone() + log_scale.exp() * normal(0) / normal(1)
    }
}

/// Distance of the KL divergence from a capacity (Burgess et al. 2018, "Understanding disentangling
/// in beta-VAE", eq. 8).
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    pub nats: f64,
}

impl Divergence<DiagonalGaussian, StandardNormal> for Capacity {
    fn terms(
        &self,
        q: &DiagonalGaussian,
        prior: &StandardNormal,
        samples: &Samples,
    ) -> DivergenceTerms {
        let kl = KlDivergence.terms(q, prior, samples).total;
        DivergenceTerms::new(kl.sub_scalar(self.nats).abs())
    }
}
