//! The variational autoencoder, composed of its components.

mod quantized;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{ModuleConfig, init_part};
use crate::decoder::{ConvDecoder, ConvDecoderConfig, Decoder, MlpDecoder, MlpDecoderConfig};
use crate::encoder::{ConvEncoder, ConvEncoderConfig, Encoder, MlpEncoder, MlpEncoderConfig};
use crate::error::{Error, Result};
use crate::likelihood::{BernoulliNll, Likelihood, Support};
use crate::model::Model;
use crate::nn::{ConvConfig, Frozen};
use crate::noise::{NoiseShape, check_rows};
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::prior::{Distribution, Prior, StandardNormal};
use crate::seed::Seed;

/// A variational autoencoder: an encoder `q(z|x)`, a decoder with the likelihood `p(x|z)`, and a
/// prior `p(z)`.
///
/// The parts are generic: any encoder works with any decoder, likelihood and prior, this crate's or
/// your own. Training is separate from the model; see [`Objective`](crate::Objective).
///
/// Methods that take tensors check their shapes and return a `Result`.
#[derive(Module, Debug)]
pub struct Vae<E, D, L, P> {
    /// The inference network.
    pub encoder: E,
    /// The generative network.
    pub decoder: D,
    /// The distribution `p(x|z)` that the decoder's output parameterises.
    pub likelihood: L,
    /// The prior distribution of codes.
    pub prior: P,
}

/// The variational autoencoder of Tiao's post: MLPs, Bernoulli pixels, Gaussian codes.
pub type MlpVae = Vae<MlpEncoder, MlpDecoder, BernoulliNll, StandardNormal>;

/// A variational autoencoder for images: convolutions, Bernoulli pixels, Gaussian codes.
pub type ConvVae = Vae<ConvEncoder, ConvDecoder, BernoulliNll, StandardNormal>;

