//! Named models from the literature.
//!
//! Each function returns a configuration with public fields, so any part can be changed before
//! [`init`](crate::ModuleConfig::init) builds the model.
//!
//! | model | function |
//! |---|---|
//! | logistic factor analysis | [`logistic_factor_analysis`] |
//! | linear factor analysis, probabilistic PCA | [`linear_factor_analysis`] |
//! | non-linear factor analysis | [`nonlinear_factor_analysis`] |
//! | deep latent Gaussian model | [`deep_latent_gaussian`] |
//! | non-linear Gaussian belief network | [`nonlinear_gaussian_belief_network`] |
//! | sigmoid belief network | [`sigmoid_belief_network`] |
//! | importance-weighted autoencoder with one or two stochastic layers | [`iwae_one_layer`], [`iwae_two_layers`] |
//! | vector-quantised variational autoencoder, and with other codebooks | [`vq_vae`], [`quantized`] |
//! | autoencoders of latent diffusion | [`AutoencoderKl`], [`AutoencoderTiny`] |

mod spatial;

pub use spatial::{AutoencoderKl, AutoencoderTiny, SpatialVaeConfig, quantized, vq_vae};

use crate::decoder::{FirstLayerDecoderConfig, MlpDecoderConfig};
use crate::encoder::{HierarchicalEncoderConfig, MlpEncoderConfig};
use crate::likelihood::{BernoulliNll, GaussianNllConfig, ScaleConfig};
use crate::nn::Activation;
use crate::posterior::{BernoulliFamily, Diagonal, Temperature};
use crate::prior::{BernoulliPriorConfig, HierarchicalPriorConfig, StandardNormal};
use crate::vae::{MlpVaeConfig, VaeConfig};

/// Logistic factor analysis: the values are Bernoulli variables whose logits are linear in
/// `z ~ N(0, I)`.
///
/// The encoder has the hidden layers `encoder_hidden`; without any it is linear too.
pub fn logistic_factor_analysis(
    data_dim: usize,
    encoder_hidden: impl Into<Vec<usize>>,
    latent_dim: usize,
) -> MlpVaeConfig {
    VaeConfig {
        encoder: MlpEncoderConfig::new(data_dim, encoder_hidden, latent_dim),
        decoder: MlpDecoderConfig::new(latent_dim, [], data_dim),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    }
}

/// A model of real values with MLPs, Gaussian noise and Gaussian codes.
pub type GaussianVaeConfig =
    VaeConfig<MlpEncoderConfig, MlpDecoderConfig, GaussianNllConfig, StandardNormal>;

/// Linear factor analysis, `x = W z + b + noise` with `z ~ N(0, I)`.
///
/// `noise` sets the noise scale. A single scale for all values makes it probabilistic principal
/// component analysis (Tipping and Bishop 1999); one scale per value makes it factor analysis
/// (Rubin and Thayer 1982).
///
/// The true posterior is Gaussian. Its mean is linear in `x`, and its covariance is the same for
/// all examples and becomes diagonal under a rotation of `W`. A linear encoder can therefore be
/// exact, and the ELBO of the best model equals its log-likelihood (Lucas et al. 2019, section 4).
/// Start the noise scale below the scale of the weakest factor: a factor weaker than the noise
/// looks like noise and may be lost.
pub fn linear_factor_analysis(
    data_dim: usize,
    latent_dim: usize,
    noise: ScaleConfig,
) -> GaussianVaeConfig {
    nonlinear_factor_analysis(data_dim, [], latent_dim, noise)
}

/// Non-linear factor analysis: `x = f(z) + noise` with an MLP `f` and `z ~ N(0, I)`.
pub fn nonlinear_factor_analysis(
    data_dim: usize,
    hidden: impl Into<Vec<usize>>,
    latent_dim: usize,
    noise: ScaleConfig,
) -> GaussianVaeConfig {
    let MlpVaeConfig { encoder, decoder, prior, .. } =
        MlpVaeConfig::mlp(data_dim, hidden, latent_dim);
    VaeConfig { encoder, decoder, likelihood: GaussianNllConfig::new(noise), prior }
}

/// A stochastic layer: its codes and the deterministic layers between them and what is below, the
/// data or the previous layer's codes. Encoder and generative network share these sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StochasticLayer {
    /// Units of the deterministic layers, from below up to the codes.
    pub hidden: Vec<usize>,
    /// Length of the layer's codes.
    pub latent_dim: usize,
}

impl StochasticLayer {
    /// Creates a layer with codes of length `latent_dim` above the deterministic layers `hidden`.
    pub fn new(hidden: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        Self { hidden: hidden.into(), latent_dim }
    }
}

/// A model with any number of stochastic layers: posteriors and generative conditionals of one
/// family, a likelihood, and a prior for the top layer.
pub type HierarchicalVaeConfig<F, L, P> = VaeConfig<
    HierarchicalEncoderConfig<MlpEncoderConfig<F>>,
    FirstLayerDecoderConfig<MlpDecoderConfig>,
    L,
    HierarchicalPriorConfig<MlpEncoderConfig<F>, P>,
