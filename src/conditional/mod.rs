//! Conditional variational autoencoders: encoder and decoder are told something about the example.

mod parts;
mod posterior;

pub use parts::{ConditionalEncoder, ConditionalLikelihood, ConditionalPrior};
pub use posterior::Conditioned;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::{ModuleConfig, init_part};
use crate::error::{Error, Result};
use crate::{
    BernoulliNll, Decoder, Encoder, Likelihood, MlpDecoderConfig, MlpEncoderConfig, Prior, Seed,
    StandardNormal, Vae,
};

/// A conditional variational autoencoder (Sohn et al. 2015, eq. 4):
///
/// `log p(x|y) >= E_q[log p(x|y, z)] - KL(q(z|x, y) || p(z))`
///
/// An example is a row of its values and, behind them, its condition `y`, as
/// [`WithLabels`](crate::data::WithLabels) makes them; a code is a row of the latent dimensions and the
/// same condition. The encoder and the decoder see the whole row. The likelihood looks at the values
/// alone and the prior, which does not depend on the condition, at the latent dimensions alone, so every
/// figure is of `p(x|y)`. It is a [`Vae`] like any other: objectives, training, evaluation and saved
/// models do not know of the condition.
///
/// [`decode`](Vae::decode) and [`reconstruct`](Vae::reconstruct) give values without their condition;
/// [`sample`](Vae::sample) draws the conditions, one of so many classes with equal probabilities, and
/// [`sample_given`](Vae::sample_given) takes them.
pub type ConditionalVae<E, D, L, P> =
    Vae<ConditionalEncoder<E>, D, ConditionalLikelihood<L>, ConditionalPrior<P>>;

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior> ConditionalVae<E, D, L, P> {
    /// Puts four parts together: an encoder of examples with their conditions, to codes without; a decoder
    /// of codes with conditions, to values without; a likelihood of the values; and a prior of the latent
    /// dimensions.
    ///
    /// # Errors
    /// If the parts do not fit each other or the length of the condition, which is at least 1.
    pub fn conditional(
        encoder: E,
        decoder: D,
        likelihood: L,
        prior: P,
        condition_dim: usize,
    ) -> Result<Self> {
        let latent_dim = encoder.latent_dim();
        let code_dim = latent_dim.saturating_add(condition_dim);
        if code_dim != decoder.latent_dim() {
            return Err(Error::config(format!(
                "codes of length {latent_dim} with a condition of length {condition_dim} have length \
                 {code_dim}, but the decoder takes {}",
                decoder.latent_dim()
            )));
        }
        if let Some(dim) = prior.latent_dim().filter(|&dim| dim != latent_dim) {
            return Err(Error::config(format!(
                "the prior is over codes of length {dim}, but the encoder's have length {latent_dim} \
                 without their condition"
            )));
        }
        Vae::new(
            ConditionalEncoder::new(encoder, condition_dim)?,
            decoder,
            ConditionalLikelihood::new(likelihood, condition_dim)?,
            ConditionalPrior::new(prior, condition_dim)?,
        )
    }

    /// The length of a condition.
    pub fn condition_dim(&self) -> usize {
        self.prior.condition_dim()
    }

    /// The expected data `E[x|y, z]` at codes drawn from the prior, one for each condition.
    ///
    /// # Shapes
    /// - `condition`: `[n, condition_dim]`
    /// - output: `[n, values]`
    ///
    /// # Errors
    /// If there are no conditions, if they have another number of columns, or if so many samples have more
    /// than 2^30 numbers.
    pub fn sample_given(&self, condition: Tensor<2>, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        Error::check_columns("the condition", condition.dims(), self.condition_dim())?;
        let [n, _] = condition.dims();
        if n == 0 {
            return Err(Error::value("there is no condition to draw a sample for"));
        }
        self.check_rows("samples", n)?;
        let latent_dim = self.latent_dim() - self.condition_dim();
        let prior = self.prior.within(&self.encoder, None);
        self.decode(prior.sample_given(condition, latent_dim, seed.into()))
    }
}

/// Description of a [`ConditionalVae`] through those of its parts and the length of the condition.
///
/// | field | its lengths |
/// |---|---|
/// | `encoder` | from values and condition to latent dimensions |
/// | `decoder` | from latent dimensions and condition to the likelihood's parameters of the values |
/// | `likelihood` | of the values |
/// | `prior` | of the latent dimensions |
/// | `condition_dim` | the number of classes where the condition is one |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalVaeConfig<
    E = MlpEncoderConfig,
    D = MlpDecoderConfig,
    L = BernoulliNll,
    P = StandardNormal,
> {
    /// The inference network.
    pub encoder: E,
    /// The generative network.
    pub decoder: D,
    /// What the decoder's output means.
    pub likelihood: L,
    /// The distribution of codes.
    pub prior: P,
    /// The length of the condition.
    pub condition_dim: usize,
}

impl ConditionalVaeConfig {
    /// Perceptrons with the same hidden layers in both directions, in the decoder reversed, for examples of
    /// `values` bits with a condition of `condition_dim` numbers.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_vae::conditional::ConditionalVaeConfig;
    /// use burn_vae::{ModuleConfig, Seed};
    ///
    /// let device = Device::flex();
    /// let vae = ConditionalVaeConfig::mlp(784, 10, [256], 8).init(Seed::new(0), &device)?;
    /// let digits = vae.sample_given(Tensor::eye(10, &device), 0)?; // one of each class
    /// assert_eq!(digits.dims(), [10, 784]);
    /// # Ok::<(), burn_vae::Error>(())
    /// ```
    pub fn mlp(
        values: usize,
        condition_dim: usize,
        hidden: impl Into<Vec<usize>>,
        latent_dim: usize,
    ) -> Self {
        let hidden = hidden.into();
        let reversed = hidden.iter().rev().copied().collect::<Vec<_>>();
        Self {
            encoder: MlpEncoderConfig::new(values + condition_dim, hidden, latent_dim),
            decoder: MlpDecoderConfig::new(latent_dim + condition_dim, reversed, values),
            likelihood: BernoulliNll,
            prior: StandardNormal,
            condition_dim,
        }
    }
}

impl<E, D, L, P> ModuleConfig for ConditionalVaeConfig<E, D, L, P>
where
    E: ModuleConfig<Module: Encoder>,
    D: ModuleConfig<Module: Decoder>,
    L: ModuleConfig<Module: Likelihood>,
    P: ModuleConfig<Module: Prior>,
{
    type Module = ConditionalVae<E::Module, D::Module, L::Module, P::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        ConditionalVae::conditional(
            init_part("encoder", &self.encoder, seed, device)?,
            init_part("decoder", &self.decoder, seed, device)?,
            init_part("likelihood", &self.likelihood, seed, device)?,
            init_part("prior", &self.prior, seed, device)?,
            self.condition_dim,
        )
    }
}