/// A model of which training changes the prior alone; see [`Vae::frozen`].
pub type FrozenVae<E, D, L, P> = Vae<Frozen<E>, Frozen<D>, Frozen<L>, P>;

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior<E>> Vae<E, D, L, P> {
    /// Combines four parts.
    ///
    /// # Errors
    /// If sizes or supports are incompatible: codes of different lengths or kinds, a likelihood
    /// that does not accept examples of that length, or a decoder whose output size is not what the
    /// likelihood needs.
    pub fn new(encoder: E, decoder: D, likelihood: L, prior: P) -> Result<Self> {
        Self::with_condition(encoder, decoder, likelihood, prior, 0)
    }

    /// Combines four parts for examples whose last `condition_dim` entries are a condition, which
    /// the decoder receives appended to the code.
    pub(crate) fn with_condition(
        encoder: E,
        decoder: D,
        likelihood: L,
        prior: P,
        condition_dim: usize,
    ) -> Result<Self> {
        let latent_dim = encoder.latent_dim();
        let code_dim = latent_dim.saturating_add(condition_dim);
        if code_dim != decoder.latent_dim() {
            return Err(Error::config(match condition_dim {
                0 => format!(
                    "the encoder's codes have length {latent_dim}, but the decoder takes {}",
                    decoder.latent_dim()
                ),
                _ => format!(
                    "codes of length {latent_dim} with conditions of length {condition_dim} have \
                     length {code_dim}, but the decoder takes {}",
                    decoder.latent_dim()
                ),
            }));
        }
        // In evaluation mode: binding must not update the moving averages of a batch normalisation.
        let (plain_prior, plain_encoder) = (prior.valid(), encoder.valid());
        plain_prior.check(&plain_encoder)?;
        let bound = plain_prior.bind(&plain_encoder, Phase::Eval);
        if let Some(dim) = bound.latent_dim().filter(|&dim| dim != latent_dim) {
            return Err(Error::config(format!(
                "the prior is over codes of length {dim}, but the encoder's have length {latent_dim}"
            )));
        }
        let (codes, expected) = (encoder.latent_support(), bound.support());
        if codes != expected {
            return Err(Error::config(format!(
                "the prior is over codes of {expected:?} values, but the encoder's are {codes:?}"
            )));
        }
        decoder.check(&encoder)?;
        let data_dim = encoder.data_dim() - condition_dim;
        likelihood.check(data_dim)?;
        let params = likelihood.params_per_value();
        if params.checked_mul(data_dim) != Some(decoder.output_dim()) {
            return Err(Error::config(format!(
                "the decoder outputs {} values, but the likelihood needs {params} for each of the \
                 {data_dim} values of an example",
                decoder.output_dim()
            )));
        }
        Ok(Self { encoder, decoder, likelihood, prior })
    }

    /// Replaces the prior: for a model of the codes that is fitted or trained after the rest.
    ///
    /// # Errors
    /// If the prior does not fit the encoder.
    pub fn with_prior<Q: Prior<E>>(self, prior: Q) -> Result<Vae<E, D, L, Q>> {
        Vae::new(self.encoder, self.decoder, self.likelihood, prior)
    }

    /// Fixes all parts but the prior, so that training fits the prior to the codes of the data;
    /// [`thawed`](Vae::thawed) is the way back.
    ///
    /// Training then lowers only the divergence from the posterior to the prior.
    ///
    /// # Errors
    /// If the prior does not fit a fixed encoder.
    pub fn frozen(self) -> Result<FrozenVae<E, D, L, P>>
    where
        P: Prior<Frozen<E>>,
    {
        let Self { encoder, decoder, likelihood, prior } = self;
        let (encoder, decoder) = (Frozen::new(encoder), Frozen::new(decoder));
        Vae::new(encoder, decoder, Frozen::new(likelihood), prior)
    }

    /// Returns the length of a code.
    pub fn latent_dim(&self) -> usize {
        self.encoder.latent_dim()
    }

    /// Returns the device that holds the weights.
    pub fn device(&self) -> Device {
        self.devices().first().cloned().unwrap_or_default()
    }

    /// Returns the posteriors of a batch, `[batch, data_dim]`, in evaluation mode.
    ///
    /// # Errors
    /// If the number of columns of `x` is not `data_dim`.
    pub fn encode(&self, x: Tensor<2>) -> Result<E::Posterior> {
        Error::check_columns("x", x.dims(), self.encoder.data_dim())?;
        Ok(self.encoder.encode(x, Phase::Eval))
    }

    /// Returns the expected data `E[x|z]` of a batch of codes, from `[n, latent_dim]` to
    /// `[n, data_dim]`.
    ///
    /// # Errors
    /// If the number of columns of `z` is not `latent_dim`.
    pub fn decode(&self, z: Tensor<2>) -> Result<Tensor<2>> {
        Error::check_columns("z", z.dims(), self.latent_dim())?;
        Ok(self.likelihood.mean(self.decoder.decode(z)))
    }

    /// Returns the expected data at the posterior mean of each example, `[batch, data_dim]`.
    ///
    /// # Errors
    /// If the number of columns of `x` is not `data_dim`.
    pub fn reconstruct(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        self.decode(self.encode(x)?.mean())
    }

    /// Returns the expected data `E[x|z]` at `n` codes drawn from the prior, `[n, data_dim]`.
    ///
    /// # Errors
    /// If `n` is 0, or if `n` samples exceed 2^30 values in total.
    pub fn sample(&self, n: usize, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        if n == 0 {
            return Err(Error::value("0 samples were requested, but at least 1 is needed"));
        }
        self.check_rows("samples", n)?;
        let prior = self.prior.bind(&self.encoder, Phase::Eval);
        self.decode(prior.sample(n, self.latent_dim(), seed.into(), &self.device()))
    }

    /// Decodes equidistant codes on the straight line between the posterior means of two examples.
    ///
    /// # Shapes
    /// - `from`, `to`: `[data_dim]`
    /// - output: `[steps, data_dim]`, the first row the reconstruction of `from`, the last of `to`
    ///
    /// # Errors
    /// If an example has the wrong length, if `steps` is below 2, or if the steps exceed 2^30
    /// values in total.
    pub fn interpolate(&self, from: Tensor<1>, to: Tensor<1>, steps: usize) -> Result<Tensor<2>> {
        if steps < 2 {
            return Err(Error::value(format!(
                "an interpolation needs at least 2 steps, its ends, not {steps}"
            )));
        }
        self.check_rows("steps", steps)?;
        let from = self.encode(from.unsqueeze_dim(0))?.mean();
        let to = self.encode(to.unsqueeze_dim(0))?.mean();
        let weight = (0..steps).map(|i| i as f32 / (steps - 1) as f32).collect::<Vec<_>>();
        let weight =
            Tensor::<1>::from_data(weight.as_slice(), &from.device()).unsqueeze_dim::<2>(1);
        self.decode(from.clone() * weight.clone().neg().add_scalar(1.0) + to * weight)
    }

    /// Checks that `rows` codes and their decoded data fit in memory.
    pub(crate) fn check_rows(&self, what: &str, rows: usize) -> Result<()> {
        let longest = self.latent_dim().max(self.decoder.output_dim());
        check_rows(what, rows, longest.max(self.encoder.data_dim()))
    }
}

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior<E>> Model for Vae<E, D, L, P> {
    type Posterior = E::Posterior;
    type Prior = P::Bound;

    fn data_dim(&self) -> usize {
        self.encoder.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.encoder.latent_dim()
    }

    fn support(&self) -> Support {
        self.likelihood.support()
    }

    fn noise(&self) -> NoiseShape {
        self.encoder.noise()
    }

    fn posterior(&self, x: Tensor<2>, phase: Phase) -> E::Posterior {
        self.encoder.encode(x, phase)
    }

    fn prior(&self, phase: Phase) -> P::Bound {
        self.prior.bind(&self.encoder, phase)
    }

    fn nll(&self, z: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let [samples, batch, latent_dim] = z.dims();
        let params = self.decoder.decode(z.reshape([samples * batch, latent_dim]));
        self.likelihood.nll(params.reshape([samples, batch, self.decoder.output_dim()]), x)
    }

    fn with_fixed_likelihood(&self) -> Self {
        Self {
            decoder: self.decoder.clone().no_grad(),
            likelihood: self.likelihood.clone().no_grad(),
            ..self.clone()
        }
    }
}