>;

/// Stacks stochastic layers over MLPs, listed from the data up.
///
/// If the likelihood needs several parameters per value, increase
/// [`output_dim`](MlpDecoderConfig::output_dim). No divergence of a hierarchy has a closed form:
/// train with [`MonteCarloKl`](crate::divergence::MonteCarloKl) or an importance-weighted bound.
pub fn hierarchical<F: Clone, L, P>(
    data_dim: usize,
    layers: &[StochasticLayer],
    activation: Activation,
    family: F,
    likelihood: L,
    top: P,
) -> HierarchicalVaeConfig<F, L, P> {
    let dims = layers.iter().map(|layer| layer.latent_dim).collect::<Vec<_>>();
    let below = [data_dim].into_iter().chain(dims.iter().copied());
    let network = |from: usize, hidden: Vec<usize>, to: usize| {
        let network = MlpEncoderConfig::new(from, hidden, to).with_activation(activation);
        network.with_posterior(family.clone())
    };
    let reversed = |layer: &StochasticLayer| layer.hidden.iter().rev().copied().collect::<Vec<_>>();
    let up = below
        .zip(layers)
        .map(|(below, layer)| network(below, layer.hidden.clone(), layer.latent_dim));
    let down = layers
        .windows(2)
        .map(|pair| network(pair[1].latent_dim, reversed(&pair[1]), pair[0].latent_dim));
    let first = dims.first().copied().unwrap_or_default();
    let hidden = layers.first().map(reversed).unwrap_or_default();
    VaeConfig {
        encoder: HierarchicalEncoderConfig { layers: up.collect() },
        decoder: FirstLayerDecoderConfig {
            network: MlpDecoderConfig::new(first, hidden, data_dim).with_activation(activation),
            latent_dim: dims.iter().sum(),
        },
        likelihood,
        prior: HierarchicalPriorConfig { layers: down.collect(), top },
    }
}

/// A deep latent Gaussian model of binary data (Rezende et al. 2014, section 3): Gaussian codes in
/// every layer.
pub fn deep_latent_gaussian(
    data_dim: usize,
    layers: &[StochasticLayer],
    activation: Activation,
) -> HierarchicalVaeConfig<Diagonal, BernoulliNll, StandardNormal> {
    hierarchical(data_dim, layers, activation, Diagonal, BernoulliNll, StandardNormal)
}

/// A non-linear Gaussian belief network (Frey and Hinton 1999): Gaussian codes in every layer, and
/// real-valued data with Gaussian noise.
pub fn nonlinear_gaussian_belief_network(
    data_dim: usize,
    layers: &[StochasticLayer],
    activation: Activation,
    noise: ScaleConfig,
) -> HierarchicalVaeConfig<Diagonal, GaussianNllConfig, StandardNormal> {
    let likelihood = GaussianNllConfig::new(noise);
    hierarchical(data_dim, layers, activation, Diagonal, likelihood, StandardNormal)
}

/// A sigmoid belief network (Neal 1992): every layer consists of bits, each a Bernoulli variable
/// whose logit is linear in the bits of the layer above; the bits at the top are fair.
///
/// `units` are the numbers of bits per layer, from the data up. The inference network mirrors the
/// generative one. In training the bits are relaxed at `temperature` in both networks, and the
/// bound is that of the relaxed densities (Maddison et al. 2017). Train with
/// [`MonteCarloKl`](crate::divergence::MonteCarloKl) or an importance-weighted bound.
pub fn sigmoid_belief_network(
    data_dim: usize,
    units: &[usize],
    temperature: Temperature,
) -> HierarchicalVaeConfig<BernoulliFamily, BernoulliNll, BernoulliPriorConfig> {
    let layers = units.iter().map(|&units| StochasticLayer::new([], units)).collect::<Vec<_>>();
    let family = BernoulliFamily::new(temperature);
    let top = BernoulliPriorConfig::new().relaxed(temperature);
    hierarchical(data_dim, &layers, Activation::default(), family, BernoulliNll, top)
}

/// The model with one stochastic layer of Burda et al. (2016, section 5): 784-200-200-50, tanh.
///
/// In the paper the output biases start at the logits of the training set's means; see
/// [`with_output_bias`](crate::decoder::MlpDecoder::with_output_bias).
pub fn iwae_one_layer() -> MlpVaeConfig {
    VaeConfig {
        encoder: MlpEncoderConfig::new(784, [200, 200], 50).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(50, [200, 200], 784).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    }
}

/// The model with two stochastic layers of Burda et al. (2016, section 5):
/// 784-200-200-100-100-100-50, tanh, with codes of length 100 and 50.
pub fn iwae_two_layers() -> HierarchicalVaeConfig<Diagonal, BernoulliNll, StandardNormal> {
    let layers = [StochasticLayer::new([200, 200], 100), StochasticLayer::new([100, 100], 50)];
    deep_latent_gaussian(784, &layers, Activation::Tanh)
}