impl<E: Encoder, D: Decoder, L: Likelihood, P> FrozenVae<E, D, L, P> {
    /// Returns the model with its parts, for use and further training.
    pub fn thawed(self) -> Vae<E, D, L, P> {
        Vae {
            encoder: self.encoder.into_inner(),
            decoder: self.decoder.into_inner(),
            likelihood: self.likelihood.into_inner(),
            prior: self.prior,
        }
    }
}

/// Configuration of a [`Vae`], composed of those of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig<E, D, L, P> {
    /// The inference network.
    pub encoder: E,
    /// The generative network.
    pub decoder: D,
    /// The distribution `p(x|z)` that the decoder's output parameterises.
    pub likelihood: L,
    /// The prior distribution of codes.
    pub prior: P,
}

/// Configuration of an [`MlpVae`].
pub type MlpVaeConfig = VaeConfig<MlpEncoderConfig, MlpDecoderConfig, BernoulliNll, StandardNormal>;

/// Configuration of a [`ConvVae`].
pub type ConvVaeConfig =
    VaeConfig<ConvEncoderConfig, ConvDecoderConfig, BernoulliNll, StandardNormal>;

impl ConvVaeConfig {
    /// Uses a convolutional encoder and decoder.
    ///
    /// `ConvVaeConfig::conv(ConvConfig::step_up([28, 28, 1], 2))` is the model of the post "A Step
    /// Up with Variational Autoencoders".
    pub fn conv(network: ConvConfig) -> Self {
        Self {
            encoder: network.encoder(),
            decoder: network.decoder(),
            likelihood: BernoulliNll,
            prior: StandardNormal,
        }
    }
}

impl MlpVaeConfig {
    /// Uses MLPs with the hidden layers `hidden`, reversed in the decoder.
    ///
    /// `MlpVaeConfig::mlp(784, [256], 2)` is the model of Tiao's post.
    pub fn mlp(data_dim: usize, hidden: impl Into<Vec<usize>>, latent_dim: usize) -> Self {
        let hidden = hidden.into();
        let reversed = hidden.iter().rev().copied().collect::<Vec<_>>();
        Self {
            encoder: MlpEncoderConfig::new(data_dim, hidden, latent_dim),
            decoder: MlpDecoderConfig::new(latent_dim, reversed, data_dim),
            likelihood: BernoulliNll,
            prior: StandardNormal,
        }
    }
}

impl<E, D, L, P> ModuleConfig for VaeConfig<E, D, L, P>
where
    E: ModuleConfig<Module: Encoder>,
    D: ModuleConfig<Module: Decoder>,
    L: ModuleConfig<Module: Likelihood>,
    P: ModuleConfig<Module: Prior<E::Module>>,
{
    type Module = Vae<E::Module, D::Module, L::Module, P::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        Vae::new(
            init_part("encoder", &self.encoder, seed, device)?,
            init_part("decoder", &self.decoder, seed, device)?,
            init_part("likelihood", &self.likelihood, seed, device)?,
            init_part("prior", &self.prior, seed, device)?,
        )
    }
}
